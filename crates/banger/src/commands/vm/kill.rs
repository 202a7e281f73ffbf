//! `banger vm kill`.

use std::process::ExitCode;

use banger_api::{KillVm, Phase, SignalName, VerbOutcome, VmView};
use clap::Args;

use super::confirmation::Confirmation;
use super::description;
use super::outcomes::Description;
use super::several::Several;
use super::stop::RUNNING;
use crate::failure::Outcome;
use crate::session::Session;

/// End VMs at once, like pulling the plug.
///
/// Unwritten data is lost; `banger vm stop` shuts down cleanly.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm kill calm-otter
  banger vm kill calm-otter --signal TERM
  banger vm kill --all --yes")]
pub(crate) struct Kill {
    #[command(flatten)]
    several: Several,

    /// The signal for the hypervisor's process, such as TERM [default: KILL].
    #[arg(long)]
    signal: Option<SignalName>,

    #[command(flatten)]
    confirmation: Confirmation,
}

impl Kill {
    /// Ends them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = KillVm {
            signal: self.signal,
        };
        let targets = self.several.which.targets(session, RUNNING)?;
        // A user who names a VM knows which one it is.
        let is_agreed = self.several.which.is_by_name()
            || self.confirmation.is_given(
                session.output,
                "kill",
                "unwritten data is lost",
                &targets,
            )?;
        if !is_agreed {
            return Ok(ExitCode::FAILURE);
        }
        self.several.each_of(
            session,
            RUNNING,
            &targets,
            |daemon, name, progress| daemon.kill(name, &request, progress),
            |outcome, _| Description {
                text: text(outcome),
                ..description::plainly(&outcome.vm)
            },
        )
    }
}

fn text(outcome: &VerbOutcome) -> String {
    let VmView { name, phase, .. } = &outcome.vm;
    match (phase, outcome.already) {
        (Phase::Stopped, true) => format!("{name} is stopped already"),
        (Phase::Stopped, false) => format!("{name} is stopped"),
        (phase, _) => format!("sent the signal to {name} (still {phase})"),
    }
}
