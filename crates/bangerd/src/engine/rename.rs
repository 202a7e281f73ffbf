//! `vm rename`: the record first, then the guest.
//!
//! The name in the record is the VM's name: the DNS, the CLI and the next start use it at once.
//! Until the guest has it, too, the record also lists the names that the guest may have, so that a
//! start after a crash replaces them.

use std::sync::Arc;

use banger_api::{Phase, RenameVm, VmView};

use super::hold::{NameClaim, Slot};
use super::{Engine, ProgressSink, admit, lock, step};
use crate::error::{During, Result};
use crate::vm::Vm;
use crate::vm::phase::{Verb, may};

impl Engine {
    pub(super) fn rename_vm(
        &self,
        slot: &Arc<Slot>,
        request: &RenameVm,
        progress: ProgressSink<'_>,
    ) -> Result<VmView> {
        let name = slot.vm().name.clone();
        let doing = || format!("rename `{name}`");
        let hold = slot.hold("rename").during(doing())?;
        let mut vm = hold.vm();
        may(Verb::Rename, vm.phase, &vm.name).during(doing())?;
        if request.name == vm.name.as_str() {
            return Ok(self.view(&vm));
        }
        let _claim = self
            .take_name(slot, &mut vm, &request.name)
            .during(doing())?;
        self.save(slot, &vm).during(doing())?;
        if vm.phase == Phase::Running && !vm.former_names.is_empty() {
            self.tell_name(slot, &mut vm, progress);
        }
        Ok(self.view(&slot.vm()))
    }

    /// Renames the VM under the lock, and records the names that its guest may have.
    fn take_name(&self, slot: &Arc<Slot>, vm: &mut Vm, name: &str) -> Result<NameClaim> {
        let vms = lock(&self.vms);
        let mut claims = self.claims(&vms);
        // Its own id and name do not conflict.
        claims.retain(|claim| claim.id != vm.id);
        let name = admit::given_name(name, &claims)?;
        let claim = slot.claim_name(name.clone());
        drop(vms);
        vm.be_called(name);
        Ok(claim)
    }

    /// Renames a running guest. If that fails, the guest gets the name at its next start; a note
    /// says so until then.
    fn tell_name(&self, slot: &Slot, vm: &mut Vm, progress: ProgressSink<'_>) {
        if vm.is_in_rescue() || self.pause_of(vm.id).is_some() {
            return;
        }
        let Some(hypervisor) = self.hypervisor_of(vm) else {
            return;
        };
        let renamed = step(progress, "rename the guest", || {
            let mut guest = hypervisor.guest(vm)?;
            let mut capabilities = self.parts.capabilities.iter();
            capabilities.try_for_each(|it| it.on_rename(vm, &mut *guest))
        });
        let renamed = renamed.and_then(|()| {
            vm.former_names.clear();
            self.save_or_keep(slot, vm)
        });
        if let Err(error) = renamed {
            tracing::warn!(vm = %vm.name, error = error.report(), "the guest keeps its old name");
        }
    }
}
