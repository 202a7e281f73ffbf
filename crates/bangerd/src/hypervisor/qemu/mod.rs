//! QEMU, with KVM if the host has it, and in software (TCG) otherwise.
//!
//! The machine is a versioned `q35` with virtio over PCI ([`crate::vm::shape`]); under TCG
//! `microvm` hangs in one boot of three. QEMU runs in the machine's folder with relative paths, in
//! a session of its own, with its sandbox on, and as the VM's own user if the daemon is root.

mod command_line;
mod qmp;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use banger_api::{Code, Error};
use banger_guest::streams::StreamKind;
use banger_host::{FileOp, Finding, Host, Op, Probe, Process, Spawn, Tap};
use serde_json::{Value, json};

use super::{FailedWrite, Features, Hypervisor, MachineState};
use crate::error::{During, Result};
use crate::guest::channel::Channel;
use crate::guest::channel::streams::SerialStreams;
use crate::guest::{Guest, serial};
use crate::layout::{Layout, machine};
use crate::machine::{Backend, Machine};
use crate::readiness::Check;
use crate::vm::Vm;
use qmp::Session;

/// The descriptor number of the TAP in QEMU.
const TAP_DESCRIPTOR: i32 = 3;

/// A harmless warning: with user networking the guest's interface is not on QEMU's hub, because the
/// gate is between the two.
const EXPECTED: &str = "warning: hub 0 with no nics";

/// The oldest supported version.
const LEAST: (u32, u32) = (7, 2);

/// The `qemu` driver.
#[derive(Debug)]
pub struct Qemu {
    layout: Layout,
    program: PathBuf,
    kvm: bool,
    streams: SerialStreams,
}

impl Qemu {
    /// Runs this program, with or without KVM.
    #[must_use]
    pub fn new(layout: Layout, program: PathBuf, kvm: bool) -> Self {
        Self {
            layout,
            program,
            kvm,
            streams: SerialStreams::default(),
        }
    }
}

impl Qemu {
    /// Opens a session, passes it to `commands`, and closes it.
    fn session<T>(
        &self,
        vm: &Vm,
        timeout: Duration,
        commands: impl FnOnce(&mut Session, Instant) -> io::Result<T>,
    ) -> Result<T> {
        let socket = self.layout.vm(vm.id).in_machine(machine::QMP);
        let deadline = Instant::now() + timeout;
        Session::open(&socket, deadline)
            .and_then(|mut session| commands(&mut session, deadline))
            .map_err(|cause| Error::new(Code::Host, "speak with QEMU").cause(cause.to_string()))
    }

    /// Executes one command without arguments.
    fn execute(&self, vm: &Vm, command: &str, timeout: Duration) -> Result<()> {
        self.session(vm, timeout, |session, deadline| {
            session.execute(command, &json!({}), deadline).map(drop)
        })
    }
}

/// The meaning of QEMU's `RunState`. A machine that starts, is being saved or ends counts as
/// running.
fn state(session: &mut Session, deadline: Instant) -> io::Result<MachineState> {
    let status = session.execute("query-status", &json!({}), deadline)?;
    Ok(match status["status"].as_str().unwrap_or_default() {
        "io-error" => {
            let disks = session.execute("query-block", &json!({}), deadline)?;
            MachineState::FailedWrite(failed_write(&disks))
        }
        "internal-error" => MachineState::Broken,
        "paused" | "suspended" | "watchdog" | "guest-panicked" | "debug" => MachineState::Paused,
        _ => MachineState::Running,
    })
}

fn failed_write(disks: &Value) -> FailedWrite {
    let mut disks = disks.as_array().into_iter().flatten();
    if disks.any(|disk| disk["io-status"] == "failed") {
        FailedWrite::Other
    } else {
        FailedWrite::NoSpace
    }
}

impl Hypervisor for Qemu {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn features(&self) -> Features {
        Features {
            // The limit of q35 without an interrupt-remapping IOMMU (x2APIC ids above 254).
            most_vcpus: 255,
            power_button: true,
            jailed_by_root: false,
            reports_state: true,
        }
    }

    fn programs(&self) -> Vec<PathBuf> {
        vec![self.program.clone()]
    }

    fn checks(&self) -> Vec<Check> {
        let mut checks = vec![Check::probe(
            "QEMU",
            Probe::Program {
                name: self.program.display().to_string(),
                version_argument: "--version".to_owned(),
                least: LEAST,
                package: "qemu-system-x86".to_owned(),
            },
        )];
        if !self.kvm {
            checks.push(Check::new("speed", |_| Finding::Doubtful {
                found: "QEMU runs guests in software, ten to twenty times slower than KVM"
                    .to_owned(),
                hint: "use a host with hardware virtualisation, and see the check `KVM`".to_owned(),
            }));
        }
        checks
    }

