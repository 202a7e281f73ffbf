//! Updates what other programs of the host, such as ssh, read about all VMs.
//!
//! A verb that changes how a VM is reached (its name, its port, whether it exists) updates this
//! before its client gets the result, so that `banger vm create web && ssh web` works. A failure
//! does not fail the verb: it is logged, and retried by the next verb and together with the records
//! that found no space.

use banger_api::Phase;

use super::{Engine, lock};
use crate::vm::Vm;

impl Engine {
    /// Runs `advertise` of every capability.
    pub(super) fn advertise(&self) {
        // A later caller sees at least the state that earlier ones saw.
        let mut is_behind = lock(&self.is_behind);
        let vms: Vec<_> = self.slots().iter().map(|slot| slot.vm()).collect();
        let is_there = |vm: &&Vm| !matches!(vm.phase, Phase::Creating | Phase::Deleting);
        let vms: Vec<&Vm> = vms.iter().map(|vm| &**vm).filter(is_there).collect();
        let all = self.parts.capabilities.iter();
        let failures: Vec<_> = all
            .filter_map(|it| it.advertise(&vms, self.host()).err())
            .collect();
        for error in &failures {
            // A repeated failure is logged once.
            if *is_behind {
                tracing::debug!(%error, "updating the configuration for ssh still fails");
            } else {
                tracing::warn!(%error, "updating the configuration for ssh failed");
            }
        }
        *is_behind = !failures.is_empty();
    }

    /// Retries it if it has failed.
    pub(super) fn advertise_again(&self) {
        let is_behind = *lock(&self.is_behind);
        if is_behind {
            self.advertise();
        }
    }
}
