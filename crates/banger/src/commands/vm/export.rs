//! `banger vm export`.

use std::path::PathBuf;
use std::process::ExitCode;

use banger_api::{ExportVm, ExportedVm};
use clap::Args;

use super::{VmArgument, space};
use crate::failure::Outcome;
use crate::output::{self, Output};
use crate::paths;
use crate::session::Session;

/// Write a stopped VM to one file.
///
/// The file contains the disks, the settings and the kernel of the VM, without unused space, and a digest. `banger vm import` creates a VM from it, here or on another machine. Everybody who can read the file can read all data of the VM.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm export calm-otter calm-otter.banger
  banger vm export calm-otter /srv/backup/calm-otter.banger --force")]
pub(crate) struct Export {
    #[command(flatten)]
    one: VmArgument,

    /// The file to write.
    file: PathBuf,

    /// Replace a file that exists.
    #[arg(long, short)]
    force: bool,
}

impl Export {
    /// Writes it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        if let Some(remote) = &session.places.remote {
            let verb = [
                "vm".into(),
                "export".into(),
                self.one.name.to_string().into(),
            ];
            let archive = remote.fetch(&verb, &self.file, self.force, session.output)?;
            return self.report(archive, session.output);
        }
        let request = ExportVm {
            path: paths::for_daemon(&self.file)?,
            force: self.force,
        };
        let name = &self.one.name;
        let archive =
            session.copy(|daemon, progress| daemon.export_vm(name, &request, progress))?;
        self.report(archive, session.output)
    }

    /// Prints the path that the user gave, wherever the archive was written first.
    fn report(&self, archive: ExportedVm, output: Output) -> Outcome {
        let path = self.file.display().to_string();
        let archive = if output::other_host().is_some() {
            ExportedVm { path, ..archive }
        } else {
            archive
        };
        let name = &self.one.name;
        output.result(&archive, || {
            let size = space::size(archive.size_bytes);
            format!(
                "{name} is in {}, {size}\nits digest: {}",
                archive.path, archive.digest
            )
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
