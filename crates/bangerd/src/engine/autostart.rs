//! `vm set --autostart`: VMs that start with the host.
//!
//! The first daemon after a boot of the host, which it detects by the kernel's boot id, records the
//! VMs to start. It removes each from that list when its start has succeeded or failed. A later
//! daemon therefore continues where the last one stopped, and does not start VMs that their users
//! have stopped since.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use banger_api::{Code, Mib, Phase, StartVm, Verb, VmId};
use banger_host::{FileOp, Op};
use serde::{Deserialize, Serialize};

use super::hold::Slot;
use super::{Engine, lock};
use crate::vm::Vm;

/// The starts of the host's current boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Autostart {
    /// The kernel's boot id.
    boot_id: String,
    /// The VMs whose starts are pending or running.
    waiting: BTreeSet<VmId>,
    /// Why starts failed.
    failed: BTreeMap<VmId, String>,
}

impl Engine {
    /// Determines the VMs to start, after recovery. If this fails, no VM is started with the host;
    /// everything else works.
    pub(super) fn plan_autostart(&self) {
        let boot_id = match self.host().boot_id() {
            Ok(boot_id) => boot_id,
            Err(error) => {
                tracing::warn!(%error, "no VM is started with the host");
                return;
            }
        };
        let path = self.parts.layout.autostart();
        let written: Option<Autostart> = match self.host().read(&path) {
            Ok(bytes) => bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
            Err(error) => {
                tracing::warn!(%error, "no VM is started with the host");
                return;
            }
        };
        if let Some(autostart) = written.filter(|it| it.boot_id == boot_id) {
            *lock(&self.autostart) = autostart;
            return;
        }
        let slots = self.slots();
        let vms = slots.iter().map(|slot| slot.vm());
        let wanted = vms.filter(|vm| vm.spec.autostart && vm.phase == Phase::Stopped);
        *lock(&self.autostart) = Autostart {
            boot_id,
            waiting: wanted.map(|vm| vm.id).collect(),
            failed: BTreeMap::new(),
        };
        self.write_autostart();
    }

    /// Starts the VMs that start with the host, the oldest first, a bounded number at a time and
    /// within the host's memory. Returns when all starts have ended.
    pub fn start_with_host(&self) {
        let queue = Mutex::new(self.fitting());
        let threads = lock(&queue).len().min(self.parts.boots_at_once.max(1));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(slot) = lock(&queue).pop_front() {
                        if self.is_stopping() {
                            return;
                        }
                        self.start_one_with_host(&slot);
                    }
                });
            }
        });
    }

    /// The pending VMs that fit into the host's memory beside those that run.
    fn fitting(&self) -> VecDeque<Arc<Slot>> {
        let waiting = lock(&self.autostart).waiting.clone();
        let slots = self.slots();
        let runs = |vm: &Vm| vm.run.is_some().then_some(vm.given().memory.0);
        let used: u64 = slots.iter().filter_map(|slot| runs(&slot.vm())).sum();
        let mut slots: Vec<_> = slots.into_iter().map(|slot| (slot.vm(), slot)).collect();
        slots.retain(|(vm, _)| waiting.contains(&vm.id) && vm.phase == Phase::Stopped);
        slots.sort_by_key(|(vm, _)| vm.created);
        let memory = match self.host().memory_mib() {
            Ok(memory) => memory,
            Err(error) => {
                for (vm, _) in &slots {
                    self.end_autostart(vm.id, Some(error.to_string()));
                }
                return VecDeque::new();
            }
        };
        let mut free = memory.saturating_sub(used);
        let mut fitting = VecDeque::new();
        for (vm, slot) in slots {
            let wanted = vm.spec.memory;
            if wanted.0 > free {
                let left = Mib(free);
                let words = format!("it needs {wanted} of memory, and the host has {left} left");
                self.end_autostart(vm.id, Some(words));
            } else {
                free -= wanted.0;
                fitting.push_back(slot);
            }
        }
        fitting
    }

    fn start_one_with_host(&self, slot: &Arc<Slot>) {
        let vm = slot.vm();
        let is_there = lock(&self.vms).contains_key(&vm.id) && !vm.is_in_trash();
        if !vm.spec.autostart || !is_there {
            self.end_autostart(vm.id, None);
            return;
        }
        let started = self.operate(Verb::Start, Some(slot), &|_| {}, |_, progress| {
            self.start_vm(slot, &StartVm::default(), progress)
        });
        let failure = match started {
            Ok(_) => None,
            // A user's verb holds it, and has precedence.
            Err(error) if error.code == Code::Busy => None,
            Err(error) => {
                tracing::error!(vm = %vm.name, error = error.report(), "start it with the host");
                let words = [&error.message].into_iter().chain(&error.causes);
                Some(words.cloned().collect::<Vec<_>>().join(": "))
            }
        };
        self.end_autostart(vm.id, failure);
    }

    /// Removes a VM from the list; `failure` says why it was not started.
    fn end_autostart(&self, id: VmId, failure: Option<String>) {
        let mut autostart = lock(&self.autostart);
        autostart.waiting.remove(&id);
        autostart.failed.extend(failure.map(|words| (id, words)));
        drop(autostart);
        self.write_autostart();
        self.tell(id);
    }

    /// Clears the failure of a VM that was started since, or deleted.
    pub(super) fn forget_autostart(&self, id: VmId) {
        if lock(&self.autostart).failed.remove(&id).is_some() {
            self.write_autostart();
        }
    }

    /// Why a VM was not started with the host.
    pub(super) fn autostart_note(&self, vm: &Vm) -> Option<String> {
        if vm.phase != Phase::Stopped || !vm.spec.autostart {
            return None;
        }
        let autostart = lock(&self.autostart);
        let words = autostart.failed.get(&vm.id)?;
        Some(format!(
            "it was not started with the host: {words}; start it: banger vm start {}",
            vm.name
        ))
    }

    /// Saves the list. If that fails, a later daemon in the same boot may repeat starts.
    fn write_autostart(&self) {
        // Under the lock, so that an older state never overwrites a newer one.
        let autostart = lock(&self.autostart);
        let Ok(contents) = serde_json::to_vec_pretty(&*autostart) else {
            return;
        };
        let op = Op::File(FileOp::WriteFile {
            path: self.parts.layout.autostart(),
            contents,
            mode: 0o600,
            owner: None,
        });
        if let Err(error) = self.host().change(&op) {
            tracing::warn!(%error, "the list of VMs that start with the host is not saved");
        }
    }
}
