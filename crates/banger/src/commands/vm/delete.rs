//! `banger vm delete`.

use std::process::ExitCode;

use banger_api::{DeleteVm, Phase, VmView};
use clap::Args;

use super::confirmation::Confirmation;
use super::outcomes::Description;
use super::selection::{Scope, Target};
use super::several::Several;
use crate::ask;
use crate::failure::Outcome;
use crate::session::Session;

/// Delete VMs, with every file in them.
///
/// With `trash = true` in the configuration a deleted VM can be restored until it is purged; otherwise it cannot. On a terminal you are asked first. A running VM is refused without --force.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm delete calm-otter
  banger vm rm --force web db
  banger vm delete -l ci --yes")]
pub(crate) struct Delete {
    #[command(flatten)]
    several: Several,

    /// Kill running VMs first, and do not ask.
    #[arg(long, short)]
    force: bool,

    /// Delete permanently, even if the configuration has a trash.
    #[arg(long)]
    purge: bool,

    #[command(flatten)]
    confirmation: Confirmation,
}

impl Delete {
    /// Removes them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let request = DeleteVm {
            force: self.force,
            purge: self.purge,
        };
        let targets = self.several.which.targets(session, Scope::ANY)?;
        if self.has_to_ask(session, &targets)
            && !self.confirmation.is_given(
                session.output,
                "delete",
                self.loss(session)?,
                &targets,
            )?
        {
            return Ok(ExitCode::FAILURE);
        }
        self.several.each_of(
            session,
            Scope::ANY,
            &targets,
            |daemon, name, progress| daemon.delete(name, &request, progress),
            |vm, _| Description {
                name: vm.name.clone(),
                text: text(vm),
                warning: None,
                notes: Vec::new(),
            },
        )
    }

    /// The description of what happens to the files.
    fn loss(&self, session: &Session) -> banger_api::Result<&'static str> {
        let is_kept = !self.purge && session.daemon()?.daemon()?.trash;
        Ok(if is_kept {
            "it goes to the trash"
        } else {
            "and all its files, permanently"
        })
    }

    /// A script that names its VMs is not asked, nor is anybody if the daemon refuses anyway.
    fn has_to_ask(&self, session: &Session, targets: &[Target]) -> bool {
        let may_go = |target: &Target| {
            let phase = target.view.as_ref().map(|vm| vm.phase);
            phase.is_some_and(|phase| phase != Phase::Running)
        };
        !self.force
            && targets.iter().any(may_go)
            && (!self.several.which.is_by_name() || ask::somebody_is_there(session.output))
    }
}

fn text(vm: &VmView) -> String {
    let name = &vm.name;
    match vm.deleted {
        Some(_) => format!("{name} is in the trash; to take it back: banger vm undelete {name}"),
        None => format!("{name} is deleted"),
    }
}
