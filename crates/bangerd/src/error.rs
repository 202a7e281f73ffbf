//! The daemon uses the API's errors; this module converts host errors to them.

use std::error::Error as _;

use banger_api::{Code, Error};
use banger_host::Kind;

/// The result of the daemon's work.
pub type Result<T> = banger_api::Result<T>;

/// Adds context to an error.
pub trait During<T> {
    /// Puts `what` above the error.
    ///
    /// # Errors
    /// The same error with `what` as its message.
    fn during(self, what: impl Into<String>) -> Result<T>;
}

impl<T> During<T> for banger_host::Result<T> {
    fn during(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|error| from_host(&error).within(what))
    }
}

impl<T> During<T> for Result<T> {
    fn during(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|error| error.within(what))
    }
}

/// Converts a host error, with its causes and hints.
#[must_use]
pub fn from_host(error: &banger_host::Error) -> Error {
    let mut converted = Error::new(Code::Host, error.to_string());
    let mut below = error.source();
    while let Some(cause) = below {
        converted = converted.cause(cause.to_string());
        below = cause.source();
    }
    for hint in error.hints() {
        converted = converted.hint(hint);
    }
    if error.kind() == Kind::Cancelled {
        // Nothing is wrong with the host.
        converted.code = Code::Conflict;
    }
    if error.kind() == Kind::NoSpace {
        converted = converted.hint("free some space, or delete a VM: banger vm list");
    }
    converted
}

/// Whether the host does not support the operation, so that an alternative may work.
#[must_use]
pub fn is_unsupported(error: &banger_host::Error) -> bool {
    error.kind() == Kind::Unsupported
}

/// An error with all its causes, on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        text += ": ";
        text += &cause.to_string();
        below = cause.source();
    }
    text
}
