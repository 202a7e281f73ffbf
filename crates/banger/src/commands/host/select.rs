//! `banger host use`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::Answer;
use crate::completion;
use crate::failure::Outcome;
use crate::remote::{Contexts, LOCAL, contexts_file};
use crate::session::Session;

/// Use a named host for all commands that name none; `local` is this machine.
///
/// --host and BANGER_HOST override it, and so do --state, --socket and their variables, which name a daemon of this machine.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger host use lab
  banger host use local")]
pub(crate) struct Use {
    /// The host's name.
    #[arg(add = ArgValueCandidates::new(completion::hosts))]
    name: String,
}

impl Use {
    /// Changes the file.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let name = &self.name;
        let file = contexts_file(&session.places.location.config);
        let context = Contexts::change(&file, |contexts| {
            if name == LOCAL {
                contexts.current = None;
                return Ok(None);
            }
            let context = contexts.get(name)?.clone();
            contexts.current = Some(name.clone());
            Ok(Some(context))
        })?;
        session.output.result(
            &Answer::of(name, context.as_ref(), true),
            || match &context {
                Some(context) => format!(
                    "commands work with {name}, {}\nback to this machine: banger host use local",
                    context.destination
                ),
                None => "commands work with this machine".to_owned(),
            },
        )?;
        Ok(ExitCode::SUCCESS)
    }
}
