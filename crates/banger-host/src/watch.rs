//! Long changes, watched: how many of their bytes are done, and whether they go on.
//!
//! Three changes take long: [`FileOp::CopyFile`](crate::FileOp::CopyFile),
//! [`FileOp::PackFiles`](crate::FileOp::PackFiles) and
//! [`FileOp::UnpackFiles`](crate::FileOp::UnpackFiles). They report to their watch
//! repeatedly. When it answers `Break`, they fail with [`Kind::Cancelled`](crate::Kind::Cancelled) and
//! leave no file.

mod host;

use std::fmt;
use std::io;
use std::ops::ControlFlow;

pub use host::WatchedHost;

/// How far a long change is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes {
    /// What is done.
    pub done: u64,
    /// What there is to do. Holes do not count.
    pub whole: u64,
}

/// Hears how far a long change is, and decides whether it goes on.
pub type Watch<'w> = &'w (dyn Fn(Bytes) -> ControlFlow<()> + Sync);

/// The watch of a change that nobody watches.
pub(crate) fn nobody(_: Bytes) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Counts the bytes of one change.
pub(crate) struct Meter<'w> {
    bytes: Bytes,
    watch: Watch<'w>,
}

impl<'w> Meter<'w> {
    pub(crate) fn new(whole: u64, watch: Watch<'w>) -> Self {
        let bytes = Bytes { done: 0, whole };
        Self { bytes, watch }
    }

    /// Counts more bytes; fails if the change is cancelled. What grows meanwhile is not done before
    /// its end.
    pub(crate) fn add(&mut self, more: u64) -> io::Result<()> {
        let done = self.bytes.done.saturating_add(more);
        self.bytes.done = done.min(self.bytes.whole);
        match (self.watch)(self.bytes) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(io::Error::other(Cancelled)),
        }
    }

    /// Tells that everything is done.
    pub(crate) fn end(mut self) {
        if self.bytes.done < self.bytes.whole {
            self.bytes.done = self.bytes.whole;
            let _ = (self.watch)(self.bytes);
        }
    }
}

/// The cause of an error whose change was cancelled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it was cancelled")
    }
}

impl std::error::Error for Cancelled {}
