//! `banger vm show`.

use std::process::ExitCode;

use banger_api::{EndReason, Mib, NetworkKind, Phase, VmView};
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::description::{now_and_next, on_or_off};
use super::forward::arrow;
use super::{VmArgument, ssh};
use crate::age;
use crate::failure::Outcome;
use crate::output::clean;
use crate::quote;
use crate::session::Session;

/// Show everything about one VM: state, address, settings, how its last run ended.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm show calm-otter
  banger vm show calm-otter --json | jq -r .address")]
pub(crate) struct Show {
    #[command(flatten)]
    one: VmArgument,
}

impl Show {
    /// Prints it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let vm = session.daemon()?.show(&self.one.name)?;
        session
            .output
            .result(&vm, || text(&vm, Timestamp::now(), &TimeZone::system()))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(vm: &VmView, now: Timestamp, zone: &TimeZone) -> String {
    let mut text = String::new();
    for (key, value) in lines(vm, now, zone) {
        let value = clean(&value).replace('\n', &format!("\n{:13}", ""));
        text += &format!("{:13}{value}\n", format!("{key}:"));
    }
    text
}

fn phase(vm: &VmView, now: Timestamp, zone: &TimeZone) -> String {
    let Some(started) = vm.started.filter(|_| vm.phase == Phase::Running) else {
        return vm.phase.to_string();
    };
    let rescue = if vm.rescue { " in rescue" } else { "" };
    let paused = match vm.pause_reason {
        Some(reason) => format!(", paused: {reason}"),
        None if vm.paused => ", paused".to_owned(),
        None => String::new(),
    };
    let since = age::moment(started, now, zone);
    format!("running{rescue} since {since}{paused}")
}

/// The volumes now, and from the next start if they differ.
fn volumes(vm: &VmView) -> Vec<(&'static str, String)> {
    let (has, gets) = (vm.spec.volume_texts(), vm.next().volume_texts());
    let mut lines = Vec::new();
    if !has.is_empty() {
        lines.push(("volumes", has.join("\n")));
    }
    if gets != has {
        let gets = match gets.as_slice() {
            [] => "none".to_owned(),
            gets => gets.join("\n"),
        };
        lines.push(("volumes from the next start", gets));
    }
    lines
}

fn lines(vm: &VmView, now: Timestamp, zone: &TimeZone) -> Vec<(&'static str, String)> {
    let mut lines = vec![("name", vm.name.to_string()), ("id", vm.id.to_string())];
    lines.push(("phase", phase(vm, now, zone)));
    if let Some(end) = &vm.last_end {
        let reason = reason(end.reason);
        let detail = if end.detail.is_empty() {
            String::new()
        } else {
            format!(": {}", end.detail)
        };
        lines.push((
            "last end",
            format!("{reason}{detail}\n{}", age::moment(end.at, now, zone)),
        ));
    }
    if let Some(address) = vm.address {
        lines.push(("address", format!("{address} ({})", vm.dns_name)));
    }
    lines.extend(settings(vm));
    if vm.spec.protected {
        lines.push(("protected", "from delete and kill".to_owned()));
    }
    if vm.spec.autostart {
        lines.push(("autostart", "with the host".to_owned()));
    }
    if !vm.spec.labels.is_empty() {
        lines.push(("labels", vm.spec.label_texts().join("\n")));
    }
    lines.extend(volumes(vm));
    if !vm.forwards.is_empty() {
        let forwards: Vec<String> = vm.forwards.iter().map(|it| arrow(vm, it)).collect();
        lines.push(("forwards", forwards.join("\n")));
    }
    lines.push(("image", vm.image.clone()));
    if let Some(hypervisor) = &vm.hypervisor {
        let pid = vm
            .pid
            .map(|pid| format!(", process {pid}"))
            .unwrap_or_default();
        lines.push(("hypervisor", format!("{hypervisor}{pid}")));
    }
    lines.push(("created", age::moment(vm.created, now, zone)));
    if let Some(view) = &vm.ssh {
        lines.push(("shell", format!("banger vm ssh {}", vm.name)));
        let words = ssh::connection(view);
        lines.push(("ssh", format!("ssh {}", quote::readable(&words))));
    }
    lines.extend(vm.notes.iter().map(|note| ("note", note.clone())));
    lines
}

/// The settings in force, and those of the next start.
fn settings(vm: &VmView) -> Vec<(&'static str, String)> {
    let (now, next) = (&vm.spec, vm.next());
    vec![
        ("network", network(vm)),
        ("vcpu", now_and_next(now.vcpu, next.vcpu)),
        ("memory", now_and_next(now.memory, next.memory)),
        (
            "work disk",
            format!(
                "{} at /root{}",
                now_and_next(now.disk_size, next.disk_size),
                taken(vm, "work")
            ),
        ),
        (
            "system disk",
            format!(
                "{} at /, by {}{}",
                now_and_next(now.system_disk_size, next.system_disk_size),
                vm.root_disk,
                taken(vm, "root")
            ),
        ),
    ]
}

/// The space that a disk occupies on the host.
fn taken(vm: &VmView, disk: &str) -> String {
    let Some(disk) = vm.disks.iter().find(|it| it.name == disk) else {
        return String::new();
    };
    let mib = |bytes: u64| Mib(bytes.div_ceil(1 << 20));
    match disk.shared_bytes {
        Some(shared) if shared > 0 => format!(
            "; {} on the host, and {} shared",
            mib(disk.allocated_bytes),
            mib(shared)
        ),
        Some(_) | None => format!("; {} on the host", mib(disk.allocated_bytes)),
    }
}

fn network(vm: &VmView) -> String {
    let kind = match vm.network {
        NetworkKind::Tap => "a TAP of its own",
        NetworkKind::User => "user networking, SSH through a port on loopback",
    };
    let nat = now_and_next(on_or_off(vm.spec.nat), on_or_off(vm.next().nat));
    format!("{kind}; NAT {nat}")
}

fn reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Stopped => "stopped",
        EndReason::Killed => "killed",
        EndReason::Poweroff => "powered off by the guest",
        EndReason::Reboot => "rebooted by the guest",
        EndReason::Halt => "halted by the guest",
        EndReason::Panic => "the guest's kernel panicked",
        EndReason::Lost => "lost without notice",
        EndReason::StartFailed => "it failed to start",
    }
}

#[cfg(test)]
mod tests {
    use banger_api::End;

    use super::super::description::tests::{calm_otter, without_address};
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_400).unwrap()
    }

    #[test]
    fn a_running_vm_shows_how_to_get_in() {
        insta::assert_snapshot!(text(&calm_otter(), now(), &TimeZone::UTC));
    }

    #[test]
    fn a_panic_is_shown_with_its_line_and_without_the_guests_escapes() {
        let mut vm = without_address();
        vm.phase = Phase::Stopped;
        (vm.ssh, vm.pid, vm.started) = (None, None, None);
        vm.last_end = Some(End {
            reason: EndReason::Panic,
            detail: "Kernel panic - not syncing: \u{1b}]0;x\u{7}sysrq".into(),
            at: Timestamp::from_second(1_800_000_390).unwrap(),
        });
        vm.notes =
            vec!["no network access beyond this host: banger vm set calm-otter --nat".into()];
        insta::assert_snapshot!(text(&vm, now(), &TimeZone::UTC));
    }
}