    fn boot(&self, vm: &Vm, machine: &Machine, host: &dyn Host) -> Result<Process> {
        let tap = machine.interfaces.iter().find_map(|it| match &it.backend {
            Backend::Tap { name } => Some(Tap {
                name: name.clone(),
                descriptor: TAP_DESCRIPTOR,
            }),
            Backend::User { .. } => None,
        });
        let layout = self.layout.vm(vm.id);
        // What an earlier run wrote would explain the end of this one.
        let path = layout.in_machine(machine::HYPERVISOR_LOG);
        host.change(&Op::File(FileOp::RemoveFile { path }))
            .during("remove the log of the last run")?;
        let spawn = Spawn {
            program: self.program.clone(),
            arguments: command_line::arguments(machine, self.kvm, TAP_DESCRIPTOR),
            directory: layout.machine(),
            user: machine.owner,
            keep_kvm_group: self.kvm,
            input: Some(layout.in_machine(machine::CONSOLE_INPUT)),
            log: layout.in_machine(&machine.console),
            errors: Some(layout.in_machine(machine::HYPERVISOR_LOG)),
            tap,
            scope: machine.scope.clone(),
            jailed: None,
        };
        host.spawn(&spawn).during("start QEMU")
    }

    fn guest(&self, vm: &Vm) -> Result<Box<dyn Guest>> {
        let socket = self.layout.vm(vm.id).in_machine(machine::AGENT);
        Ok(Box::new(Channel::new(socket)))
    }

    fn open_stream(
        &self,
        vm: &Vm,
        kind: StreamKind,
        first: &[u8],
        timeout: Duration,
    ) -> Result<UnixStream> {
        if vm.shape.is_original() {
            let message = format!("the machine of `{}` has no port for streams", vm.name);
            return Err(Error::new(Code::Conflict, message).hint(format!(
                "an older banger created it; use SSH instead: banger vm ssh {}",
                vm.name
            )));
        }
        let socket = self.layout.vm(vm.id).in_machine(machine::STREAMS);
        self.streams.open(&socket, kind, first, timeout)
    }

    fn console_input(&self, vm: &Vm) -> Result<OwnedFd> {
        serial::open_input(vm, &self.layout)
    }

    fn press_power_button(&self, vm: &Vm, deadline: Instant) -> Result<()> {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        self.execute(vm, "system_powerdown", left)
    }

    fn state(&self, vm: &Vm, timeout: Duration) -> Result<MachineState> {
        self.session(vm, timeout, state)
    }

    fn resume(&self, vm: &Vm, timeout: Duration) -> Result<()> {
        self.execute(vm, "cont", timeout)
    }

    fn last_words(&self, vm: &Vm, host: &dyn Host) -> Option<String> {
        let path = self.layout.vm(vm.id).in_machine(machine::HYPERVISOR_LOG);
        let length = host.stat(&path).ok().flatten()?.length;
        let tail = host
            .read_at(&path, length.saturating_sub(2000), 2000)
            .ok()?;
        let text = String::from_utf8_lossy(&tail);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.contains(EXPECTED))
            .collect();
        let last = lines[lines.len().saturating_sub(3)..].join("; ");
        (!last.is_empty()).then_some(last)
    }
}

#[cfg(test)]
mod tests {
    use banger_api::{VmId, VmSpec};
    use banger_host::Sim;
    use jiff::Timestamp;

    use super::*;
    use crate::vm::Images;

    #[test]
    fn the_words_of_an_earlier_run_do_not_explain_the_end_of_this_one() {
        let host = Sim::new();
        let layout = Layout::new("/state");
        let images = Images {
            name: "default".to_owned(),
            root: String::new(),
            kernel: String::new(),
        };
        let vm = Vm::new(
            VmId::from_bits(1),
            "web".parse().unwrap(),
            VmSpec::default(),
            images,
            Timestamp::UNIX_EPOCH,
        );
        let qemu = Qemu::new(layout.clone(), "/usr/bin/qemu".into(), false);
        let change = |op| host.change(&Op::File(op)).unwrap();
        change(FileOp::MakeDirectory {
            path: layout.vm(vm.id).machine(),
            mode: 0o700,
            owner: None,
        });
        change(FileOp::WriteScratch {
            path: layout.vm(vm.id).in_machine(machine::HYPERVISOR_LOG),
            contents: b"terminating on signal 15\n".to_vec(),
            mode: 0o600,
            owner: None,
        });
        let words = qemu.last_words(&vm, &host);
        assert_eq!(words.as_deref(), Some("terminating on signal 15"));
        let _ = qemu.boot(&vm, &command_line::tests::machine(), &host);
        assert_eq!(qemu.last_words(&vm, &host), None);
    }
}
