//! The words that the daemon and the program inside each guest share.
//!
//! - [`config`]: what the daemon renders for one start, and packs beside the program into the
//!   initramfs. The guest reads it once, before it mounts anything of its own.
//! - [`protocol`]: the conversation between the two while the guest runs, over one byte stream.
//! - [`end`]: how a guest says on its console how it ended, and how the daemon reads that.
//!
//! Everything here is pure, but for [`protocol::Conversation`], which owns a socket.

pub mod config;
pub mod end;
pub mod protocol;
