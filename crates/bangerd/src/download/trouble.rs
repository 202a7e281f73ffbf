//! What can be wrong with a download, and what is done about it.

use std::io;
use std::time::Duration;

use banger_api::{Code, Error};
use ureq::http::StatusCode;

/// What is tried after an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The same source once more, after no less than this.
    Again(Duration),
    /// The same source from the beginning: what is there does not go with what it has.
    Anew,
    /// The next source.
    Elsewhere,
    /// Nothing: the fault is here, or nobody wants it any more.
    Nothing,
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) error: Error,
    pub(super) next: Next,
}

/// The longest that a server may ask us to wait before we come again.
const LONGEST_WISH: Duration = Duration::from_secs(60);

impl Trouble {
    pub(super) fn new(next: Next, error: Error) -> Self {
        Self { error, next }
    }

    /// It may well work the next time.
    pub(super) fn again(message: impl Into<String>) -> Self {
        Self::new(Next::Again(Duration::ZERO), Error::new(Code::Host, message))
    }

    /// It will not work from there.
    pub(super) fn elsewhere(message: impl Into<String>) -> Self {
        Self::new(Next::Elsewhere, Error::new(Code::Host, message))
    }

    pub(super) fn hint(mut self, hint: &str) -> Self {
        self.error = self.error.hint(hint);
        self
    }

    /// Somebody has ended it.
    pub(super) fn cancelled() -> Self {
        Self::new(Next::Nothing, Error::new(Code::Host, "it was cancelled"))
    }

    /// A file of ours cannot be written.
    pub(super) fn of_ours(doing: String, cause: &io::Error) -> Self {
        let error = Error::new(Code::Host, doing).cause(cause.to_string());
        let error = if cause.kind() == io::ErrorKind::StorageFull {
            error.hint("free some space: df -h")
        } else {
            error
        };
        Self::new(Next::Nothing, error)
    }

    /// What a server's refusal means. `wish` is its header `Retry-After`.
    pub(super) fn of_status(status: StatusCode, wish: Option<&str>) -> Self {
        let reason = status.canonical_reason().unwrap_or("no known reason");
        let said = format!("the server answers {} ({reason})", status.as_u16());
        match status.as_u16() {
            408 | 425 | 429 | 500 | 502 | 503 | 504 => {
                let wish = wish.and_then(|it| it.trim().parse().ok());
                let pause = Duration::from_secs(wish.unwrap_or(0)).min(LONGEST_WISH);
                Self::new(Next::Again(pause), Error::new(Code::Host, said))
            }
            401 | 403 => Self::elsewhere(said)
                .hint("give a user and a password in the address: https://USER:PASSWORD@HOST/…"),
            404 | 410 => Self::elsewhere(said).hint("is the address right? open it with curl -I"),
            407 => Self::elsewhere(said)
                .hint("give the proxy a user: https_proxy=http://USER:PASSWORD@HOST:PORT"),
            _ => Self::elsewhere(said),
        }
    }

    /// What kept a request from being answered, or an answer from being read.
    pub(super) fn of_request(cause: &ureq::Error) -> Self {
        match cause {
            ureq::Error::Timeout(what) => {
                Self::again(format!("the server does not answer in time ({what})"))
            }
            ureq::Error::HostNotFound => Self::again("there is no such host").hint(
                "is there a network, and the host's name right? behind a proxy, set https_proxy",
            ),
            ureq::Error::Io(cause) => Self::of_connection(cause),
            ureq::Error::ConnectionFailed => Self::again("there is no connection to the server"),
            ureq::Error::ConnectProxyFailed(why) => {
                Self::elsewhere(format!("the proxy makes no connection: {why}"))
                    .hint("the proxy is the one of http_proxy, https_proxy or all_proxy")
            }
            ureq::Error::Rustls(cause) => Self::of_tls(&cause.to_string()),
            ureq::Error::Tls(cause) => Self::of_tls(cause),
            other => Self::again(other.to_string()),
        }
    }

    /// What ended a connection.
    pub(super) fn of_connection(cause: &io::Error) -> Self {
        let below = cause.get_ref();
        if let Some(below) = below.and_then(|it| it.downcast_ref::<ureq::Error>()) {
            return Self::of_request(below);
        }
        if let Some(below) = below.and_then(|it| it.downcast_ref::<rustls::Error>()) {
            return Self::of_tls(&below.to_string());
        }
        match cause.kind() {
            // What getaddrinfo(3) says has no kind of its own.
            _ if cause.to_string().contains("failed to lookup address") => {
                Self::of_request(&ureq::Error::HostNotFound)
            }
            io::ErrorKind::ConnectionRefused => {
                Self::again("nobody listens there: the connection is refused")
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                Self::again("the server ends the connection in the middle")
            }
            _ => Self::again(cause.to_string()),
        }
    }

    fn of_tls(cause: &str) -> Self {
        Self::elsewhere(format!("the server's certificate is not trusted: {cause}")).hint(
            "where the network has a certificate authority of its own, add it to the system's \
             (update-ca-certificates) or name it in SSL_CERT_FILE",
        )
    }
}

/// What we have is not the beginning of what the server has.
pub(super) fn does_not_fit() -> Trouble {
    let message = "what is there already is no part of what the server has";
    Trouble::new(Next::Anew, Error::new(Code::Host, message))
}
