//! `banger vm kill`.

use banger_api::{KillVm, Phase, SignalName, VerbOutcome, VmView};
use clap::Args;

use super::VmArguments;
use crate::failure::Outcome;
use crate::session::Session;

/// End VMs at once, like pulling the plug.
///
/// Unwritten data is lost; `banger vm stop` shuts down cleanly.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm kill calm-otter
  banger vm kill calm-otter --signal TERM")]
pub(crate) struct Kill {
    #[command(flatten)]
    several: VmArguments,

    /// The signal for the hypervisor's process, such as TERM [default: KILL].
    #[arg(long)]
    signal: Option<SignalName>,
}

impl Kill {
    /// Ends them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = KillVm {
            signal: self.signal,
        };
        self.several.each(session, |name| {
            let outcome = session.work(|daemon, heard| daemon.kill(name, &request, heard))?;
            session.output.result(&outcome, || text(&outcome))?;
            Ok(())
        })
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
