//! `banger vm rename`.

use std::process::ExitCode;

use banger_api::{RenameVm, VmName};
use clap::Args;

use super::{VmArgument, description};
use crate::failure::Outcome;
use crate::session::Session;

/// Give a VM another name.
///
/// Its name in the DNS and its guest's host name change at once; its id, address, files and SSH host key stay.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm rename calm-otter web")]
pub(crate) struct Rename {
    #[command(flatten)]
    one: VmArgument,

    /// The new name, of lower-case letters, digits and hyphens.
    new_name: VmName,
}

impl Rename {
    /// Renames it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = RenameVm {
            name: self.new_name.to_string(),
        };
        let vm =
            session.work(|daemon, progress| daemon.rename(&self.one.name, &request, progress))?;
        session
            .output
            .result(&vm, || format!("{} is now {}", self.one.name, vm.name))?;
        description::notes(&vm, session.output);
        Ok(ExitCode::SUCCESS)
    }
}
