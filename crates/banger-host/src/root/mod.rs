//! The root program: what it does for a user, and what it refuses.
//!
//! ```text
//!  bangerd, the user        banger-root, root
//!  ┌────────┐  a socket   ┌──────────────────────────────────────────────────────────┐
//!  │ Helped ├────────────►│ who is it? ► what is it? ► may she? ► Linux::change ► log │
//!  └────────┘  SEQPACKET  └──────────────────────────────────────────────────────────┘
//!                            SO_PEERCRED   message      judge
//! ```
//!
//! | file | what |
//! |---|---|
//! | `message`, `wire` | what is said, and how it crosses |
//! | `judge` | every value, measured by the user's claim |
//! | `quota` | how much of the host the user may have |
//! | `files`, `links` | what is handed over, open; what is in a folder |
//! | `jailed`, `jail` | what runs in a jail: outside of it, and within |
//! | `restore` | the firewall again, after somebody flushed it |
//! | `served`, `serve` | answering; listening |
//! | `port` | a user's DNS port, kept while no daemon has it |
//! | `confine` | what is given up first |
//! | `install` | how it gets to where it runs |

pub(crate) mod confine;
mod files;
mod install;
mod jail;
mod jailed;
mod judge;
mod links;
pub(crate) mod message;
pub(crate) mod port;
mod quota;
mod restore;
mod serve;
mod served;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

use std::io::Write as _;
use std::path::Path;

pub use install::{
    HelperStatus, InstallRequest, Installation, Installed, ProgramStatus, UnitStatus, install,
    uninstall,
};
pub use jail::jail;
pub use port::keep_port;
pub use restore::restore;
pub use serve::Input;
#[cfg(test)]
pub(crate) use serve::MOST_CONNECTIONS;

use crate::linux::snapshot;
use crate::{Claim, Error, Kind, Linux, Result};
use served::{ClaimedHost, FileOperations};

/// Where root keeps what is true until the next boot: the sockets, and what it has switched.
pub(crate) const RUN: &str = "/run/banger";

/// Where the programs lie that root runs.
pub(crate) const PROGRAMS: &str = "/usr/local/libexec/banger";

/// How many guests, and how many addresses, one look may ask for.
pub(crate) const MOST_ELEMENTS: usize = 256;

/// What is made of open files.
const MADE: FileOperations = FileOperations {
    snapshot: snapshot::make,
    jailed: jailed::start,
};

/// The socket on which a user reaches root, where systemd listens for us.
pub(crate) fn socket_path(uid: u32) -> std::path::PathBuf {
    Path::new(RUN).join(uid.to_string()).join("root.sock")
}

/// The socket on which a user's daemon asks for her DNS port, below [`RUN`].
pub(crate) fn port_path(run: &Path, uid: u32) -> std::path::PathBuf {
    run.join(uid.to_string()).join("port.sock")
}

/// Serves one user by our standard input, until nobody asks any more.
///
/// # Errors
/// When we are not root, run from a file that another could write, or the user has no claim.
pub fn serve(uid: u32, input: Input) -> Result<()> {
    need_root()?;
    confine::check_own_file()?;
    confine::give_up()?;
    let Some(claim) = Claim::of(uid)? else {
        return Err(Error::new(
            Kind::Missing,
            format!("user {uid} was never granted anything"),
        )
        .hint("banger system install"));
    };
    let served = ClaimedHost::new(claim, Box::new(Linux::new()?), MADE);
    serve::serve(served, input)
}

fn need_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::new(Kind::Denied, "only root can do this").hint("sudo banger-root …"))
}

/// Says something to whoever keeps our log. Nothing that was sent gets there as it is.
pub(crate) fn log(text: &str) {
    let safe = |character: char| {
        let plain = character == ' ' || character.is_ascii_graphic();
        let escaped = (!plain).then(|| character.escape_default());
        plain
            .then_some(character)
            .into_iter()
            .chain(escaped.into_iter().flatten())
    };
    let line: String = text.chars().flat_map(safe).collect();
    // Tests refuse thousands of values, and nobody reads it there.
    if cfg!(test) {
        return;
    }
    // A log that cannot be written stops nothing.
    drop(writeln!(std::io::stderr(), "{line}"));
}
