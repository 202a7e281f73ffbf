//! Errors of the operating system, with what was being done.

use crate::{Error, Result};

/// Adds what was being done to an error of the operating system.
pub(super) trait During<T> {
    /// `message` says what was being done, with names in backticks.
    fn during(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T> During<T> for std::io::Result<T> {
    fn during(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::io(message(), cause))
    }
}

impl<T> During<T> for rustix::io::Result<T> {
    fn during(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::io(message(), cause.into()))
    }
}
