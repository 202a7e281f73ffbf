//! `banger image export`.

use std::path::PathBuf;
use std::process::ExitCode;

use banger_api::{ExportImage, ExportedImage};
use clap::Args;

use super::{ImageArgument, size};
use crate::failure::Outcome;
use crate::output::{self, Output};
use crate::paths;
use crate::session::Session;

/// Copy an image's root file system to a file.
///
/// The file is a sparse ext4 file system, which `banger image import` accepts on another machine. Its SHA-256 is printed.
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
        if let Some(remote) = &session.places.remote {
            let verb = [
                "image".into(),
                "export".into(),
                self.one.name.to_string().into(),
            ];
            let copy = remote.fetch(&verb, &self.file, self.force, session.output)?;
            return self.report(copy, session.output);
        }
        let request = ExportImage {
            path: paths::for_daemon(&self.file)?,
            force: self.force,
        };
        let name = &self.one.name;
        let copy =
            session.copy(|daemon, progress| daemon.export_image(name, &request, progress))?;
        self.report(copy, session.output)
    }

    /// Prints the path that the user gave, wherever the image was written first.
    fn report(&self, copy: ExportedImage, output: Output) -> Outcome {
        let path = self.file.display().to_string();
        let copy = if output::other_host().is_some() {
            ExportedImage { path, ..copy }
        } else {
            copy
        };
        let name = &self.one.name;
        output.result(&copy, || {
            let size = size(copy.size_bytes);
            format!(
                "{name} is in {}, {size}\nsha256: {}",
                copy.path, copy.sha256
            )
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
