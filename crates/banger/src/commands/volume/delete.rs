//! `banger volume delete`.

use std::process::ExitCode;

use clap::Args;

use super::VolumeArgument;
use crate::ask;
use crate::failure::Outcome;
use crate::session::Session;

/// Delete a volume, with all its files.
///
/// It cannot be restored. On a terminal, delete asks first. A volume in use is not deleted.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger volume delete data
  banger volume rm data --yes")]
pub(crate) struct Delete {
    #[command(flatten)]
    one: VolumeArgument,

    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

impl Delete {
    /// Deletes the volume.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let name = &self.one.name;
        let daemon = session.daemon()?;
        let is_free = daemon.volume(name)?.users.is_empty();
        if is_free && !self.yes && ask::somebody_is_there(session.output) {
            let question = format!("delete the volume {name}? (with all its files, permanently)");
            let agrees = ask::agrees(&question).map_err(|cause| {
                let error = banger_api::Error::new(banger_api::Code::Host, "read the answer");
                error.cause(cause.to_string())
            })?;
            if !agrees {
                crate::output::say("nothing is done");
                return Ok(ExitCode::FAILURE);
            }
        }
        let volume = session.work(|daemon, heard| daemon.delete_volume(name, heard))?;
        session
            .output
            .result(&volume, || format!("{name} is deleted"))?;
        Ok(ExitCode::SUCCESS)
    }
}
