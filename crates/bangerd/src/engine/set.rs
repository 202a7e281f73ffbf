//! `vm set`: other settings. NAT changes at once, the rest at the next start.

use banger_api::{Phase, SetVm, VmRef, VmView};

use super::{Engine, Heard, step};
use crate::error::{During, Result};
use crate::vm::phase::{Verb, may};

impl Engine {
    /// Changes a VM's settings.
    ///
    /// # Errors
    /// `invalid` for what is out of range or would shrink a disk; nothing is changed then.
    pub fn set(&self, wanted: &VmRef, request: &SetVm, heard: Heard<'_>) -> Result<VmView> {
        let slot = self.find(wanted)?;
        let doing = || format!("set `{}`", slot.vm().name);
        let hold = slot.hold("set").during(doing())?;
        let mut vm = hold.vm();
        may(Verb::Set, vm.phase, &vm.name).during(doing())?;
        let before = vm.clone();
        vm.spec = self.admit_change(&vm.spec, request).during(doing())?;
        self.save(&slot, &vm).during(doing())?;
        if vm.phase == Phase::Running && vm.spec.nat != before.spec.nat {
            let applied = step(heard, "apply", || self.adopt(&vm)).during(doing());
            if let Err(mut error) = applied {
                error
                    .also
                    .extend(self.save(&slot, &before).err().map(|it| it.to_string()));
                error
                    .also
                    .extend(self.adopt(&before).err().map(|it| it.to_string()));
                return Err(error);
            }
        }
        let mut view = self.view(&vm);
        if vm.phase == Phase::Running && spec_waits(&before.spec, &vm.spec) {
            view.notes.push(format!(
                "the new sizes are in force from the next start: banger vm restart {}",
                vm.name
            ));
        }
        Ok(view)
    }
}

/// Whether something waits for the next start.
fn spec_waits(before: &crate::vm::Spec, after: &crate::vm::Spec) -> bool {
    crate::vm::Spec {
        nat: before.nat,
        ..after.clone()
    } != *before
}
