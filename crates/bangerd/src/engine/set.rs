//! `vm set`: other settings. NAT changes at once, the rest at the next start.

use std::sync::Arc;

use banger_api::{Phase, VmSpecPatch, VmView};

use super::hold::Slot;
use super::{Engine, ProgressSink, step};
use crate::error::{During, Result};
use crate::vm::Vm;
use crate::vm::phase::{Verb, may};

impl Engine {
    pub(super) fn set_vm(
        &self,
        slot: &Arc<Slot>,
        request: &VmSpecPatch,
        heard: ProgressSink<'_>,
    ) -> Result<VmView> {
        let doing = || format!("set `{}`", slot.vm().name);
        let hold = slot.hold("set").during(doing())?;
        let mut vm = hold.vm();
        may(Verb::Set, vm.phase, &vm.name).during(doing())?;
        let before = vm.clone();
        vm.spec = self
            .admit(before.spec.apply(request), Some(&before.spec))
            .during(doing())?;
        self.admit_vm(&vm).during(doing())?;
        self.follow(&mut vm);
        self.save(slot, &vm).during(doing())?;
        if vm.phase == Phase::Running && vm.spec.nat != before.spec.nat {
            let applied = step(heard, "apply", || self.adopt(&vm)).during(doing());
            if let Err(mut error) = applied {
                error
                    .also
                    .extend(self.save(slot, &before).err().map(|it| it.to_string()));
                error
                    .also
                    .extend(self.adopt(&before).err().map(|it| it.to_string()));
                return Err(error);
            }
        }
        Ok(self.view(&vm))
    }

    /// Notes what of the new settings the run has already: labels, protection, and NAT unless a capability has
    /// it wait.
    fn follow(&self, vm: &mut Vm) {
        let mut all = self.parts.capabilities.iter();
        let waits = all.any(|it| it.nat_waits(vm, self.host()));
        let Some(run) = &mut vm.run else {
            return;
        };
        run.in_force.labels.clone_from(&vm.spec.labels);
        run.in_force.protected = vm.spec.protected;
        if !waits {
            run.in_force.nat = vm.spec.nat;
        }
    }
}
