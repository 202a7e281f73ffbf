//! Errors of the operating system, with the operation that failed.

use crate::{Error, Result};

/// Adds the failed operation to an error of the operating system.
pub(super) trait During<T> {
    /// `message` describes the operation, with names in backticks.
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
