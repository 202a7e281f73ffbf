//! The formats that the daemon and the program inside each guest share.
//!
//! - [`config`]: the guest config, which the daemon renders for one start and packs into the
//!   initramfs beside the program. The guest reads it once, before it mounts anything of its own.
//! - [`protocol`]: the conversation between the two while the guest runs, over one byte stream.
//! - [`elf`]: the headers of a program.
//! - [`end`]: the line on a guest's console that tells how it ended, and its parser.
//!
//! - [`streams`]: byte streams beside that conversation, for commands and bulk data.
//!
//! Everything here is pure, except [`protocol::Conversation`] and [`streams::Mux`], which own
//! sockets.

/// The mark of this build. It is equal in the daemon and in a guest program of the same sources,
/// which is the only one that is sure to understand the daemon's guest config. The program contains
/// it as text.
pub const BUILD: &str = concat!("banger-guest build ", env!("BANGER_GUEST_BUILD"));

pub mod config;
pub mod elf;
pub mod end;
pub mod protocol;
pub mod streams;
