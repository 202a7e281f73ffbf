//! `vm set`: other settings. NAT changes at once, the rest at the next start.

use banger_api::{NetworkKind, Phase, SetVm, VmRef, VmView};

use super::{Engine, Heard, step};
use crate::error::{During, Result};
use crate::vm::Vm;
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
        self.admit_vm(&vm).during(doing())?;
        follow(&mut vm);
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
        Ok(self.view(&vm))
    }
}

/// Notes what of the new settings the run has already: NAT, where its network is a TAP.
fn follow(vm: &mut Vm) {
    if vm.network == NetworkKind::Tap
        && let Some(run) = &mut vm.in_force
    {
        run.nat = vm.spec.nat;
    }
}
