//! `banger vm purge`.

use std::process::ExitCode;

use banger_api::{VmRef, VmView};
use clap::Args;
use clap_complete::ArgValueCandidates;

use super::confirmation::Confirmation;
use super::outcomes::{Description, Outcomes};
use super::selection::Target;
use super::space;
use crate::ask;
use crate::completion;
use crate::failure::Outcome;
use crate::session::Session;

/// Delete VMs in the trash permanently, with all their files.
///
/// They cannot be restored. On a terminal, purge asks first.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm purge calm-otter
  banger vm purge --all --yes")]
pub(crate) struct Purge {
    /// The VMs in the trash: names, ids, or the first digits of ids.
    #[arg(
        value_name = "NAME",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    #[arg(add = ArgValueCandidates::new(completion::trash))]
    names: Vec<VmRef>,

    /// All VMs in the trash.
    #[arg(long, short)]
    all: bool,

    #[command(flatten)]
    confirmation: Confirmation,
}

impl Purge {
    /// Removes them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let targets: Vec<Target> = if self.all {
            let trash = session.daemon()?.trash()?;
            trash.into_iter().map(Target::of).collect()
        } else {
            let named = |name: &VmRef| Target {
                name: name.to_string(),
                reference: name.clone(),
                view: None,
            };
            self.names.iter().map(named).collect()
        };
        if targets.is_empty() {
            session
                .output
                .result(&[(); 0], || "the trash is empty".to_owned())?;
            return Ok(ExitCode::SUCCESS);
        }
        let has_to_ask = self.all || ask::somebody_is_there(session.output);
        let loss = "with all its files, permanently";
        let confirmation = self.confirmation;
        if has_to_ask && !confirmation.is_given(session.output, "purge", loss, &targets)? {
            return Ok(ExitCode::FAILURE);
        }
        let mut outcomes = Outcomes::new(session.output, text, targets.len());
        for (number, target) in targets.iter().enumerate() {
            let purged = session.work(|daemon, progress| daemon.purge(&target.reference, progress));
            outcomes.add(number, &target.name, purged);
        }
        outcomes.end()
    }
}

fn text(vm: &VmView, _is_only_one: bool) -> Description {
    Description {
        name: vm.name.clone(),
        text: format!(
            "{} is deleted, {} are free again",
            vm.name,
            space::size(space::own_bytes(vm))
        ),
        warning: None,
        notes: Vec::new(),
    }
}
