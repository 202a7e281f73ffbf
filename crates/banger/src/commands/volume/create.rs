//! `banger volume create`.

use std::process::ExitCode;

use banger_api::{CreateVolume, Mib, VolumeName};
use clap::Args;

use crate::commands::vm::disk_size;
use crate::failure::Outcome;
use crate::session::Session;

/// Create an empty volume.
///
/// A volume is a disk that is independent of VMs. It occupies only the space of what is written to it, up to its size.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger volume create data --size 100G
  banger vm set web --volume data:/srv/data")]
pub(crate) struct Create {
    /// The name, of lower-case letters, digits and hyphens.
    name: VolumeName,

    /// Its size: 16G, 20480M, or a number of MiB [default: 16G].
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, value_parser = disk_size)]
    size: Option<Mib>,
}

impl Create {
    /// Creates the volume.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = CreateVolume {
            name: self.name.to_string(),
            size: self.size,
        };
        let volume = session.work(|daemon, heard| daemon.create_volume(&request, heard))?;
        session.output.result(&volume, || {
            let name = &volume.name;
            if session.output.quiet {
                name.to_string()
            } else {
                format!("{name} is created\ngive it to a VM: banger vm set NAME --volume {name}:/srv/{name}")
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
