//! `banger vm undelete`.

use banger_api::{UndeleteVm, VmName, VmRef};
use clap::Args;
use clap_complete::ArgValueCandidates;

use super::description;
use crate::completion;
use crate::failure::Outcome;
use crate::session::Session;

/// Restore a VM from the trash.
///
/// It has all its files and settings, and is stopped. If another VM has taken its name, give it a new one with --name.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm undelete calm-otter
  banger vm undelete 5db8 --name web-before")]
pub(crate) struct Undelete {
    /// The VM in the trash: its name, its id, or the first digits of its id.
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(completion::trash))]
    wanted: VmRef,

    /// Another name for it.
    #[arg(long, value_name = "NAME")]
    name: Option<VmName>,
}

impl Undelete {
    /// Restores the VM.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = UndeleteVm {
            name: self.name.as_ref().map(ToString::to_string),
        };
        let vm =
            session.work(|daemon, progress| daemon.undelete(&self.wanted, &request, progress))?;
        description::report(&vm, session.output)
    }
}
