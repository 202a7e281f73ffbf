//! `banger vm import`.

use std::path::PathBuf;

use banger_api::{ImportVm, VmName};
use clap::Args;

use super::description;
use crate::failure::Outcome;
use crate::paths;
use crate::session::Session;

/// Create a VM from a file of `vm export`.
///
/// The VM has all files and settings of the exported one, and its own id, address, machine-id and SSH host key. It is not started. A damaged file is rejected, and nothing is created.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm import calm-otter.banger
  banger vm import calm-otter.banger --name web")]
pub(crate) struct Import {
    /// The file.
    file: PathBuf,

    /// The name of the new VM [default: the name of the exported VM].
    #[arg(long, short)]
    name: Option<VmName>,
}

impl Import {
    /// Imports the VM.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        if let Some(remote) = &session.places.remote {
            let mut verb = vec!["vm".into(), "import".into()];
            verb.extend(self.name.iter().map(|it| format!("--name={it}").into()));
            let vm = remote.send(&verb, &self.file, session.output)?;
            return description::report(&vm, session.output);
        }
        let request = ImportVm {
            path: paths::for_daemon(&self.file)?,
            name: self.name.as_ref().map(ToString::to_string),
        };
        let vm = session.copy(|daemon, progress| daemon.import_vm(&request, progress))?;
        description::report(&vm, session.output)
    }
}
