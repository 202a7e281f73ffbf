//! The process between a guest on user networking and the network: [`crate::gate`].
//!
//! Whether the guest reaches the internet is part of the gate's name, and fixed: a change replaces
//! the gate. A gate ends by itself when its hypervisor does, also without a running daemon.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use banger_api::{Code, Error, NetworkKind, Phase, VmId, VmSpec};
use banger_host::{Host, Mark, Process, Signal, Spawn};

use super::{Capability, Holds, TakesEffect};
use crate::error::{During, Result};
use crate::layout::{Layout, machine};
use crate::vm::Vm;
use crate::vm::names::Instance;

/// This program itself, even if a newer one has replaced it on the disk, or the VM's user cannot
/// reach it by its path.
const PROGRAM: &str = "/proc/self/exe";

/// The time for a killed gate to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The gate capability.
#[derive(Debug)]
pub struct Gate {
    instance: Instance,
    layout: Layout,
    /// The known gates, and whether they are open. A cache: without it, each look of the watch
    /// would search all processes.
    known: Mutex<BTreeMap<VmId, (Process, bool)>>,
}

impl Gate {
    /// Starts gates in the machines' folders below this layout.
    #[must_use]
    pub fn new(instance: Instance, layout: Layout) -> Self {
        Self {
            instance,
            layout,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<VmId, (Process, bool)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, vm: &Vm, open: bool) -> Mark {
        self.instance
            .gate(vm.id, vm.index, open, Path::new(PROGRAM))
    }

    fn find(&self, vm: &Vm, open: bool, host: &dyn Host) -> Result<Vec<Process>> {
        host.find_processes(&self.mark(vm, open))
            .during("find the VM's gate")
    }

    /// Ensures that exactly one gate runs, as the VM's settings require.
    fn stand(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let open = vm.spec.nat;
        end(&self.find(vm, !open, host)?, host)?;
        let process = match self.find(vm, open, host)?.pop() {
            Some(process) => process,
            None => self.start(vm, open, host)?,
        };
        self.known().insert(vm.id, (process, open));
        Ok(())
    }

    fn start(&self, vm: &Vm, open: bool, host: &dyn Host) -> Result<Process> {
        let mut arguments = vec!["gate".to_owned(), self.mark(vm, open).name];
        if open {
            arguments.push("--open".to_owned());
        }
        let layout = self.layout.vm(vm.id);
        let spawn = Spawn {
            program: PROGRAM.into(),
            arguments,
            directory: layout.machine(),
            user: vm.owner,
            keep_kvm_group: false,
            input: None,
            log: layout.in_machine(machine::GATE_LOG),
            errors: None,
            tap: None,
            // The gate ends with its VM, whatever cgroup it runs in; if it ends before, another is
            // started.
            scope: None,
            jailed: None,
        };
        host.spawn(&spawn).during("start the VM's gate")
    }

    /// Whether a running VM was started by a version of banger without gates.
    fn is_without(&self, vm: &Vm, host: &dyn Host) -> Result<bool> {
        let socket = self.layout.vm(vm.id).in_machine(machine::OUTSIDE_SOCKET);
        let found = host.stat(&socket).during("examine the VM's network")?;
        Ok(found.is_none())
    }
}

fn end(gates: &[Process], host: &dyn Host) -> Result<()> {
    for gate in gates {
        let what = || format!("end the gate, process {}", gate.pid);
        host.signal(gate, Signal::Kill).during(what())?;
    }
    for gate in gates {
        let gone = host.wait_any(std::slice::from_ref(gate), PATIENCE);
        if gone.is_empty() {
            let text = format!("the gate, process {}, does not end", gate.pid);
            return Err(Error::new(Code::Host, text));
        }
    }
    Ok(())
}

impl Capability for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn notes(&self, vm: &Vm, host: &dyn Host) -> Vec<String> {
        let runs_without = vm.phase == Phase::Running
            && vm.network == NetworkKind::User
            && self.is_without(vm, host).unwrap_or(false);
        if !vm.given().nat || !runs_without {
            return Vec::new();
        }
        vec![format!(
            "an older version of banger started it; it may reach 127.0.0.1 of this host until its next \
             start: banger vm restart {}",
            vm.name
        )]
    }

    fn takes_effect(&self, vm: &Vm, host: &dyn Host) -> TakesEffect {
        if vm.network == NetworkKind::Tap || self.is_without(vm, host).unwrap_or(false) {
            return TakesEffect::NextStart;
        }
        TakesEffect::Now(VmSpec {
            nat: vm.spec.nat,
            ..vm.given().clone()
        })
    }

    fn prepare(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        match vm.network {
            NetworkKind::User => self.stand(vm, host),
            NetworkKind::Tap => Ok(()),
        }
    }

    fn apply(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        if vm.network == NetworkKind::Tap || self.is_without(vm, host)? {
            return Ok(());
        }
        self.stand(vm, host)
    }

    fn holds(&self, running: &[&Vm], host: &dyn Host) -> Holds {
        let holds = |vm: &Vm| {
            if vm.network == NetworkKind::Tap || self.is_without(vm, host)? {
                return Ok(true);
            }
            let known = self.known().get(&vm.id).cloned();
            Ok(known.is_some_and(|(gate, open)| open == vm.spec.nat && host.is_alive(&gate)))
        };
        running.iter().map(|vm| holds(vm)).collect()
    }

    fn teardown(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.known().remove(&vm.id);
        for open in [true, false] {
            end(&self.find(vm, open, host)?, host)?;
        }
        Ok(())
    }
}
