//! `banger volume show`.

use std::process::ExitCode;

use banger_api::VolumeView;
use clap::Args;

use super::{VolumeArgument, list, size};
use crate::failure::Outcome;
use crate::session::Session;

/// Show one volume: its size, and the VM that uses it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger volume show data
  banger volume show data --json | jq .allocated_bytes")]
pub(crate) struct Show {
    #[command(flatten)]
    one: VolumeArgument,
}

impl Show {
    /// Prints it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let volume = session.daemon()?.volume(&self.one.name)?;
        session.output.result(&volume, || text(&volume))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(volume: &VolumeView) -> String {
    format!(
        "name:  {}\nsize:  {}; {} on the host\nused:  by {}",
        volume.name,
        size(volume.size_bytes),
        size(volume.allocated_bytes),
        list::users(volume)
    )
}
