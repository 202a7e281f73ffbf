//! `banger vm kill`.

use banger_api::{KillVm, Phase, SignalName};
use clap::Args;

use super::VmArguments;
use crate::failure::Outcome;
use crate::session::Session;

/// End VMs at once, without the guest's help, as pulling the plug would.
///
/// What the guest has not written to its disks is lost; `banger vm stop` is the clean way.
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
            let vm = session.work(|daemon, heard| daemon.kill(name, &request, heard))?;
            session.output.result(&vm, || {
                if vm.phase == Phase::Stopped {
                    format!("{} is stopped", vm.name)
                } else {
                    format!("{} was sent the signal and is {}", vm.name, vm.phase)
                }
            })?;
            Ok(())
        })
    }
}
