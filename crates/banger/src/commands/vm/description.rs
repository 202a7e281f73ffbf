//! The lines about a VM after a verb.

use std::fmt::Display;
use std::process::ExitCode;

use banger_api::{Phase, VmView};

use super::outcomes::Description;
use crate::failure::Outcome;
use crate::output::{self, Output};

/// The VM's state, whether it was in that state before, and how to log in.
pub(crate) fn how_it_stands(vm: &VmView, already: bool) -> String {
    let name = &vm.name;
    let already = if already { " already" } else { "" };
    match vm.phase {
        Phase::Running => {
            // Addresses belong to the network of the VM's own machine.
            let place = match (output::other_host(), vm.address, &vm.ssh) {
                (Some(host), ..) => format!(" on {host}"),
                (None, Some(address), _) => format!(" at {address} ({})", vm.dns_name),
                (None, None, Some(ssh)) => format!(", its SSH at {}:{}", ssh.host, ssh.port),
                (None, None, None) => String::new(),
            };
            let next = match &vm.ssh {
                Some(_) => format!("get a shell: banger vm ssh {name}"),
                None => format!("see its state: banger vm show {name}"),
            };
            let rescue = if vm.rescue { " in rescue" } else { "" };
            format!("{name} is running{already}{rescue}{place}\n{next}")
        }
        Phase::Stopped => format!("{name} is stopped\nstart it: banger vm start {name}"),
        Phase::Starting => {
            format!(
                "{name} starts, and takes commands: banger vm exec {name}\nwait for it: banger vm wait {name}"
            )
        }
        phase @ (Phase::Creating
        | Phase::Suspending
        | Phase::Suspended
        | Phase::Resuming
        | Phase::Stopping
        | Phase::Deleting) => {
            format!("{name} is {phase}")
        }
    }
}

/// The description of a started VM. If it is the only one, it includes the command that opens a
/// shell in it.
pub(crate) fn started(vm: &VmView, already: bool, alone: bool) -> Description {
    let mut text = output::with_host(&how_it_stands(vm, already)).into_owned();
    if !alone {
        text.truncate(text.find('\n').unwrap_or(text.len()));
    }
    Description {
        text,
        ..plainly(vm)
    }
}

/// Prints a new VM: its state and how to log in, or with `--quiet` only its name, for scripts:
/// `name=$(banger vm create --quiet)`. The notes follow.
pub(crate) fn report(vm: &VmView, output: Output) -> Outcome {
    output.result(vm, || {
        if output.quiet {
            vm.name.to_string()
        } else {
            output::with_host(&how_it_stands(vm, false)).into_owned()
        }
    })?;
    notes(vm, output);
    Ok(ExitCode::SUCCESS)
}

/// The name and the notes of a VM.
pub(crate) fn plainly(vm: &VmView) -> Description {
    Description {
        name: vm.name.clone(),
        text: String::new(),
        warning: None,
        notes: vm.notes.clone(),
    }
}

/// A setting in force, and that of the next start.
pub(crate) fn now_and_next<T: Copy + Display + PartialEq>(now: T, next: T) -> String {
    if now == next {
        return now.to_string();
    }
    format!("{now} ({next} from its next start)")
}

/// The state of NAT, as one word.
pub(crate) fn on_or_off(nat: bool) -> &'static str {
    if nat { "on" } else { "off" }
}

/// Prints the notes of the VM.
pub(crate) fn notes(vm: &VmView, output: Output) {
    for note in &vm.notes {
        output.note(note);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use banger_api::{Mib, NetworkKind, SshView, VmSpec};
    use jiff::Timestamp;

    use super::*;

    /// A VM that runs on a TAP.
    pub(crate) fn calm_otter() -> VmView {
        VmView {
            id: "00ab12cd".parse().unwrap(),
            name: "calm-otter".parse().unwrap(),
            phase: Phase::Running,
            paused: false,
            rescue: false,
            pause_reason: None,
            image: "default".into(),
            spec: VmSpec {
                system_disk_size: Mib(8 << 10),
                nat: true,
                ..VmSpec::default()
            },
            pending: None,
            network: NetworkKind::Tap,
            address: Some([10, 215, 0, 2].into()),
            dns_name: "calm-otter.vm".into(),
            ssh: Some(SshView {
                host: "10.215.0.2".into(),
                port: 22,
                user: "root".into(),
                key: "/home/ada/.local/state/banger/ssh/id_ed25519".into(),
                known_hosts: "/home/ada/.local/state/banger/ssh/known_hosts".into(),
                host_key_alias: "banger-00ab12cd".into(),
                host_key: "ssh-ed25519 AAAAC3Nza".into(),
            }),
            forwards: Vec::new(),
            hypervisor: Some("qemu (TCG)".into()),
            root_disk: "copy".into(),
            disks: Vec::new(),
            pid: Some(4711),
            created: Timestamp::from_second(1_800_000_000).unwrap(),
            started: Some(Timestamp::from_second(1_800_000_100).unwrap()),
            last_end: None,
            notes: Vec::new(),
            deleted: None,
        }
    }

    /// A VM that runs on user networking.
    pub(crate) fn without_address() -> VmView {
        let mut vm = calm_otter();
        vm.network = NetworkKind::User;
        vm.address = None;
        if let Some(ssh) = &mut vm.ssh {
            ssh.host = "127.0.0.1".into();
            ssh.port = 40_022;
        }
        vm
    }

    #[test]
    fn a_running_vm_is_described_with_its_address() {
        assert_eq!(
            how_it_stands(&calm_otter(), false),
            "calm-otter is running at 10.215.0.2 (calm-otter.vm)\n\
             get a shell: banger vm ssh calm-otter"
        );
        assert_eq!(
            how_it_stands(&without_address(), true),
            "calm-otter is running already, its SSH at 127.0.0.1:40022\n\
             get a shell: banger vm ssh calm-otter"
        );
    }
}
