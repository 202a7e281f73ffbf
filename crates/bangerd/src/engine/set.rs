//! `vm set`: changes settings. Each capability says whether its settings take effect in a running
//! VM at once or at the next start.

use std::sync::Arc;

use banger_api::{Phase, VmSpecPatch, VmView};

use super::hold::Slot;
use super::{Engine, ProgressSink, step};
use crate::capability::TakesEffect;
use crate::error::{During, Result};
use crate::vm::Vm;
use crate::vm::phase::{Verb, may};

impl Engine {
    pub(super) fn set_vm(
        &self,
        slot: &Arc<Slot>,
        request: &VmSpecPatch,
        progress: ProgressSink<'_>,
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
        let claims = self
            .claim_volumes(&vm, Some(&before.spec))
            .during(doing())?;
        let applies = self.follow(&mut vm) && vm.phase == Phase::Running;
        self.save(slot, &vm).during(doing())?;
        drop(claims);
        if applies {
            let applied = step(progress, "apply", || self.adopt(&vm)).during(doing());
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

    /// Records which of the new settings the run gets at once. Returns whether one of them needs
    /// `apply`; labels, protection and autostart, which no machine sees, do not.
    fn follow(&self, vm: &mut Vm) -> bool {
        let spec = vm.spec.clone();
        vm.note_run(|run| {
            run.in_force.labels = spec.labels;
            run.in_force.protected = spec.protected;
            run.in_force.autostart = spec.autostart;
        });
        let before = vm.given().clone();
        for capability in &self.parts.capabilities {
            if let TakesEffect::Now(settings) = capability.takes_effect(vm, self.host()) {
                vm.note_run(|run| run.in_force = settings);
            }
        }
        *vm.given() != before
    }
}
