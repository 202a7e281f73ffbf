//! What programs outside of banger are told of all VMs.
//!
//! A verb that changes how a VM is reached (its name, its port, whether it is there) has told them
//! before its client hears that it is done, so that `banger vm create web && ssh web` works. What
//! fails here fails no verb: it is logged, and tried again by the next verb and with the records
//! that found no space.

use banger_api::Phase;

use super::{Engine, lock};
use crate::vm::Vm;

impl Engine {
    /// Has every capability tell what it tells of all VMs.
    pub(super) fn advertise(&self) {
        // Whoever comes second sees all that the first one saw.
        let mut is_behind = lock(&self.is_behind);
        let vms: Vec<_> = self.slots().iter().map(|slot| slot.vm()).collect();
        let is_there = |vm: &&Vm| !matches!(vm.phase, Phase::Creating | Phase::Deleting);
        let vms: Vec<&Vm> = vms.iter().map(|vm| &**vm).filter(is_there).collect();
        let all = self.parts.capabilities.iter();
        let failures: Vec<_> = all
            .filter_map(|it| it.advertise(&vms, self.host()).err())
            .collect();
        for error in &failures {
            // What is tried again and again is told once.
            if *is_behind {
                tracing::debug!(%error, "other programs are still not told of all VMs");
            } else {
                tracing::warn!(%error, "other programs are not told of all VMs");
            }
        }
        *is_behind = !failures.is_empty();
    }

    /// The same, where it has failed.
    pub(super) fn advertise_again(&self) {
        let is_behind = *lock(&self.is_behind);
        if is_behind {
            self.advertise();
        }
    }
}
