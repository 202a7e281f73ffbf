//! `banger vm job remove`.

use std::process::ExitCode;

use banger_api::{JobRef, RemoveJob};
use clap::Args;
use clap_complete::ArgValueCandidates;

use super::super::VmArgument;
use crate::completion;
use crate::failure::Outcome;
use crate::session::Session;

/// Remove jobs that have ended, with their output.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm job remove calm-otter j3 j4
  banger vm job remove calm-otter --force build
  banger vm jobs calm-otter --prune")]
pub(crate) struct Remove {
    #[command(flatten)]
    one: VmArgument,

    /// The jobs: ids or names.
    #[arg(value_name = "JOB", required = true, add = ArgValueCandidates::new(completion::jobs))]
    jobs: Vec<JobRef>,

    /// Kill running jobs first.
    #[arg(long, short)]
    force: bool,
}

impl Remove {
    /// Removes them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = RemoveJob { force: self.force };
        let daemon = session.daemon()?;
        let mut removed = Vec::new();
        let mut failed = false;
        for job in &self.jobs {
            match daemon.remove_job(&self.one.name, job, &request) {
                Ok(job) => {
                    if !session.output.json && !session.output.quiet {
                        session.output.text(&format!("removed {}", job.id))?;
                    }
                    removed.push(job);
                }
                Err(error) => {
                    session.output.error(&error);
                    failed = true;
                }
            }
        }
        if session.output.json {
            session.output.value(&removed)?;
        }
        Ok(ExitCode::from(u8::from(failed)))
    }
}
