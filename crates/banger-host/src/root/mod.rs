//! The root program: the requests that it serves for a user, and those that it rejects.
//!
//! ```text
//!  bangerd, the user                 banger-root, root
//!  ┌─────────────────┐  a socket   ┌──────────────────────────────────────────────────────────┐
//!  │ DelegatingLinux ├────────────►│ who is it? ► what is it? ► allowed? ► Linux::change ► log │
//!  └─────────────────┘  SEQPACKET  └──────────────────────────────────────────────────────────┘
//!                                     SO_PEERCRED   message      judge
//! ```
//!
//! | file | what |
//! |---|---|
//! | `message`, `wire` | the messages, and their transport |
//! | `judge` | checks every value against the user's claim |
//! | `quota` | the user's quotas |
//! | `files`, `links` | checks of open files, and of the files in a folder |
//! | `jailed`, `jail` | the start of a jail; the jail, made from within |
//! | `restore` | restores the firewall after a flush |
//! | `served`, `serve` | answers to requests; the listener |
//! | `port` | holds a user's DNS port while no daemon has it |
//! | `confine` | drops privileges at the start |
//! | `install` | installation and its status |

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
    HelperStatus, InstallRequest, Installation, InstalledProgram, ProgramStatus, UnitStatus,
    install, uninstall,
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

/// The folder of root's data that does not survive a reboot: sockets, reservations, the ledger of
/// forwarding.
pub(crate) const RUN: &str = "/run/banger";

/// The folder of the programs that root runs.
pub(crate) const PROGRAMS: &str = "/usr/local/libexec/banger";

/// The maximum number of guests, and of addresses, in one question.
pub(crate) const MOST_ELEMENTS: usize = 256;

/// The operations on open files.
const OPERATIONS: FileOperations = FileOperations {
    snapshot: snapshot::make,
    jailed: jailed::start,
};

/// The path of the helper's socket for a user; systemd listens on it.
pub(crate) fn socket_path(uid: u32) -> std::path::PathBuf {
    Path::new(RUN).join(uid.to_string()).join("root.sock")
}

/// The path below [`RUN`] of the socket where a user's daemon gets the DNS port.
pub(crate) fn port_path(run: &Path, uid: u32) -> std::path::PathBuf {
    run.join(uid.to_string()).join("port.sock")
}

/// Serves one user on standard input, until no request has come for a while.
///
/// # Errors
/// If the process is not root, others may write its file, or the user has no claim.
pub fn serve(uid: u32, input: Input) -> Result<()> {
    need_root()?;
    confine::check_own_file()?;
    confine::give_up()?;
    let Some(claim) = Claim::of(uid)? else {
        return Err(Error::new(
            Kind::Missing,
            format!("nothing is installed for user {uid}"),
        )
        .hint("banger system install"));
    };
    let served = ClaimedHost::new(claim, Box::new(Linux::new()?), OPERATIONS);
    serve::serve(served, input)
}

fn need_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::new(Kind::Denied, "only root can do this").hint("sudo banger-root …"))
}

/// Writes a line to the log. Control characters of a message are escaped.
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
    // Tests cause thousands of refusals, whose log nobody reads.
    if cfg!(test) {
        return;
    }
    // A log that cannot be written must not stop the program.
    drop(writeln!(std::io::stderr(), "{line}"));
}
