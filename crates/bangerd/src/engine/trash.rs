//! The trash: VMs that were deleted and can be taken back.
//!
//! A VM in the trash keeps all that is its own: its folder, its index with the address that follows
//! from it, its image. Its record says since when it is there, and nothing else of it changes, so that
//! one write puts it there and one takes it back. It has left its name to others, no verb but
//! `undelete` and `purge` finds it, and nobody is told of it. It stays until it is purged.

use std::sync::Arc;

use banger_api::{Code, Error, Phase, UndeleteVm, VmRef, VmView};

use super::hold::{Hold, NameClaim, Slot};
use super::{Engine, ProgressSink, admit, ambiguous, lock, step};
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

    /// Finds a VM in the trash by its name, which others there may have had, too; its id; or the first
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
                let hint = "see which there are: banger vm list --deleted";
                Err(Error::new(Code::NotFound, what).hint(hint))
            }
            several => {
                let what = format!("several VMs in the trash are `{wanted}`");
                Err(ambiguous(what, several).hint("give the id: banger vm list --deleted"))
            }
        }
    }

    /// Puts a VM that is stopped into the trash.
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
        Ok(self.view(&vm))
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

    /// Gives the VM the name while nobody else can.
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

/// Refuses a VM that somebody else has taken back just now.
fn still_there(vm: &Vm) -> Result<()> {
    if vm.is_in_trash() && matches!(vm.phase, Phase::Stopped | Phase::Deleting) {
        return Ok(());
    }
    Err(Error::new(Code::NotFound, "it is no longer in the trash")
        .hint("see the others: banger vm list --deleted"))
}
