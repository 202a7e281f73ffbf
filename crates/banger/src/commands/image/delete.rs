//! `banger image delete`.

use std::process::ExitCode;

use banger_api::ImageName;
use clap::Args;
use clap_complete::ArgValueCandidates;

use crate::completion;
use crate::failure::Outcome;
use crate::session::Session;

/// Delete images that no VM uses.
///
/// An image that VMs were created from is refused, and its VMs are listed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger image delete docker-dev
  banger image rm old older")]
pub(crate) struct Delete {
    /// The images' names.
    #[arg(value_name = "NAME", required = true, add = ArgValueCandidates::new(completion::images))]
    names: Vec<ImageName>,
}

impl Delete {
    /// Removes them. One failure does not stop the others.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        session.daemon()?;
        let mut status = ExitCode::SUCCESS;
        for (position, name) in self.names.iter().enumerate() {
            if self.names[..position].contains(name) {
                continue;
            }
            match session.work(|daemon, progress| daemon.delete_image(name, progress)) {
                Ok(image) => session
                    .output
                    .result(&image, || format!("{name} is deleted"))?,
                Err(error) if self.names.len() > 1 => {
                    session.output.error(&error);
                    status = ExitCode::FAILURE;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(status)
    }
}
