//! The trash: deleted VMs that can be restored.
//!
//! A VM in the trash keeps its folder, its index with the address derived from it, and its image.
//! Only the field `deleted` of its record changes, so one write moves the VM to the trash and one
//! write restores it. Its name is free for others. Only `undelete` and `purge` find it, and it is
//! in no list, event or DNS answer. It stays until it is purged.

use std::sync::Arc;

use banger_api::{Code, Error, Phase, UndeleteVm, VmRef, VmView};

use super::find::ambiguous;
use super::hold::{Hold, NameClaim, Slot};
use super::{Engine, ProgressSink, admit, lock, step};
use crate::error::{During, Result};
use crate::vm::Vm;

impl Engine {
    /// The VMs in the trash with their disks, the last deleted first.
    #[must_use]
    pub fn trash(&self) -> Vec<VmView> {
        let slots = self.slots_in_trash();
        let views = slots.iter().map(|slot| self.whole_view(&slot.vm()));
        let mut views: Vec<VmView> = views.collect();
        views.sort_by(|a, b| b.deleted.cmp(&a.deleted).then(a.name.cmp(&b.name)));
        views
    }

    fn slots_in_trash(&self) -> Vec<Arc<Slot>> {
        let mut slots = self.all_slots();
        slots.retain(|slot| slot.vm().is_in_trash());
        slots
    }

    /// Finds a VM in the trash by its name, which several of them may have; its id; or the first
    /// digits of its id.
    pub(super) fn find_deleted(&self, wanted: &VmRef) -> Result<Arc<Slot>> {
        let slots = self.slots_in_trash();
        let named = |slot: &&Arc<Slot>| wanted.is_name(&slot.vm().name);
        let begins = |slot: &&Arc<Slot>| wanted.begins(slot.vm().id);
        let mut matches: Vec<&Arc<Slot>> = slots.iter().filter(named).collect();
        if matches.is_empty() {
            matches = slots.iter().filter(begins).collect();
        }
        match matches.as_slice() {
            [only] => Ok((*only).clone()),
            [] => {
                let what = format!("there is no VM `{wanted}` in the trash");
                let hint = "list the trash: banger vm list --deleted";
                Err(Error::new(Code::NotFound, what).hint(hint))
            }
            several => {
                let what = format!("several VMs in the trash are `{wanted}`");
                Err(ambiguous(what, several).hint("give the id: banger vm list --deleted"))
            }
        }
    }

    /// Moves a stopped VM to the trash.
    pub(super) fn put_in_trash(&self, hold: &Hold) -> Result<VmView> {
        let mut vm = hold.vm();
        vm.deleted = Some(self.now());
        self.save(hold.slot(), &vm).map_err(|error| {
            error.hint(format!(
                "delete it permanently: banger vm delete --purge {}",
                vm.name
            ))
        })?;
        self.forget_autostart(vm.id);
        Ok(self.whole_view(&vm))
    }

    pub(super) fn undelete_vm(&self, slot: &Arc<Slot>, request: &UndeleteVm) -> Result<VmView> {
        let name = slot.vm().name.clone();
        let doing = || format!("undelete `{name}`");
        let hold = slot.hold("undelete").during(doing())?;
        let mut vm = hold.vm();
        still_there(&vm).during(doing())?;
        let wanted = request.name.as_deref().unwrap_or(name.as_str());
        let _claim = self.take_name_back(slot, &mut vm, wanted).during(doing())?;
        vm.deleted = None;
        self.save(slot, &vm).during(doing())?;
        Ok(self.view(&vm))
    }

    /// Gives the VM its name under the lock, so that no other verb takes it meanwhile.
    fn take_name_back(&self, slot: &Arc<Slot>, vm: &mut Vm, name: &str) -> Result<NameClaim> {
        let vms = lock(&self.vms);
        let mut claims = self.claims(&vms);
        claims.retain(|claim| claim.id != vm.id);
        let name = admit::given_name(name, &claims).map_err(|error| {
            error.hint(format!(
                "take it back under another name: banger vm undelete {} --name NAME",
                vm.id
            ))
        })?;
        let claim = slot.claim_name(name.clone());
        drop(vms);
        vm.be_called(name);
        Ok(claim)
    }

    pub(super) fn purge_vm(&self, slot: &Arc<Slot>, progress: ProgressSink<'_>) -> Result<VmView> {
        let name = slot.vm().name.clone();
        let doing = || format!("purge `{name}`");
        let hold = slot.hold("purge").during(doing())?;
        still_there(&hold.vm()).during(doing())?;
        let last = self.whole_view(&hold.vm());
        step(progress, "delete", || self.remove(&hold)).during(doing())?;
        self.prune();
        Ok(last)
    }
}

/// Rejects a VM that another verb has just restored.
fn still_there(vm: &Vm) -> Result<()> {
    if vm.is_in_trash() && matches!(vm.phase, Phase::Stopped | Phase::Deleting) {
        return Ok(());
    }
    Err(Error::new(Code::NotFound, "it is no longer in the trash")
        .hint("see the others: banger vm list --deleted"))
}
