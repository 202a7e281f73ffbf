//! The daemon's errors are those of the API; here host errors become them.

use std::error::Error as _;

use banger_api::{Code, Error};
use banger_host::Kind;

/// The result of the daemon's work.
pub type Result<T> = banger_api::Result<T>;

/// Says what was being done when something below went wrong.
pub trait During<T> {
    /// Puts `what` above the error.
    ///
    /// # Errors
    /// The same as before, seen from the layer above.
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

/// A host's error with its whole chain.
#[must_use]
pub fn from_host(error: &banger_host::Error) -> Error {
    let mut told = Error::new(Code::Host, error.to_string());
    let mut below = error.source();
    while let Some(cause) = below {
        told = told.cause(cause.to_string());
        below = cause.source();
    }
    for hint in error.hints() {
        told = told.hint(hint);
    }
    if error.kind() == Kind::NoSpace {
        told = told.hint("free some space, or delete a VM: banger vm list");
    }
    told
}

/// Whether the host was not able to do it at all, so that another way may be tried.
#[must_use]
pub fn is_unsupported(error: &banger_host::Error) -> bool {
    error.kind() == Kind::Unsupported
}

/// An error and all its causes on one line.
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
