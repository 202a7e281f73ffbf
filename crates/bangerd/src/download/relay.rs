//! A question to a proxy that fetches plain `http` itself: its first line has the whole address
//! (RFC 9112, section 3.2.2). A tunnel, which `https` goes through, is what most proxies refuse
//! for any port but 443, and all that ureq knows.

use banger_api::{Code, Error, Result};
use ureq::http::uri::Authority;
use ureq::http::{HeaderName, Uri, header};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::address::{Address, WebAddress};

/// A proxy, by what is set in the environment.
#[derive(Debug)]
pub(super) struct Proxy {
    /// Its address, with its user, as ureq reads it.
    pub(super) text: String,
    address: WebAddress,
}

impl Proxy {
    /// Reads the value of `http_proxy` and its like. Without a scheme it is `http`, as curl(1)
    /// has it.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let text = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        match Address::parse(&text, "/".as_ref()) {
            Ok(Address::Web(address)) => Ok(Self { text, address }),
            _ => Err(Error::new(
                Code::Invalid,
                "the proxy's address is none that banger can use",
            )
            .hint("http_proxy and https_proxy take http://HOST:PORT or https://HOST:PORT")),
        }
    }

    /// What is asked of it for this address: a request to the proxy, with these headers.
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

/// Puts the scheme and host before the path of the first line.
#[derive(Debug, Clone)]
pub(super) struct Relay(String);

/// A connection to a proxy.
#[derive(Debug)]
pub(super) struct Relayed<T> {
    below: T,
    /// Until it has been sent.
    prefix: Option<String>,
}

impl<T: Transport> Connector<T> for Relay {
    type Out = Relayed<T>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        below: Option<T>,
    ) -> std::result::Result<Option<Relayed<T>>, ureq::Error> {
        Ok(below.map(|below| Relayed {
            below,
            prefix: Some(self.0.clone()),
        }))
    }
}

impl<T: Transport> Transport for Relayed<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.below.buffers()
    }

    fn transmit_output(
        &mut self,
        mut amount: usize,
        timeout: NextTimeout,
    ) -> std::result::Result<(), ureq::Error> {
        const METHOD: &[u8] = b"GET ";
        if let Some(prefix) = self.prefix.take() {
            let buffer = self.below.buffers().output();
            let (begin, end) = (METHOD.len(), METHOD.len() + prefix.len());
            if !buffer.starts_with(METHOD) || amount + prefix.len() > buffer.len() {
                return Err(ureq::Error::ConnectionFailed);
            }
            buffer.copy_within(begin..amount, end);
            buffer[begin..end].copy_from_slice(prefix.as_bytes());
            amount += prefix.len();
        }
        self.below.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> std::result::Result<bool, ureq::Error> {
        self.below.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.below.is_open()
    }

    fn is_tls(&self) -> bool {
        self.below.is_tls()
    }
}
