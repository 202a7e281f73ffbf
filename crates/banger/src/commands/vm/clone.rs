//! `banger vm clone`.

use banger_api::{CloneVm, VmName};
use clap::Args;

use super::settings::Settings;
use super::{VmArgument, description};
use crate::failure::Outcome;
use crate::session::Session;

/// Copy a stopped VM to a new one.
///
/// The new VM has all files of the first and its own id, address, MAC address, machine-id and SSH host key. Its settings and labels are those of the first, unless options change them; it has no volumes. It is not started.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm clone calm-otter web
  banger vm clone golden ci-7 --memory 4G --label team=ci --no-protect")]
pub(crate) struct Clone {
    #[command(flatten)]
    one: VmArgument,

    /// The name of the new VM, of lower-case letters, digits and hyphens.
    new_name: VmName,

    #[command(flatten)]
    settings: Settings,

    /// Leave out the label of this key. Can be repeated.
    #[arg(long, value_name = "KEY")]
    unlabel: Vec<String>,
}

impl Clone {
    /// Clones the VM.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let mut spec = self.settings.patch();
        spec.labels.remove.clone_from(&self.unlabel);
        let request = CloneVm {
            name: self.new_name.to_string(),
            spec,
        };
        let vm =
            session.copy(|daemon, progress| daemon.clone_vm(&self.one.name, &request, progress))?;
        description::report(&vm, session.output)
    }
}
