//! Protection: rejects the verbs that would lose data of a protected VM.
//!
//! It does not apply to a VM that is stuck between two phases, which only `kill` and `delete` can
//! resolve, and whose settings cannot be changed.

use banger_api::{Code, Error, Phase};

use crate::error::Result;
use crate::vm::Vm;

/// Rejects the delete of a protected VM.
pub(super) fn admit_delete(vm: &Vm) -> Result<()> {
    admit(vm, matches!(vm.phase, Phase::Stopped | Phase::Running))
}

/// Rejects the kill of a protected VM, except during a boot, when there is nothing to lose.
pub(super) fn admit_kill(vm: &Vm) -> Result<()> {
    admit(vm, vm.phase == Phase::Running)
}

fn admit(vm: &Vm, is_spared: bool) -> Result<()> {
    if !vm.spec.protected || !is_spared {
        return Ok(());
    }
    Err(Error::new(Code::Conflict, "it is protected").hint(format!(
        "lift the protection: banger vm set {} --no-protect",
        vm.name
    )))
}
