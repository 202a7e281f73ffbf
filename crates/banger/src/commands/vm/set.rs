//! `banger vm set`.

use banger_api::{VmView, VolumeName};
use clap::Args;
use clap_complete::ArgValueCandidates;

use super::description::{self, now_and_next, on_or_off};
use super::outcomes::Description;
use super::selection::Scope;
use super::settings::Settings;
use super::several::Several;
use crate::completion;
use crate::failure::Outcome;
use crate::session::Session;

/// Change VMs' settings.
///
/// NAT, protection, autostart and labels change at once, the other settings at the next start. Disks only grow, and keep their contents.
#[derive(Debug, Args)]
#[command(
    group(clap::ArgGroup::new("change").required(true).multiple(true)
        .args(["vcpu", "memory", "disk_size", "system_disk_size", "nat", "no_nat", "protect", "no_protect", "autostart", "no_autostart", "labels", "unlabel", "volumes", "no_volume"])),
    after_help = "\
Examples:
  banger vm set calm-otter --nat
  banger vm set --nat web-1 web-2 web-3
  banger vm set calm-otter --protect
  banger vm set --memory 4G -l team=web
  banger vm set calm-otter --disk-size 100G && banger vm restart calm-otter"
)]
pub(crate) struct Set {
    #[command(flatten)]
    several: Several,

    #[command(flatten)]
    settings: Settings,

    /// Remove the label of this key. Can be repeated.
    #[arg(long, value_name = "KEY")]
    unlabel: Vec<String>,

    /// Take the volume of this name from it. Can be repeated.
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(completion::volumes))]
    no_volume: Vec<VolumeName>,
}

impl Set {
    /// Changes them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let mut request = self.settings.patch();
        request.labels.remove.clone_from(&self.unlabel);
        request.volumes.remove = self.no_volume.iter().map(ToString::to_string).collect();
        self.several.each(
            session,
            Scope::ANY,
            |daemon, name, progress| daemon.set(name, &request, progress),
            |vm, _| Description {
                text: text(vm),
                ..description::plainly(vm)
            },
        )
    }
}

fn text(vm: &VmView) -> String {
    let (now, next) = (&vm.spec, vm.next());
    let protected = if now.protected { ", protected" } else { "" };
    let autostart = if now.autostart {
        ", starts with the host"
    } else {
        ""
    };
    let labels = match &now.label_texts()[..] {
        [] => String::new(),
        labels => format!(", labels {}", labels.join(", ")),
    };
    let volumes = match &vm.next().volume_texts()[..] {
        [] => String::new(),
        volumes => format!(", volumes {}", volumes.join(", ")),
    };
    format!(
        "{} has {} vCPU, {} memory, {} work disk, {} system disk, NAT {}{labels}{volumes}{protected}{autostart}",
        vm.name,
        now_and_next(now.vcpu, next.vcpu),
        now_and_next(now.memory, next.memory),
        now_and_next(now.disk_size, next.disk_size),
        now_and_next(now.system_disk_size, next.system_disk_size),
        now_and_next(on_or_off(now.nat), on_or_off(next.nat))
    )
}
