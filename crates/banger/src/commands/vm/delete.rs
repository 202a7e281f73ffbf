//! `banger vm delete`.

use banger_api::DeleteVm;
use clap::Args;

use super::VmArguments;
use crate::failure::Outcome;
use crate::session::Session;

/// Delete VMs, with every file in them.
///
/// A deleted VM cannot be restored. A running VM is refused without --force.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm delete calm-otter
  banger vm rm --force web db")]
pub(crate) struct Delete {
    #[command(flatten)]
    several: VmArguments,

    /// Kill running VMs first.
    #[arg(long, short)]
    force: bool,
}

impl Delete {
    /// Removes them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = DeleteVm { force: self.force };
        self.several.each(session, |name| {
            let vm = session.work(|daemon, heard| daemon.delete(name, &request, heard))?;
            session
                .output
                .result(&vm, || format!("{} is deleted", vm.name))?;
            Ok(())
        })
    }
}
