//! `banger vm start`.

use banger_api::client::Client;
use banger_api::{Phase, Progress, Result, StartVm, VerbOutcome, VmRef};
use clap::Args;

use super::description;
use super::early::{self, StartProgress};
use super::selection::Scope;
use super::several::Several;
use crate::failure::Outcome;
use crate::session::Session;

/// Start VMs, and wait until you can log in.
///
/// Several VMs are started side by side: the daemon boots a few at a time, the others wait, and the timeout of each begins with its boot.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm start calm-otter
  banger vm start web db cache
  banger vm start -l team=web
  banger vm start --all
  banger vm start calm-otter --early && banger vm exec calm-otter -- dmesg

For a system that does not boot:
  banger vm start calm-otter --rescue")]
pub(crate) struct Start {
    #[command(flatten)]
    several: Several,

    /// Boot into a shell on the console instead of the system.
    #[arg(long)]
    rescue: bool,

    /// Return as soon as `vm exec` works, seconds before the system is up: no service runs then. The start continues; `vm wait` waits for its end.
    #[arg(long, conflicts_with = "rescue")]
    early: bool,
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
            |daemon, name, progress| self.start(daemon, name, &request, progress),
            |outcome, alone| description::started(&outcome.vm, outcome.already, alone),
        )
    }
    fn start(
        &self,
        daemon: &Client,
        name: &VmRef,
        request: &StartVm,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<VerbOutcome> {
        if !self.early {
            return daemon.start(name, request, progress);
        }
        let (theirs, request) = (name.clone(), request.clone());
        let begin = move |client: &Client, progress: &mut dyn FnMut(Progress)| {
            client.start(&theirs, &request, progress)
        };
        let early = early::until_it_answers(daemon, Some(name), progress, begin)?;
        Ok(match early {
            StartProgress::Done(outcome) => outcome,
            StartProgress::Answers(vm) => VerbOutcome {
                vm: *vm,
                already: false,
            },
        })
    }
}
