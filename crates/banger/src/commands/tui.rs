//! `banger tui`, and `banger` alone on a terminal.

use std::io::{self, IsTerminal as _};

use banger_api::{Code, Error};
use clap::Args;

use crate::environment::Environment;
use crate::failure::Outcome;
use crate::session::Session;
use crate::tui::{self, Look};

/// See all VMs and work with them, on one screen. `banger` alone does the same.
///
/// The list of VMs is always current. Enter opens a shell in the selected VM, ? shows all keys, q quits; VMs and operations continue without it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger
  banger tui
  NO_COLOR=1 banger tui")]
pub(crate) struct Tui {}

/// Whether there is a terminal that can show a screen.
pub(crate) fn fits(environment: &Environment) -> bool {
    let able = environment.get("TERM").is_some_and(|term| term != "dumb");
    able && io::stdin().is_terminal() && io::stdout().is_terminal()
}

impl Tui {
    /// Shows the screen.
    #[expect(clippy::unused_self, reason = "as the other verbs")]
    pub(crate) fn run(&self, session: &Session, environment: &Environment) -> Outcome {
        if !fits(environment) {
            return Err(
                Error::new(Code::Invalid, "there is no terminal that can show a screen")
                    .hint("list VMs in place: banger vm list")
                    .hint("for a script: banger vm list --json")
                    .into(),
            );
        }
        tui::run(session, look(environment))
    }
}

/// The abilities of the terminal.
fn look(environment: &Environment) -> Look {
    Look {
        colour: environment.get("NO_COLOR").is_none(),
        unicode: environment.has_unicode(),
    }
}
