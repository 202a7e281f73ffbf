//! The VM that a reference names.

use std::sync::Arc;

use banger_api::{Code, Error, VmRef};

use super::hold::Slot;
use super::{Engine, lock};
use crate::error::Result;

impl Engine {
    /// Finds a VM by its name, its id, or the first digits of its id.
    pub(super) fn find(&self, wanted: &VmRef) -> Result<Arc<Slot>> {
        let slots = self.slots();
        if let Some(slot) = slots.iter().find(|slot| wanted.is_name(&slot.vm().name)) {
            return Ok(slot.clone());
        }
        let begins = |slot: &&Arc<Slot>| wanted.begins(slot.vm().id);
        let matches: Vec<&Arc<Slot>> = slots.iter().filter(begins).collect();
        match matches.as_slice() {
            [only] => Ok((*only).clone()),
            [] => Err(self.not_found(wanted)),
            several => {
                let what = format!("`{wanted}` is the beginning of several ids");
                Err(ambiguous(what, several).hint("use more digits, or the name"))
            }
        }
    }

    fn not_found(&self, wanted: &VmRef) -> Error {
        let unreadable = lock(&self.unreadable);
        let is_there = unreadable.iter().any(|claim| {
            wanted.begins(claim.id) || claim.names.iter().any(|name| wanted.is_name(name))
        });
        if is_there {
            return Error::new(
                Code::NotReady,
                format!("the record of `{wanted}` cannot be read; nothing was removed"),
            )
            .hint("see why: banger daemon status");
        }
        let error = Error::new(Code::NotFound, format!("there is no VM `{wanted}`"));
        match self.find_deleted(wanted) {
            Ok(_) => error.hint(format!(
                "it is in the trash; take it back: banger vm undelete {wanted}"
            )),
            Err(_) => error.hint("list all VMs: banger vm list"),
        }
    }

    /// The slots of all VMs except those in the trash, in the order of their ids.
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        let mut slots = self.all_slots();
        slots.retain(|slot| !slot.vm().is_in_trash());
        slots
    }

    /// All slots, including those in the trash.
    pub(super) fn all_slots(&self) -> Vec<Arc<Slot>> {
        lock(&self.vms).values().cloned().collect()
    }
}

/// The error for a reference that matches several VMs.
pub(super) fn ambiguous(what: String, slots: &[&Arc<Slot>]) -> Error {
    let vms = slots.iter().map(|slot| slot.vm());
    let names: Vec<String> = vms.map(|vm| format!("{} ({})", vm.id, vm.name)).collect();
    Error::new(Code::Conflict, what).cause(names.join(", "))
}
