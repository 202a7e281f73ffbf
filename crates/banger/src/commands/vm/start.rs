//! `banger vm start`.

use banger_api::StartVm;
use clap::Args;

use super::{VmArguments, description};
use crate::failure::Outcome;
use crate::session::Session;

/// Start VMs, and wait until you can log in.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm start calm-otter
  banger vm start web db cache

For a system that does not boot:
  banger vm start calm-otter --rescue")]
pub(crate) struct Start {
    #[command(flatten)]
    several: VmArguments,

    /// Boot into a shell on the console instead of the system.
    #[arg(long)]
    rescue: bool,
}

impl Start {
    /// Starts them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = StartVm {
            rescue: self.rescue,
        };
        self.several.each(session, |name| {
            let outcome = session.work(|daemon, heard| daemon.start(name, &request, heard))?;
            session.output.result(&outcome, || {
                description::how_it_stands(&outcome.vm, outcome.already)
            })?;
            description::notes(&outcome.vm, session.output);
            Ok(())
        })
    }
}
