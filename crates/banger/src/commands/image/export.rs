//! `banger image export`.

use std::path::PathBuf;
use std::process::ExitCode;

use banger_api::ExportImage;
use clap::Args;

use super::{ImageArgument, size};
use crate::failure::Outcome;
use crate::paths;
use crate::session::Session;

/// Copy an image's root file system to a file.
///
/// The file is a sparse ext4 file system, which `banger image import` takes on another machine. Its SHA-256 is printed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger image export docker-dev docker-dev.ext4
  banger image export default /srv/images/default.ext4 --force")]
pub(crate) struct Export {
    #[command(flatten)]
    one: ImageArgument,

    /// The file to write.
    file: PathBuf,

    /// Replace a file that exists.
    #[arg(long, short)]
    force: bool,
}

impl Export {
    /// Copies it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = ExportImage {
            path: paths::for_daemon(&self.file)?,
            force: self.force,
        };
        let name = &self.one.name;
        let copy =
            session.work(|daemon, progress| daemon.export_image(name, &request, progress))?;
        session.output.result(&copy, || {
            let size = size(copy.size_bytes);
            format!(
                "{name} is in {}, {size}\nsha256: {}",
                copy.path, copy.sha256
            )
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
