//! `banger system`: banger as a service of this machine, for one user.
//!
//! ```text
//!            asked once (sudo)                      the user's own
//!  install ─► banger-root install ─► linger ─► ~/.config/systemd/user/bangerd.service ─► enable
//!              copies, claims, units of the system
//!  uninstall  in reverse; VMs and their files stay
//! ```
//!
//! `banger-root`, and nothing else, does what needs root; the rest runs as the user, also when root
//! types the command. Root's own daemon needs neither helper nor claim: only the system unit that
//! stops its VMs, and the same unit of its own.

mod account;
mod helper;
mod install;
mod status;
mod uninstall;
mod unit;

use clap::{Args, Subcommand};

use crate::failure::Outcome;
use crate::session::Session;

/// What to do with banger as a service.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Install(install::Install),
    Uninstall(uninstall::Uninstall),
    Status(status::Status),
}

impl Verb {
    /// Does it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        match self {
            Self::Install(verb) => verb.run(session),
            Self::Uninstall(verb) => verb.run(session),
            Self::Status(verb) => verb.run(session),
        }
    }
}

/// For whom, where root asks.
#[derive(Debug, Args)]
pub(crate) struct UserArgument {
    /// The user, if root types the command [default: the user who typed `sudo`, else root].
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// Only the user's part: root has done the rest. No user types this.
    #[arg(long, hide = true)]
    user_part: bool,
}

/// The daemon's unit as an installation ships it, for every user; `system install` writes a user's own.
pub(super) fn unit_text(bangerd: &std::path::Path) -> String {
    let text = unit::text(bangerd, false);
    let (_, rest) = text.split_once("[Unit]").unwrap_or_default();
    format!("[Unit]{rest}")
}
