//! `banger system`: banger as a service of this machine, for one user.
//!
//! ```text
//!            once, as root (sudo)                   as the user
//!  install ─► banger-root install ─► linger ─► ~/.config/systemd/user/bangerd.service ─► enable
//!              copies, claims, units of the system
//!  uninstall  in reverse; VMs and their files stay
//! ```
//!
//! Only `banger-root` runs as root; the rest runs as the user, even if root types the command.
//! Root's own daemon needs no helper and no claim: it has its unit, and the system unit that stops
//! its VMs.

mod account;
mod helper;
mod install;
mod status;
mod uninstall;
mod unit;

use clap::{Args, Subcommand};

use crate::failure::Outcome;
use crate::session::Session;

/// The verbs of `banger system`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Install(install::Install),
    Uninstall(uninstall::Uninstall),
    Status(status::Status),
}

impl Verb {
    /// Runs the command.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        match self {
            Self::Install(verb) => verb.run(session),
            Self::Uninstall(verb) => verb.run(session),
            Self::Status(verb) => verb.run(session),
        }
    }
}

/// The user, for commands of root.
#[derive(Debug, Args)]
pub(crate) struct UserArgument {
    /// The user, if root runs the command [default: the user who ran `sudo`, else root].
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// Only the user's part: root has done the rest. No user types this.
    #[arg(long, hide = true)]
    user_part: bool,
}

/// The daemon's unit as an installation ships it, for every user; `system install` writes a user's
/// own.
pub(super) fn unit_text(bangerd: &std::path::Path) -> String {
    let text = unit::text(bangerd, false);
    let (_, rest) = text.split_once("[Unit]").unwrap_or_default();
    format!("[Unit]{rest}")
}
