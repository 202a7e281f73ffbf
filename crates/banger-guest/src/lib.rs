//! The words that the daemon and the program inside each guest share.
//!
//! - [`config`]: what the daemon renders for one start, and packs beside the program into the
//!   initramfs. The guest reads it once, before it mounts anything of its own.
//! - [`protocol`]: the conversation between the two while the guest runs, over one byte stream.
//! - [`elf`]: what a program needs to be run.
//! - [`end`]: how a guest says on its console how it ended, and how the daemon reads that.
//!
//! - [`streams`]: byte streams beside that conversation, for commands and what else is large.
//!
//! Everything here is pure, but for [`protocol::Conversation`] and [`streams::Mux`], which own sockets.

/// The mark of this build: equal in the daemon and in a guest program of the same sources, which is
/// the only one that is sure to read the daemon's guest config. The program carries it as text.
pub const BUILD: &str = concat!("banger-guest build ", env!("BANGER_GUEST_BUILD"));

pub mod config;
pub mod elf;
pub mod end;
pub mod protocol;
pub mod streams;
