//! `banger image rename`.

use std::process::ExitCode;

use banger_api::{ImageName, RenameImage};
use clap::Args;

use super::ImageArgument;
use crate::failure::Outcome;
use crate::session::Session;

/// Give an image another name.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger image rename docker-dev docker-dev-old")]
pub(crate) struct Rename {
    #[command(flatten)]
    one: ImageArgument,

    /// The new name.
    new_name: ImageName,
}

impl Rename {
    /// Renames it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = RenameImage {
            name: self.new_name.to_string(),
        };
        let old = &self.one.name;
        let image =
            session.work(|daemon, progress| daemon.rename_image(old, &request, progress))?;
        session
            .output
            .result(&image, || format!("{old} is now {}", image.name))?;
        Ok(ExitCode::SUCCESS)
    }
}
