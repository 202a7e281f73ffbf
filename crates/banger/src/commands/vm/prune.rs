//! `banger vm prune`.

use std::process::ExitCode;

use banger_api::client::Client;
use banger_api::{DeleteVm, Error, Phase, PruneImages, VmName, VmView};
use clap::Args;
use clap_complete::ArgValueCandidates;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use serde::Serialize;

use super::confirmation::Confirmation;
use super::selection::Target;
use super::space;
use crate::completion;
use crate::failure::Outcome;
use crate::session::Session;
use banger_api::LabelSelector;

/// Empty the trash, delete unused images, and report the freed space.
///
/// Deletes the VMs in the trash; with --stopped also stopped VMs, except protected ones; then the images without a name that no VM uses. None of it can be restored. Asks first, unless --yes is given.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm prune
  banger vm prune --older-than 30d --yes
  banger vm prune --stopped -l ci --older-than 12h")]
pub(crate) struct Prune {
    /// Also delete stopped VMs.
    #[arg(long)]
    stopped: bool,

    /// Only VMs that were stopped or deleted this long ago or longer: 90m, 12h, 30d, 2w.
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<SignedDuration>,

    /// Only VMs with this label: KEY=VALUE, KEY!=VALUE, KEY or !KEY. Can be repeated.
    #[arg(short = 'l', long = "selector", value_name = "LABEL")]
    #[arg(add = ArgValueCandidates::new(completion::labels))]
    selectors: Vec<LabelSelector>,

    #[command(flatten)]
    confirmation: Confirmation,
}

/// What was deleted.
#[derive(Debug, Default, Serialize)]
struct PruneReport {
    /// The VMs.
    names: Vec<VmName>,
    /// The space that is free again, in bytes.
    freed_bytes: u64,
    /// What could not be deleted.
    errors: Vec<Error>,
}

impl Prune {
    /// Deletes them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let daemon = session.daemon()?;
        let vms = self.unneeded(daemon, Timestamp::now())?;
        let targets: Vec<Target> = vms.iter().cloned().map(Target::of).collect();
        let loss = "with all their files, permanently";
        if !self
            .confirmation
            .is_given(session.output, "delete", loss, &targets)?
        {
            return Ok(ExitCode::FAILURE);
        }
        let mut pruned = PruneReport::default();
        for vm in vms {
            match session.work(|daemon, progress| delete(daemon, &vm, progress)) {
                Ok(last) => {
                    pruned.freed_bytes += space::own_bytes(&vm);
                    pruned.names.push(last.name);
                }
                // The other VMs can still be deleted.
                Err(error) => pruned.errors.push(error),
            }
        }
        let request = PruneImages::default();
        let images = session.work(|daemon, progress| daemon.prune_images(&request, progress))?;
        pruned.freed_bytes += images.freed_bytes;
        if !session.output.json {
            for error in &pruned.errors {
                session.output.error(error);
            }
        }
        session.output.result(&pruned, || text(&pruned))?;
        Ok(if pruned.errors.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// The VMs to delete, each with its disks.
    fn unneeded(&self, daemon: &Client, now: Timestamp) -> banger_api::Result<Vec<VmView>> {
        let mut vms = daemon.trash()?;
        if self.stopped {
            for vm in daemon.list()? {
                if vm.phase == Phase::Stopped && !vm.spec.protected {
                    vms.push(daemon.show(&vm.id.into())?);
                }
            }
        }
        vms.retain(|vm| {
            let mut selectors = self.selectors.iter();
            selectors.all(|it| it.selects(&vm.spec.labels)) && self.is_old_enough(vm, now)
        });
        Ok(vms)
    }

    fn is_old_enough(&self, vm: &VmView, now: Timestamp) -> bool {
        let Some(age) = self.older_than else {
            return true;
        };
        let ended = vm.last_end.as_ref().map_or(vm.created, |end| end.at);
        let since = vm.deleted.unwrap_or(ended);
        now.duration_since(since) >= age
    }
}

/// Deletes a VM permanently, whether it is in the trash or not.
fn delete(
    daemon: &Client,
    vm: &VmView,
    progress: &mut dyn FnMut(banger_api::Progress),
) -> banger_api::Result<VmView> {
    let reference = vm.id.into();
    if vm.deleted.is_some() {
        return daemon.purge(&reference, progress);
    }
    let for_good = DeleteVm {
        purge: true,
        ..DeleteVm::default()
    };
    daemon.delete(&reference, &for_good, progress)
}

fn text(pruned: &PruneReport) -> String {
    let deleted = pruned.names.iter();
    let deleted = deleted.map(|name| format!("{name} is deleted\n"));
    let freed = format!("{} are free again", space::size(pruned.freed_bytes));
    deleted.chain([freed]).collect()
}

/// Parses a duration that is not negative.
fn age(text: &str) -> Result<SignedDuration, String> {
    let wrong = || format!("{text:?} is not a span of time, such as 12h or 30d");
    let span: Span = text.parse().map_err(|_| wrong())?;
    let days = SpanRelativeTo::days_are_24_hours();
    let duration = span.to_duration(days).map_err(|_| wrong())?;
    if duration.is_negative() {
        return Err(wrong());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::super::description::tests::calm_otter;
    use super::*;

    #[test]
    fn an_age_is_read_and_compared_with_the_last_use() {
        for (text, hours) in [
            ("90m", None),
            ("12h", Some(12)),
            ("30d", Some(720)),
            ("2w", Some(336)),
        ] {
            let read = age(text).unwrap();
            assert_eq!(hours.unwrap_or(1), read.as_hours(), "{text}");
        }
        for wrong in ["", "12", "-3d", "soon", "1month"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
        let prune = Prune {
            stopped: true,
            older_than: Some(SignedDuration::from_hours(2)),
            selectors: Vec::new(),
            confirmation: Confirmation { yes: true },
        };
        let mut vm = calm_otter();
        let at = |hours: i64| vm.created + SignedDuration::from_hours(hours);
        let (soon, later) = (at(1), at(3));
        assert!(!prune.is_old_enough(&vm, soon));
        assert!(prune.is_old_enough(&vm, later));
        vm.deleted = Some(later);
        assert!(!prune.is_old_enough(&vm, later));
    }
}
