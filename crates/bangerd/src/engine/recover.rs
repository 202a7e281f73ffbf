//! Recovery, the first work of a daemon: it adopts the VMs that run, takes down those between two
//! phases, and reports (never removes) what belongs to no VM.
//!
//! | record | process runs | process has ended |
//! |---|---|---|
//! | creating | taken down, removed | removed |
//! | stopped | taken down | nothing to do |
//! | starting | taken down | taken down |
//! | running | adopted | taken down; the console tells how it ended |
//! | suspending | adopted, as running | taken down; the console tells how it ended |
//! | suspended | taken down, its disks stay | nothing to do |
//! | resuming | taken down | taken down |
//! | stopping | taken down | taken down |
//! | deleting | removed | removed |
//! | any, of a VM for an image build | removed | removed |

use std::collections::BTreeSet;
use std::sync::Arc;

use banger_api::{EndReason, Phase, VmId};

use super::hold::{Hold, Slot};
use super::{Engine, lock};
use crate::error::{During, Result};
use crate::vm::Vm;
use crate::vm::store::Contents;

impl Engine {
    /// Recovers every VM. Must run before any verb.
    ///
    /// # Errors
    /// If the records cannot be listed, or one has a newer schema; nothing is done then. Failures
    /// of single VMs are in their records or in
    /// [`DaemonView::unexplained`](banger_api::DaemonView::unexplained), and do not stop the
    /// others.
    pub fn recover(&self) -> Result<()> {
        self.store.refuse_newer(self.host())?;
        let Contents {
            vms,
            unreadable,
            empty,
            mut unexplained,
        } = self.store.load(self.host())?;
        // All VMs are known before anything is removed.
        *lock(&self.unreadable) = unreadable;
        let slots: Vec<Arc<Slot>> = vms.into_iter().map(|vm| Arc::new(Slot::new(vm))).collect();
        lock(&self.vms).extend(slots.iter().map(|slot| (slot.vm().id, slot.clone())));
        for id in empty {
            if let Err(error) = self.store.remove(self.host(), id) {
                unexplained.push(error.to_string());
            }
        }
        for slot in slots {
            let name = slot.vm().name.clone();
            self.forwards.note_last(&slot.vm());
            if let Err(error) = self.recover_one(&slot) {
                tracing::error!(vm = %name, error = error.report(), "recover");
                unexplained.push(format!("`{name}`: {error}"));
            }
        }
        *lock(&self.strangers) = self.find_strangers().unwrap_or_else(|error| {
            tracing::warn!(error = error.report(), "look for what belongs to no VM");
            Vec::new()
        });
        if let Err(error) = self.parts.catalog.remove_unfinished(self.host()) {
            unexplained.push(error.to_string());
        }
        *lock(&self.unexplained) = unexplained;
        self.prune();
        self.plan_autostart();
        self.advertise();
        Ok(())
    }

    fn recover_one(&self, slot: &Arc<Slot>) -> Result<()> {
        let hold = slot.hold("recovery")?;
        let mut vm = hold.vm();
        if let Some(image) = &vm.builds {
            tracing::info!(vm = %vm.name, %image, "removing the VM of a build that did not end");
            return self.remove(&hold);
        }
        match vm.phase {
            Phase::Stopped | Phase::Suspended => self.recover_still(&vm),
            Phase::Creating | Phase::Deleting => {
                tracing::info!(vm = %vm.name, phase = %vm.phase, "removing an incomplete VM");
                self.remove(&hold)
            }
            Phase::Starting | Phase::Resuming => {
                self.recover_half_way(&hold, EndReason::StartFailed)
            }
            Phase::Stopping => self.recover_half_way(&hold, EndReason::Stopped),
            Phase::Suspending => {
                // It has no data that a create could continue from.
                vm.phase = Phase::Running;
                self.save_or_keep(slot, &vm)?;
                drop(hold);
                self.recover_one(slot)
            }
            Phase::Running if vm.process().is_some_and(|it| self.host().is_alive(it)) => {
                tracing::info!(vm = %vm.name, "adopted");
                self.adopt_pause(&vm);
                self.adopt(&vm)
            }
            Phase::Running => {
                drop(hold);
                self.ended(slot);
                Ok(())
            }
        }
    }

    fn recover_half_way(&self, hold: &Hold, reason: EndReason) -> Result<()> {
        let Vm { name, phase, .. } = hold.vm();
        tracing::info!(vm = %name, %phase, "taking down an interrupted VM");
        self.go_down(
            hold,
            reason,
            "the daemon ended before the VM was ready".to_owned(),
        )
    }

    /// A VM that is not running may still have a process, if its start failed and the teardown did,
    /// too.
    fn recover_still(&self, vm: &Vm) -> Result<()> {
        if self.processes(vm)?.is_empty() {
            return Ok(());
        }
        super::down::joined(self.take_down(vm)).map_or(Ok(()), Err)
    }

    /// Repairs the host side of a running VM.
    pub(super) fn adopt(&self, vm: &Vm) -> Result<()> {
        for capability in &self.parts.capabilities {
            capability
                .apply(vm, self.host())
                .during(format!("adopt {}", capability.name()))?;
        }
        Ok(())
    }

    /// What recovery could not explain. What belonged to no VM then and has been removed since is
    /// left out; new strangers only appear while no daemon runs.
    pub(super) fn unexplained(&self) -> Vec<String> {
        let mut strangers = lock(&self.strangers);
        if !strangers.is_empty() {
            let still = self.find_strangers().unwrap_or_else(|_| strangers.clone());
            strangers.retain(|it| still.contains(it));
        }
        [lock(&self.unexplained).clone(), strangers.clone()].concat()
    }

    /// Things on the host with this installation's names that belong to none of its VMs.
    fn find_strangers(&self) -> Result<Vec<String>> {
        let mut ids: BTreeSet<VmId> = self.all_slots().iter().map(|slot| slot.vm().id).collect();
        // A VM with an unreadable record may be running.
        ids.extend(lock(&self.unreadable).iter().map(|claim| claim.id));
        // A process comes before what it uses.
        let mut strangers = self.strange_processes(&ids)?;
        for capability in &self.parts.capabilities {
            strangers.extend(capability.strangers(&ids, self.host())?);
        }
        Ok(strangers)
    }

    /// Hypervisors of VMs whose records are gone, as after the state directory was removed.
    fn strange_processes(&self, ids: &BTreeSet<VmId>) -> Result<Vec<String>> {
        let instance = self.parts.instance;
        let known: BTreeSet<String> = ids.iter().map(|id| instance.process(*id)).collect();
        let found = self
            .host()
            .find_machines(instance.on_host(), &self.programs())
            .during("look for hypervisors")?;
        let strange = found.into_iter().filter(|(name, _)| !known.contains(name));
        let words = strange.map(|(name, process)| {
            let pid = process.pid;
            format!("the process {pid} ({name}) belongs to no VM; end it: kill {pid}")
        });
        Ok(words.collect())
    }
}
