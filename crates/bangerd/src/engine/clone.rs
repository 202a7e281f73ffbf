//! `vm clone`: a new VM with the content of a stopped one, and an identity of its own.
//!
//! A clone is created like a new VM, except that its disks are copies. Its first record says that
//! it is being created, so recovery removes it after a crash. At its first start the guest replaces
//! the names and the machine-id of the original on its disk by its own.

use std::sync::Arc;

use banger_api::{CloneVm, VmView};

use super::hold::{Hold, Slot};
use super::{Engine, ProgressSink, admit, disk_pressure, lock};
use crate::error::{During, Result};
use crate::readiness;
use crate::vm::Vm;
use crate::vm::phase::{Verb, may};
use crate::waiter::is_gone;

impl Engine {
    pub(super) fn clone_vm(
        &self,
        slot: &Arc<Slot>,
        request: &CloneVm,
        progress: ProgressSink<'_>,
    ) -> Result<VmView> {
        let name = slot.vm().name.clone();
        let doing = || format!("clone `{name}`");
        // The hold keeps it stopped while its disks are copied.
        let original = slot.hold("clone").during(doing())?;
        let of = original.vm();
        may(Verb::Clone, of.phase, &of.name).during(doing())?;
        let hold = self.reserve_clone(&of, request).during(doing())?;
        self.furnish(&hold, progress, &is_gone, |capability, vm, host| {
            capability.duplicate(&of, vm, host)
        })
        .during(doing())?;
        Ok(self.view(&hold.vm()))
    }

    fn reserve_clone(&self, of: &Vm, request: &CloneVm) -> Result<Hold> {
        let mut changed = of.clone();
        // A volume belongs to one VM at a time; the request may name others.
        changed.spec.volumes.clear();
        changed.spec = self.admit(changed.spec.apply(&request.spec), Some(&of.spec))?;
        // The disks are copies of these, and disks do not shrink.
        self.admit_vm(&changed)?;
        loop {
            let claims = self.claims(&lock(&self.vms));
            let name = admit::given_name(&request.name, &claims)?;
            let mut vm = self.fresh(name, changed.spec.clone(), of.images.clone(), &claims)?;
            self.choose(&mut vm)?;
            take_over(&mut vm, of);
            self.admit_vm(&vm)?;
            let room = disk_pressure::check(&self.parts.layout, self.breaks_when_full(&vm));
            readiness::require(self.host(), &[room])?;
            let _claims = self.claim_volumes(&vm, None)?;
            if let Some(hold) = self.reserve(vm, false, "clone")? {
                return Ok(hold);
            }
        }
    }
}

/// Copies what the content of the disks depends on: their driver, the hardware that the guest
/// knows, and the former identity that they contain.
fn take_over(vm: &mut Vm, of: &Vm) {
    vm.root_disk.clone_from(&of.root_disk);
    vm.shape.clone_from(&of.shape);
    vm.former_names.clone_from(&of.former_names);
    vm.former_names.push(of.name.clone());
    vm.former_machine_ids.clone_from(&of.former_machine_ids);
    vm.former_machine_ids.push(of.machine_id.clone());
}
