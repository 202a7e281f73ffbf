//! Errors of a host, each with its cause.

use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::watch::Cancelled;

/// The result of a question to a host, or of a change.
pub type Result<T> = std::result::Result<T, Error>;

/// The kind of an error, for callers that decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The host cannot do this at all: no reflinks, no such kernel feature.
    Unsupported,
    /// The process lacks the privilege.
    Denied,
    /// The file system is full.
    NoSpace,
    /// Something needed does not exist.
    Missing,
    /// Another process holds it.
    Busy,
    /// Whoever watched the change ended it.
    Cancelled,
    /// The simulated host has crashed: nothing works until it is revived.
    Crashed,
    /// Anything else.
    Other,
}

/// One layer of an error; the layers below are its [`source`](StdError::source).
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    hints: Vec<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error without a deeper cause.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hints: Vec::new(),
            source: None,
        }
    }

    /// An error of the operating system, with the operation that failed.
    pub fn io(message: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::PermissionDenied => Kind::Denied,
            Io::NotFound => Kind::Missing,
            Io::StorageFull | Io::QuotaExceeded => Kind::NoSpace,
            Io::Unsupported => Kind::Unsupported,
            Io::ResourceBusy | Io::AddrInUse => Kind::Busy,
            _ if source.get_ref().is_some_and(|it| it.is::<Cancelled>()) => Kind::Cancelled,
            _ => Kind::Other,
        };
        Self {
            kind,
            message: message.into(),
            hints: Vec::new(),
            source: Some(Box::new(source)),
        }
    }

    /// An error of the same kind with this one as its cause.
    #[must_use]
    pub fn within(self, message: impl Into<String>) -> Self {
        Self {
            kind: self.kind,
            message: message.into(),
            hints: Vec::new(),
            source: Some(Box::new(self)),
        }
    }

    /// Adds a hint: a command to type, or a fact to check.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The hints of this layer alone.
    pub(crate) fn own_hints(&self) -> &[String] {
        &self.hints
    }

    /// The hints of this layer and of those below, outermost first.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let mut hints = self.hints.clone();
        let mut below = self.source();
        while let Some(error) = below {
            if let Some(error) = error.downcast_ref::<Error>() {
                hints.extend(error.hints.iter().cloned());
            }
            below = error.source();
        }
        hints
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::io("system call", std::io::Error::from(errno))
    }
}
