//! Why an attempt to download failed, and how the download recovers.

use std::io;
use std::time::Duration;

use banger_api::{Code, Error};
use ureq::http::StatusCode;

/// What is tried after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recovery {
    /// The same source again, after at least this pause.
    Retry(Duration),
    /// The same source from the first byte: the partial file belongs to another version.
    Restart,
    /// The next source.
    NextSource,
    /// The next source, too; this one refuses the login with this status.
    Refused(u16),
    /// Nothing: the fault is on this host, or the download was cancelled.
    GiveUp,
}

/// The failure of one attempt.
#[derive(Debug)]
pub(super) struct AttemptFailure {
    pub(super) error: Error,
    pub(super) recovery: Recovery,
}

/// The longest pause that a server may ask for with `Retry-After`.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

impl AttemptFailure {
    pub(super) fn new(recovery: Recovery, error: Error) -> Self {
        Self { error, recovery }
    }

    /// A failure that may pass: the same source is asked again.
    pub(super) fn retry(message: impl Into<String>) -> Self {
        Self::new(
            Recovery::Retry(Duration::ZERO),
            Error::new(Code::Host, message),
        )
    }

    /// A failure that stays: the next source is asked.
    pub(super) fn next_source(message: impl Into<String>) -> Self {
        Self::new(Recovery::NextSource, Error::new(Code::Host, message))
    }

    pub(super) fn hint(mut self, hint: &str) -> Self {
        self.error = self.error.hint(hint);
        self
    }

    /// The download was cancelled.
    pub(super) fn cancelled() -> Self {
        Self::new(Recovery::GiveUp, Error::new(Code::Host, "cancelled"))
    }

    /// A file of this host cannot be read or written.
    pub(super) fn local_io(doing: String, cause: &io::Error) -> Self {
        let error = Error::new(Code::Host, doing).cause(cause.to_string());
        let error = if cause.kind() == io::ErrorKind::StorageFull {
            error.hint("free some space: df -h")
        } else {
            error
        };
        Self::new(Recovery::GiveUp, error)
    }

    /// The meaning of an error status. `retry_after` is the header of that name.
    pub(super) fn from_status(status: StatusCode, retry_after: Option<&str>) -> Self {
        let reason = status.canonical_reason().unwrap_or("unknown status");
        let message = format!("the server answers {} ({reason})", status.as_u16());
        match status.as_u16() {
            408 | 425 | 429 | 500 | 502 | 503 | 504 => {
                let seconds = retry_after.and_then(|it| it.trim().parse().ok());
                let pause = Duration::from_secs(seconds.unwrap_or(0)).min(LONGEST_RETRY_AFTER);
                Self::new(Recovery::Retry(pause), Error::new(Code::Host, message))
            }
            refused @ (401 | 403) => {
                Self::new(Recovery::Refused(refused), Error::new(Code::Host, message))
                    .hint("put a user and a password in the address: https://USER:PASSWORD@HOST/…")
            }
            404 | 410 => Self::next_source(message).hint("check the address: curl -I ADDRESS"),
            407 => Self::next_source(message).hint(
                "put the proxy's user in its address: https_proxy=http://USER:PASSWORD@HOST:PORT",
            ),
            _ => Self::next_source(message),
        }
    }

    /// An error of the HTTP client, before or within a response.
    pub(super) fn from_request(cause: &ureq::Error) -> Self {
        match cause {
            ureq::Error::Timeout(what) => {
                Self::retry(format!("the server does not answer in time ({what})"))
            }
            ureq::Error::HostNotFound => Self::retry("the host name does not resolve")
                .hint("check the name and the network; behind a proxy, set https_proxy"),
            ureq::Error::Io(cause) => Self::from_connection(cause),
            ureq::Error::ConnectionFailed => Self::retry("cannot connect to the server"),
            ureq::Error::ConnectProxyFailed(why) => {
                Self::next_source(format!("the proxy did not connect: {why}"))
                    .hint("the proxy comes from http_proxy, https_proxy or all_proxy")
            }
            ureq::Error::Rustls(cause) => Self::from_tls(&cause.to_string()),
            ureq::Error::Tls(cause) => Self::from_tls(cause),
            other => Self::retry(other.to_string()),
        }
    }

    /// An I/O error of a connection.
    pub(super) fn from_connection(cause: &io::Error) -> Self {
        let inner = cause.get_ref();
        if let Some(inner) = inner.and_then(|it| it.downcast_ref::<ureq::Error>()) {
            return Self::from_request(inner);
        }
        if let Some(inner) = inner.and_then(|it| it.downcast_ref::<rustls::Error>()) {
            return Self::from_tls(&inner.to_string());
        }
        match cause.kind() {
            // getaddrinfo(3) errors have no kind of their own.
            _ if cause.to_string().contains("failed to lookup address") => {
                Self::from_request(&ureq::Error::HostNotFound)
            }
            io::ErrorKind::ConnectionRefused => {
                Self::retry("connection refused: nothing listens there")
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                Self::retry("the server closed the connection early")
            }
            _ => Self::retry(cause.to_string()),
        }
    }

    /// The partial file is not the beginning of the server's file.
    pub(super) fn mismatch() -> Self {
        let message = "the partial download does not match the server's file";
        Self::new(Recovery::Restart, Error::new(Code::Host, message))
    }

    fn from_tls(cause: &str) -> Self {
        Self::next_source(format!("the server's certificate is not trusted: {cause}")).hint(
            "if your network has its own certificate authority, add it to the system's \
             (update-ca-certificates) or set SSL_CERT_FILE",
        )
    }
}
