//! `banger vm restart`.

use banger_api::StopVm;
use clap::Args;

use super::stop::Time;
use super::{VmArguments, description};
use crate::failure::Outcome;
use crate::session::Session;

/// Stop VMs cleanly and start them again, with settings that have changed since.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm restart calm-otter
  banger vm set calm-otter --memory 8G && banger vm restart calm-otter")]
pub(crate) struct Restart {
    #[command(flatten)]
    several: VmArguments,

    #[command(flatten)]
    time: Time,
}

impl Restart {
    /// Restarts them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = StopVm {
            timeout_seconds: self.time.timeout,
        };
        self.several.each(session, |name| {
            let vm = session.work(|daemon, heard| daemon.restart(name, &request, heard))?;
            session
                .output
                .result(&vm, || description::how_it_stands(&vm, false))?;
            description::notes(&vm, session.output);
            Ok(())
        })
    }
}
