//! `banger image prune`.

use std::process::ExitCode;

use banger_api::{PruneImages, PrunedImages};
use clap::Args;

use super::size;
use crate::failure::Outcome;
use crate::session::Session;

/// Delete unused images.
///
/// Root file systems and kernels of earlier bundles are deleted with the last VM that uses them; prune deletes those that remain. With --all it also deletes named images that no VM uses, except the bundle's own.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger image prune
  banger image prune --all")]
pub(crate) struct Prune {
    /// Delete named images that no VM uses, too.
    #[arg(long, short)]
    all: bool,
}

impl Prune {
    /// Removes them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = PruneImages { all: self.all };
        let pruned = session.work(|daemon, progress| daemon.prune_images(&request, progress))?;
        session.output.result(&pruned, || text(&pruned))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(pruned: &PrunedImages) -> String {
    let deleted = pruned
        .names
        .iter()
        .map(|name| format!("{name} is deleted\n"));
    let freed = format!("{} freed\n", size(pruned.freed_bytes));
    deleted.chain([freed]).collect()
}
