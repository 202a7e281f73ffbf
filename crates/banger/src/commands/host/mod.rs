//! `banger host`.

mod show;

use clap::Subcommand;

use crate::failure::Outcome;
use crate::session::Session;

/// What to do with hosts.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Show(show::Show),
}

impl Verb {
    /// Does it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        match self {
            Self::Show(verb) => verb.run(session),
        }
    }
}
