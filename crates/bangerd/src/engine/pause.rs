//! The paused VMs, and the reasons.
//!
//! Kept in memory only: a record would need the very space that is missing, and the next daemon can
//! see on the host which processes are stopped.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use banger_api::{PauseReason, Phase, VmId};

use super::{Engine, disk_pressure, lock};
use crate::vm::Vm;

/// The paused VMs.
#[derive(Debug, Default)]
pub(super) struct Pauses(Mutex<BTreeMap<VmId, Pause>>);

/// One pause of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) reason: PauseReason,
    /// The number of the pause, which distinguishes it from later ones.
    number: u64,
}

/// The number of pauses so far.
static BEGUN: AtomicU64 = AtomicU64::new(0);

impl Engine {
    /// The pause of this VM, if it is paused.
    pub(super) fn pause_of(&self, id: VmId) -> Option<Pause> {
        lock(&self.pauses.0).get(&id).copied()
    }

    /// Whether any VM is paused.
    pub(super) fn any_is_paused(&self) -> bool {
        !lock(&self.pauses.0).is_empty()
    }

    /// Marks a VM as paused.
    pub(super) fn show_paused(&self, vm: &Vm, reason: PauseReason) {
        let number = BEGUN.fetch_add(1, Ordering::Relaxed);
        let before = lock(&self.pauses.0).insert(vm.id, Pause { reason, number });
        if before.map(|it| it.reason) != Some(reason) {
            tracing::warn!(vm = %vm.name, %reason, "paused");
            self.tell(vm.id);
        }
    }

    /// Marks a VM as resumed, unless it was paused again since. Returns whether it is resumed.
    pub(super) fn show_goes_on(&self, vm: &Vm, since: Pause) -> bool {
        let mut pauses = lock(&self.pauses.0);
        if pauses.get(&vm.id) != Some(&since) {
            return false;
        }
        pauses.remove(&vm.id);
        drop(pauses);
        tracing::info!(vm = %vm.name, "it resumed");
        self.tell(vm.id);
        true
    }

    /// Drops the pause of a VM that is not running.
    pub(super) fn forget_pause(&self, id: VmId) {
        lock(&self.pauses.0).remove(&id);
    }

    /// The reason why it is shown as paused; none while it is stopping.
    pub(super) fn shown_pause(&self, vm: &Vm) -> Option<PauseReason> {
        self.pause_of(vm.id)
            .filter(|_| matches!(vm.phase, Phase::Starting | Phase::Running))
            .map(|pause| pause.reason)
    }

    /// The note of a paused VM.
    pub(super) fn pause_note(&self, vm: &Vm, reason: PauseReason) -> String {
        let state = self.parts.layout.state().display();
        let figures =
            disk_pressure::figures(&self.parts.layout, self.host(), self.breaks_when_full(vm));
        match reason {
            PauseReason::HostAlmostFull => format!(
                "it is paused: the host's file system is almost full: {figures}; free some space: df -h {state}"
            ),
            PauseReason::HostFull => format!(
                "it is paused: a write to its disk found the host's file system full; the write is kept, and retried when there is space: {figures}; free some space: df -h {state}"
            ),
            PauseReason::DiskError => format!(
                "it is paused: the host could not write its disk; the write is kept, and retried. Look for an exhausted quota (quota -s) or a disk that fails \
                 (sudo dmesg | tail); or end it: banger vm kill {}",
                vm.name
            ),
            PauseReason::Hypervisor => format!(
                "it was paused through its hypervisor's control socket, or its guest suspended; \
                 resume it the same way, or: banger vm restart {}",
                vm.name
            ),
        }
    }
}
