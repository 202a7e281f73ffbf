//! `banger host remove`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::Answer;
use crate::completion;
use crate::failure::Outcome;
use crate::remote::{Contexts, contexts_file};
use crate::session::Session;

/// Forget a named host. Nothing changes there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger host remove lab")]
pub(crate) struct Remove {
    /// The host's name.
    #[arg(add = ArgValueCandidates::new(completion::hosts))]
    name: String,
}

impl Remove {
    /// Changes the file.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let name = &self.name;
        let file = contexts_file(&session.places.location.config);
        let (context, was_current) = Contexts::change(&file, |contexts| {
            let context = contexts.get(name)?.clone();
            contexts.hosts.remove(name);
            let was_current = contexts.current.as_ref() == Some(name);
            if was_current {
                contexts.current = None;
            }
            Ok((context, was_current))
        })?;
        session
            .output
            .result(&Answer::of(name, Some(&context), false), || {
                let more = if was_current {
                    "; commands work with this machine now"
                } else {
                    ""
                };
                format!("{name} is forgotten{more}")
            })?;
        Ok(ExitCode::SUCCESS)
    }
}
