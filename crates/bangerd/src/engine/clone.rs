//! `vm clone`: another VM with the content of one that is stopped, and an identity of its own.
//!
//! The clone is made as a new VM is, with another way to its disks: the first record says that it is
//! being created, so that a crash in between leaves nothing of it. Its guest finds the names and the
//! machine-id of the other VM on its disk at its first start, and puts its own in their place.

use std::sync::Arc;

use banger_api::{CloneVm, VmView};

use super::hold::{Hold, Slot};
use super::{Engine, ProgressSink, admit, disk_pressure, lock};
use crate::error::{During, Result};
use crate::readiness;
use crate::vm::Vm;
use crate::vm::phase::{Verb, may};

impl Engine {
    pub(super) fn clone_vm(
        &self,
        slot: &Arc<Slot>,
        request: &CloneVm,
        progress: ProgressSink<'_>,
    ) -> Result<VmView> {
        let name = slot.vm().name.clone();
        let doing = || format!("clone `{name}`");
        // Nobody starts it while its disks are copied.
        let original = slot.hold("clone").during(doing())?;
        let of = original.vm();
        may(Verb::Clone, of.phase, &of.name).during(doing())?;
        let hold = self.reserve_clone(&of, request).during(doing())?;
        self.furnish(&hold, progress, |capability, vm| {
            capability.duplicate(&of, vm, self.host())
        })
        .during(doing())?;
        Ok(self.view(&hold.vm()))
    }

    fn reserve_clone(&self, of: &Vm, request: &CloneVm) -> Result<Hold> {
        let mut changed = of.clone();
        // A volume is one VM's at a time; the clone may be given others.
        changed.spec.volumes.clear();
        changed.spec = self.admit(changed.spec.apply(&request.spec), Some(&of.spec))?;
        // Against the disks that are copied, which do not shrink.
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

/// What goes with the content of the disks: how they are made, the hardware that the guest has got to
/// know, and what stands in them of the other VM's identity.
fn take_over(vm: &mut Vm, of: &Vm) {
    vm.root_disk.clone_from(&of.root_disk);
    vm.shape.clone_from(&of.shape);
    vm.former_names.clone_from(&of.former_names);
    vm.former_names.push(of.name.clone());
    vm.former_machine_ids.clone_from(&of.former_machine_ids);
    vm.former_machine_ids.push(of.machine_id.clone());
}
