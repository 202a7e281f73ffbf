//! Files over a stream: one side sends, the other one receives.
//!
//! The CLI and the guest run the same code, each as either side; the daemon passes the bytes on unread.
//! Neither side trusts the other. A path that arrives is a list of plain names ([`RelativePath`]), and the
//! receiver opens everything beneath its target with `openat2`, which follows no symbolic link and leaves the
//! target in no way. Memory is bounded on both sides, whatever arrives.
//!
//! ```text
//! client  path… request ──►                                            guest
//!                                   ◄── accepted   or   refusal
//!         sender  source entry data … end ──►   receiver               push
//!                                   ◄── answer
//! ```
//!
//! In a pull the guest is the sender, in a push the receiver. A receiver speaks before its answer only when
//! it was asked, so the two never wait for each other.

mod connection;
mod frame;
mod itself;
mod listing;
mod path;
mod receiver;
mod relay;
mod report;
mod sender;
mod session;
mod walk;

pub use connection::{Connection, CopyError};
pub use frame::{Frame, Head, LONGEST_FRAME, Meta, Node};
pub use itself::INTO_ITSELF;
pub use listing::{ListEnd, ListedEntry, ListedNode};
pub use path::{InvalidPath, LONGEST_PATH, RelativePath};
pub use receiver::{ReceiveOptions, Receiver, Target, whole_name};
pub use relay::{RelayError, relay};
pub use report::{Problem, Report};
pub use sender::{RESUMABLE, SendOptions, Sender, digest_in};
pub use session::{Request, Verb, resolve, serve};
pub use walk::{Step, Walk};

/// Hears how far a copy is.
pub trait Watch {
    /// So many files and bytes come in all.
    fn total(&mut self, _files: u64, _bytes: u64) {}
    /// The file at this path, relative to its source, begins; its size in bytes.
    fn begin(&mut self, _path: &RelativePath, _size: u64) {}
    /// So many more bytes of files are done, holes included.
    fn advance(&mut self, _bytes: u64) {}
}

/// A watch that nobody looks at.
#[derive(Debug, Clone, Copy)]
pub struct NoWatch;

impl Watch for NoWatch {}

#[cfg(test)]
mod tests;
