//! Plain `http` through a proxy: the request line has the absolute form, with scheme and host
//! (RFC 9112, section 3.2.2). ureq itself only opens tunnels, as `https` needs them, and most
//! proxies refuse a tunnel to any port but 443.

use banger_api::{Code, Error, Result};
use ureq::http::uri::Authority;
use ureq::http::{HeaderName, Uri, header};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::address::{Address, WebAddress};

/// A proxy of the environment.
#[derive(Debug)]
pub(super) struct Proxy {
    /// Its address with its user, in the form that ureq parses.
    pub(super) text: String,
    address: WebAddress,
}

impl Proxy {
    /// Parses the value of a proxy variable. The default scheme is `http`, as in curl(1).
    pub(super) fn parse(text: &str) -> Result<Self> {
        let text = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        match Address::parse(&text, "/".as_ref()) {
            Ok(Address::Web(address)) => Ok(Self { text, address }),
            _ => Err(Error::new(Code::Invalid, "unsupported proxy address")
                .hint("http_proxy and https_proxy take http://HOST:PORT or https://HOST:PORT")),
        }
    }

    /// The request to the proxy for this address: its URI, headers and transport.
    pub(super) fn relay(&self, to: &WebAddress) -> (Uri, Vec<(HeaderName, String)>, Relay) {
        let mut parts = to.uri.clone().into_parts();
        let of_proxy = self.address.uri.clone().into_parts();
        (parts.scheme, parts.authority) = (of_proxy.scheme, of_proxy.authority);
        let uri = Uri::from_parts(parts).unwrap_or_else(|_| self.address.uri.clone());
        let host = to.uri.authority().map_or("", Authority::as_str);
        let mut headers = vec![(header::HOST, host.to_owned())];
        let login = self.address.login.clone();
        headers.extend(login.map(|it| (header::PROXY_AUTHORIZATION, it)));
        (uri, headers, Relay(format!("http://{host}")))
    }
}

/// Inserts scheme and host before the path in the request line.
#[derive(Debug, Clone)]
pub(super) struct Relay(String);

/// A connection to a proxy, which rewrites the request line.
#[derive(Debug)]
pub(super) struct ProxyTransport<T> {
    inner: T,
    /// Scheme and host; `None` once they are sent.
    prefix: Option<String>,
}

impl<T: Transport> Connector<T> for Relay {
    type Out = ProxyTransport<T>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        inner: Option<T>,
    ) -> std::result::Result<Option<ProxyTransport<T>>, ureq::Error> {
        Ok(inner.map(|inner| ProxyTransport {
            inner,
            prefix: Some(self.0.clone()),
        }))
    }
}

impl<T: Transport> Transport for ProxyTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(
        &mut self,
        mut amount: usize,
        timeout: NextTimeout,
    ) -> std::result::Result<(), ureq::Error> {
        const METHOD: &[u8] = b"GET ";
        if let Some(prefix) = self.prefix.take() {
            let buffer = self.inner.buffers().output();
            let (begin, end) = (METHOD.len(), METHOD.len() + prefix.len());
            if !buffer.starts_with(METHOD) || amount + prefix.len() > buffer.len() {
                return Err(ureq::Error::ConnectionFailed);
            }
            buffer.copy_within(begin..amount, end);
            buffer[begin..end].copy_from_slice(prefix.as_bytes());
            amount += prefix.len();
        }
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> std::result::Result<bool, ureq::Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
