//! `banger volume`.

mod create;
mod delete;
mod list;
mod show;

use banger_api::{Mib, VolumeName};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use crate::completion;
use crate::failure::Outcome;
use crate::session::Session;

/// What to do with volumes.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Create(create::Create),
    #[command(visible_alias = "ls")]
    List(list::List),
    #[command(alias = "inspect")]
    Show(show::Show),
    #[command(visible_alias = "rm")]
    Delete(delete::Delete),
}

impl Verb {
    /// Does it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        match self {
            Self::Create(verb) => verb.run(session),
            Self::List(verb) => verb.run(session),
            Self::Show(verb) => verb.run(session),
            Self::Delete(verb) => verb.run(session),
        }
    }
}

/// The one volume that a verb is about.
#[derive(Debug, Args)]
pub(crate) struct VolumeArgument {
    /// The volume's name.
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(completion::volumes))]
    pub(crate) name: VolumeName,
}

/// A number of bytes, as a size.
fn size(bytes: u64) -> Mib {
    Mib(bytes.div_ceil(1 << 20))
}
