//! What a protected VM is spared: the ends that lose something.
//!
//! A VM that is half-way between two phases has only `kill` and `delete` to get out of it, and no
//! setting of it can be changed; there protection is in nobody's way.

use banger_api::{Code, Error, Phase};

use crate::error::Result;
use crate::vm::Vm;

/// Refuses to delete a VM that is protected.
pub(super) fn admit_delete(vm: &Vm) -> Result<()> {
    admit(vm, matches!(vm.phase, Phase::Stopped | Phase::Running))
}

/// Refuses to kill a VM that is protected. A boot that hangs has nothing to lose.
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
