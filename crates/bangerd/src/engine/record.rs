//! Records, on disk and in memory.
//!
//! Ending a VM continues even if its record cannot be written for lack of space: the record on disk
//! then still has a run, and a daemon that finds it without a process reaches the same end. The new
//! record stays in memory, and is written when there is space.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use banger_api::VmId;
use banger_host::Kind;

use super::hold::{PUTTING_BACK, Slot};
use super::{Engine, lock};
use crate::error::{Result, from_host};
use crate::vm::Vm;

/// The VMs whose records on disk are older than those in memory.
#[derive(Debug, Default)]
pub(super) struct StaleRecords(Mutex<BTreeSet<VmId>>);

impl Engine {
    /// Writes a VM's record, and makes it visible.
    pub(super) fn save(&self, slot: &Slot, vm: &Vm) -> Result<()> {
        self.write(slot, vm).map_err(|error| from_host(&error))
    }

    /// The same, but continues if there is no space for the record.
    pub(super) fn save_or_keep(&self, slot: &Slot, vm: &Vm) -> Result<()> {
        match self.write(slot, vm) {
            Err(error) if error.kind() == Kind::NoSpace => {
                tracing::warn!(vm = %vm.name, "no space for its record; it is kept in memory until there is");
                lock(&self.kept.0).insert(vm.id);
                self.publish(slot, vm);
                Ok(())
            }
            written => written.map_err(|error| from_host(&error)),
        }
    }

    fn write(&self, slot: &Slot, vm: &Vm) -> banger_host::Result<()> {
        self.store.save(self.host(), vm)?;
        lock(&self.kept.0).remove(&vm.id);
        self.publish(slot, vm);
        Ok(())
    }

    /// Makes a VM's state visible without writing its record.
    pub(super) fn publish(&self, slot: &Slot, vm: &Vm) {
        slot.replace(vm.clone());
        self.follow_forwards(slot);
        self.tell(vm.id);
    }

    /// Writes the records that found no space, except those of held VMs.
    pub(super) fn write_kept(&self) {
        self.advertise_again();
        let kept = lock(&self.kept.0).clone();
        if kept.is_empty() {
            return;
        }
        let slots = self.all_slots().into_iter();
        let slots: Vec<Arc<Slot>> = slots.filter(|slot| kept.contains(&slot.vm().id)).collect();
        for slot in &slots {
            if slot.is_held() {
                continue;
            }
            let Ok(hold) = slot.hold(PUTTING_BACK) else {
                continue;
            };
            match self.save(slot, &hold.vm()) {
                Ok(()) => tracing::info!(vm = %slot.vm().name, "its record is written"),
                Err(error) => tracing::debug!(vm = %slot.vm().name, %error, "keep its record"),
            }
        }
    }

    /// A deleted VM needs no record.
    pub(super) fn forget_record(&self, id: VmId) {
        lock(&self.kept.0).remove(&id);
    }
}
