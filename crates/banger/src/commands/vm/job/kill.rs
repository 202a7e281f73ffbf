//! `banger vm job kill`.

use std::process::ExitCode;

use banger_api::{KillJob, SignalName};
use clap::Args;

use super::JobArgument;
use crate::failure::Outcome;
use crate::session::Session;

/// Send a signal to a job and its process group.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm job kill calm-otter j3
  banger vm job kill calm-otter build --signal KILL")]
pub(crate) struct Kill {
    #[command(flatten)]
    which: JobArgument,

    /// The signal, such as KILL [default: TERM].
    #[arg(long, short)]
    signal: Option<SignalName>,
}

impl Kill {
    /// Sends it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = KillJob {
            signal: self.signal,
        };
        let (vm, job) = (&self.which.one.name, &self.which.job);
        let before = session.daemon()?.kill_job(vm, job, &request)?;
        let said = || format!("sent the signal to {}", before.id);
        if session.output.json || !session.output.quiet {
            session.output.result(&before, said)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
