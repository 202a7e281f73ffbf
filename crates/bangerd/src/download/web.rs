//! GET requests, with their redirections.

use std::io::Read;
use std::sync::Arc;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::header::{self, HeaderMap};
use ureq::http::{HeaderName, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector as _, DefaultConnector};

use super::address::WebAddress;
use super::failure::{AttemptFailure, Recovery};
use super::relay::Proxy;
use super::{CancelToken, Proxies, RetryLimits};

/// The number of redirections that are followed. Mirrors use two or three.
const MOST_REDIRECTIONS: usize = 10;

/// The HTTP client of one download.
#[derive(Debug)]
pub(super) struct Web<'a> {
    config: Config,
    proxies: &'a Proxies,
    cancel: &'a CancelToken,
}

/// The part of a file to request: all of it, or what follows the bytes already there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RangeRequest {
    /// The first byte wanted; 0 for the whole file.
    pub(super) from: u64,
    /// The version of the bytes already there: an entity tag or a modification time.
    pub(super) version: Option<String>,
}

/// A response.
pub(super) struct Response {
    /// The position of its first byte in the file.
    pub(super) from: u64,
    /// The size of the file in bytes, if the server says it.
    pub(super) total: Option<u64>,
    /// The version of the file: an entity tag or a modification time.
    pub(super) version: Option<String>,
    /// The bytes from `from` on.
    pub(super) body: Box<dyn Read>,
}

impl<'a> Web<'a> {
    /// A client that uses these proxies, and whose connections `cancel` closes.
    pub(super) fn new(limits: &RetryLimits, proxies: &'a Proxies, cancel: &'a CancelToken) -> Self {
        let tls = TlsConfig::builder()
            // The system's, or those of SSL_CERT_FILE: companies run their own authorities.
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // `get` checks each redirection before it follows it.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("banger/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(limits.connect))
            .timeout_connect(Some(limits.connect))
            .timeout_per_read(Some(limits.stall))
            .timeout_per_write(Some(limits.stall))
            .timeout_recv_response(Some(limits.first_byte))
            .build();
        Self {
            config,
            proxies,
            cancel,
        }
    }

    /// Requests this range, and follows redirections.
    pub(super) fn get(
        &self,
        address: &WebAddress,
        range: &RangeRequest,
    ) -> std::result::Result<Response, AttemptFailure> {
        let mut headers = Vec::new();
        if range.from > 0 {
            headers.push((header::RANGE, format!("bytes={}-", range.from)));
            headers.extend(range.version.clone().map(|it| (header::IF_RANGE, it)));
        }
        let response = self.follow(address, &headers, |from, to| from.redirected(to))?;
        let (status, headers) = (response.status(), response.headers());
        match status.as_u16() {
            200 | 206 => {
                let (from, total) = extent(status, headers)?;
                Ok(Response {
                    from,
                    total,
                    version: version(headers),
                    body: Box::new(response.into_body().into_reader()),
                })
            }
            416 => Err(AttemptFailure::mismatch()),
            _ => Err(AttemptFailure::from_status(
                status,
                text(headers, &header::RETRY_AFTER),
            )),
        }
    }

    /// Requests a text without a digest. It is not followed from `https` to `http`.
    pub(super) fn ask(
        &self,
        address: &WebAddress,
        accept: &str,
    ) -> std::result::Result<ureq::http::Response<ureq::Body>, AttemptFailure> {
        let headers = [(header::ACCEPT, accept.to_owned())];
        self.follow(address, &headers, |from, to| from.redirected_securely(to))
    }

    /// Requests an address, and follows redirections as `next` says.
    fn follow(
        &self,
        address: &WebAddress,
        headers: &[(HeaderName, String)],
        next: impl Fn(&WebAddress, &str) -> std::result::Result<WebAddress, String>,
    ) -> std::result::Result<ureq::http::Response<ureq::Body>, AttemptFailure> {
        let mut at = address.clone();
        for _ in 0..=MOST_REDIRECTIONS {
            let response = self.send(&at, headers)?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let to = text(response.headers(), &header::LOCATION).ok_or_else(|| {
                AttemptFailure::next_source("the redirection has no Location header")
            })?;
            at = next(&at, to).map_err(AttemptFailure::next_source)?;
        }
        Err(AttemptFailure::next_source(format!(
            "more than {MOST_REDIRECTIONS} redirections"
        )))
    }

    /// Whether the server answers a request for this address, whatever it answers.
    pub(super) fn answers(&self, address: &WebAddress) -> std::result::Result<(), String> {
        self.send(address, &[])
            .map(drop)
            .map_err(|failure| crate::error::chain(&failure.error))
    }

    fn send(
        &self,
        at: &WebAddress,
        more: &[(HeaderName, String)],
    ) -> std::result::Result<ureq::http::Response<ureq::Body>, AttemptFailure> {
        let mut uri = at.uri.clone();
        let mut tunnel = None;
        let mut headers = vec![(header::ACCEPT_ENCODING, "identity".to_owned())];
        headers.extend_from_slice(more);
        if let Some(login) = &at.login {
            headers.push((header::AUTHORIZATION, login.clone()));
        }
        let mut agent = None;
        if let Some(proxy) = self.proxies.of(at) {
            let proxy =
                Proxy::parse(proxy).map_err(|it| AttemptFailure::new(Recovery::NextSource, it))?;
            if at.is_secure() {
                let proxy = ureq::Proxy::new(&proxy.text);
                tunnel = Some(proxy.map_err(|it| AttemptFailure::from_request(&it))?);
            } else {
                let (through, more, relay) = proxy.relay(at);
                uri = through;
                headers.extend(more);
                let connector = DefaultConnector::new().chain(relay);
                agent = Some(Agent::with_parts(
                    self.config.clone(),
                    connector,
                    DefaultResolver::default(),
                ));
            }
        }
        let agent = agent.unwrap_or_else(|| self.config.new_agent());
        self.cancel.register(&agent);
        let mut request = agent.get(uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.config().proxy(tunnel).build();
        request
            .call()
            .map_err(|cause| AttemptFailure::from_request(&cause))
    }
}

/// The position of a response's first byte, and the size of the file.
fn extent(
    status: StatusCode,
    headers: &HeaderMap,
) -> std::result::Result<(u64, Option<u64>), AttemptFailure> {
    if status == StatusCode::OK {
        let length = text(headers, &header::CONTENT_LENGTH).and_then(|it| it.trim().parse().ok());
        return Ok((0, length));
    }
    // `bytes 100-199/200`, or `…/*`.
    let range = text(headers, &header::CONTENT_RANGE)
        .and_then(|it| it.trim().strip_prefix("bytes "))
        .and_then(|it| it.split_once('/'));
    let parsed = range.and_then(|(range, total)| {
        let from = range.split_once('-')?.0.trim().parse().ok()?;
        Some((from, total.trim().parse().ok()))
    });
    parsed.ok_or_else(AttemptFailure::mismatch)
}

/// The version of the file: a strong entity tag, or the time of its last change.
fn version(headers: &HeaderMap) -> Option<String> {
    let tag = text(headers, &header::ETAG).filter(|it| !it.starts_with("W/"));
    tag.or_else(|| text(headers, &header::LAST_MODIFIED))
        .map(str::to_owned)
}

pub(super) fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}
