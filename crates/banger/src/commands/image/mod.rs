//! `banger image`.

mod build;
mod delete;
mod export;
mod import;
mod list;
mod prune;
mod rename;
mod shell;
mod show;

use banger_api::{ImageName, Mib};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use crate::completion;
use crate::failure::Outcome;
use crate::session::Session;

/// What to do with images.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    #[command(visible_alias = "ls")]
    List(list::List),
    #[command(alias = "inspect")]
    Show(show::Show),
    Build(build::Build),
    Shell(shell::Shell),
    #[command(alias = "load")]
    Import(import::Import),
    #[command(alias = "save")]
    Export(export::Export),
    #[command(alias = "mv")]
    Rename(rename::Rename),
    #[command(visible_alias = "rm")]
    Delete(delete::Delete),
    Prune(prune::Prune),
}

impl Verb {
    /// Does it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        match self {
            Self::List(verb) => verb.run(session),
            Self::Show(verb) => verb.run(session),
            Self::Build(verb) => verb.run(session),
            Self::Shell(verb) => verb.run(session),
            Self::Import(verb) => verb.run(session),
            Self::Export(verb) => verb.run(session),
            Self::Rename(verb) => verb.run(session),
            Self::Delete(verb) => verb.run(session),
            Self::Prune(verb) => verb.run(session),
        }
    }
}

/// The one image that a verb is about.
#[derive(Debug, Args)]
pub(crate) struct ImageArgument {
    /// The image's name.
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(completion::images))]
    pub(crate) name: ImageName,
}

/// A number of bytes, as a size.
fn size(bytes: u64) -> Mib {
    Mib(bytes.div_ceil(1 << 20))
}
