//! `banger vm restart`.

use banger_api::StopVm;
use clap::Args;

use super::description;
use super::several::Several;
use super::stop::{RUNNING, Time};
use crate::failure::Outcome;
use crate::session::Session;

/// Stop VMs cleanly and start them again, with their changed settings.
///
/// A VM that is named is started when it does not run; with --all and -l, those that do not run stay as they are.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm restart calm-otter
  banger vm restart --all
  banger vm set calm-otter --memory 8G && banger vm restart calm-otter")]
pub(crate) struct Restart {
    #[command(flatten)]
    several: Several,

    #[command(flatten)]
    time: Time,
}

impl Restart {
    /// Restarts them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = StopVm {
            timeout_seconds: self.time.timeout,
        };
        self.several.each(
            session,
            RUNNING,
            |daemon, name, progress| daemon.restart(name, &request, progress),
            |vm, alone| description::started(vm, false, alone),
        )
    }
}
