//! `banger vm start`.

use banger_api::{Phase, StartVm};
use clap::Args;

use super::description;
use super::selection::Scope;
use super::several::Several;
use crate::failure::Outcome;
use crate::session::Session;

/// Start VMs, and wait until you can log in.
///
/// Several VMs are started side by side: the daemon boots a few at a time, the others wait their turn, and the time that each guest has begins with its turn.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm start calm-otter
  banger vm start web db cache
  banger vm start -l team=web
  banger vm start --all

For a system that does not boot:
  banger vm start calm-otter --rescue")]
pub(crate) struct Start {
    #[command(flatten)]
    several: Several,

    /// Boot into a shell on the console instead of the system.
    #[arg(long)]
    rescue: bool,
}

const STOPPED: Scope = Scope {
    takes: |vm| matches!(vm.phase, Phase::Stopped | Phase::Suspended),
    or_none: "is stopped",
};

impl Start {
    /// Starts them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = StartVm {
            rescue: self.rescue,
        };
        self.several.each(
            session,
            STOPPED,
            |daemon, name, progress| daemon.start(name, &request, progress),
            |outcome, alone| description::started(&outcome.vm, outcome.already, alone),
        )
    }
}
