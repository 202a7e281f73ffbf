//! One question to a server, with what it redirects to.

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
use super::relay::Proxy;
use super::trouble::{Next, Trouble};
use super::{Cancel, Patience, Proxies};

/// How many redirections are followed. Mirrors use two or three.
const MOST_REDIRECTIONS: usize = 10;

/// What asks servers.
#[derive(Debug)]
pub(super) struct Web<'a> {
    config: Config,
    proxies: &'a Proxies,
    cancel: &'a Cancel,
}

/// What is asked for: all of it, or what follows the bytes that we have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// How many bytes we have.
    pub(super) from: u64,
    /// Of which version they are.
    pub(super) version: Option<String>,
}

/// An answer.
pub(super) struct Answer {
    /// Where in the whole it begins, in bytes.
    pub(super) from: u64,
    /// How long the whole is, in bytes, where the server says so.
    pub(super) total: Option<u64>,
    /// By what the server tells this version from others.
    pub(super) version: Option<String>,
    /// What follows `from`.
    pub(super) body: Box<dyn Read>,
}

impl<'a> Web<'a> {
    /// Asks through these proxies, as long as `cancel` is not used.
    pub(super) fn new(patience: &Patience, proxies: &'a Proxies, cancel: &'a Cancel) -> Self {
        let tls = TlsConfig::builder()
            // The system's, or those of SSL_CERT_FILE: a company has an authority of its own.
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // Each is judged here before it is followed.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("banger/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_per_read(Some(patience.stall))
            .timeout_per_write(Some(patience.stall))
            .timeout_recv_response(Some(patience.answer))
            .build();
        Self {
            config,
            proxies,
            cancel,
        }
    }

    /// Asks for what is `wanted`, wherever it is redirected to.
    pub(super) fn get(
        &self,
        address: &WebAddress,
        wanted: &Wanted,
    ) -> std::result::Result<Answer, Trouble> {
        let mut at = address.clone();
        for _ in 0..=MOST_REDIRECTIONS {
            let response = self.ask(&at, wanted)?;
            let (status, headers) = (response.status(), response.headers());
            match status.as_u16() {
                301 | 302 | 303 | 307 | 308 => {
                    let to = text(headers, &header::LOCATION).ok_or_else(|| {
                        Trouble::elsewhere("it redirects, and does not say where")
                    })?;
                    at = at.redirected(to).map_err(Trouble::elsewhere)?;
                }
                200 | 206 => {
                    let (from, total) = extent(status, headers)?;
                    return Ok(Answer {
                        from,
                        total,
                        version: version(headers),
                        body: Box::new(response.into_body().into_reader()),
                    });
                }
                416 => return Err(super::trouble::does_not_fit()),
                _ => {
                    let wish = text(headers, &header::RETRY_AFTER);
                    return Err(Trouble::of_status(status, wish));
                }
            }
        }
        Err(Trouble::elsewhere(format!(
            "it redirects more than {MOST_REDIRECTIONS} times"
        )))
    }

    fn ask(
        &self,
        at: &WebAddress,
        wanted: &Wanted,
    ) -> std::result::Result<ureq::http::Response<ureq::Body>, Trouble> {
        let mut uri = at.uri.clone();
        let mut tunnel = None;
        let mut headers: Vec<(HeaderName, String)> =
            vec![(header::ACCEPT_ENCODING, "identity".to_owned())];
        if let Some(login) = &at.login {
            headers.push((header::AUTHORIZATION, login.clone()));
        }
        if wanted.from > 0 {
            headers.push((header::RANGE, format!("bytes={}-", wanted.from)));
            headers.extend(wanted.version.clone().map(|it| (header::IF_RANGE, it)));
        }
        let mut agent = None;
        if let Some(proxy) = self.proxies.of(at) {
            let proxy = Proxy::parse(proxy).map_err(|it| Trouble::new(Next::Elsewhere, it))?;
            if at.is_secure() {
                let proxy = ureq::Proxy::new(&proxy.text);
                tunnel = Some(proxy.map_err(|it| Trouble::of_request(&it))?);
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
        self.cancel.covers(&agent);
        let mut request = agent.get(uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.config().proxy(tunnel).build();
        request.call().map_err(|cause| Trouble::of_request(&cause))
    }
}

/// Where an answer begins, and how long the whole is.
fn extent(
    status: StatusCode,
    headers: &HeaderMap,
) -> std::result::Result<(u64, Option<u64>), Trouble> {
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
    parsed.ok_or_else(super::trouble::does_not_fit)
}

/// What tells this version from others: a strong entity tag, or the time of its last change.
fn version(headers: &HeaderMap) -> Option<String> {
    let tag = text(headers, &header::ETAG).filter(|it| !it.starts_with("W/"));
    tag.or_else(|| text(headers, &header::LAST_MODIFIED))
        .map(str::to_owned)
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}
