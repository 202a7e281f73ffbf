//! The capabilities: the things that a VM has on its host, such as root disk, work disk, network,
//! NAT, DNS.
//!
//! The engine does not know them by name. Their order, with its reasons, is in [`crate::assemble`].

pub mod boot;
pub mod dns;
pub mod gate;
pub mod identity;
pub mod jail;
pub mod nat;
pub mod network;
pub mod root_disk;
pub mod ssh;
pub mod volume;
pub mod work_disk;

pub use crate::holds::Holds;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use banger_api::{DiskView, VmId, VmSpec, VmSpecPatch, VmView};
use banger_host::Host;

use crate::error::Result;
use crate::guest::Guest;
use crate::manifest::Content;
use crate::plan::Plan;
use crate::readiness::Check;
use crate::vm::Vm;
use crate::vm::claim::Claim;

/// When changed settings take effect in a running VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakesEffect {
    /// At once, through [`Capability::apply`].
    Now(VmSpec),
    /// At its next start.
    NextStart,
}

/// One thing that a VM has on its host.
///
/// `create` and `delete` own what persists; `prepare`, `apply` and `teardown` own only what lives
/// while the VM runs. Every hook that changes the host is idempotent.
pub trait Capability: fmt::Debug + Send + Sync {
    /// Its name, one or two words.
    fn name(&self) -> &'static str;

    /// The requirements. Never changes the host. `doctor` asks for those of all VMs (`None`),
    /// `start` for those of one.
    fn checks(&self, _vm: Option<&Vm>) -> Vec<Check> {
        Vec::new()
    }

    /// Chooses what the VM gets, at create and at each start, and writes it into its own part of
    /// the record; a start also has `vm.run`, for what only a run has. Never changes the host.
    ///
    /// # Errors
    /// If this host cannot provide what is configured.
    fn choose(&self, _vm: &mut Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Assigns what is unique to a new VM and follows from its index, such as an address. Pure;
    /// calls never overlap. Returns false if `claims` already has it: the caller then tries another
    /// index.
    ///
    /// # Errors
    /// `conflict` if none is left.
    fn allot(&self, _vm: &mut Vm, _claims: &[Claim]) -> Result<bool> {
        Ok(true)
    }

    /// Rejects settings that this host or the existing VM does not allow, before they are recorded.
    /// Never changes the host.
    ///
    /// # Errors
    /// `invalid`, with the limit.
    fn admits(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Adds drives, interfaces, channels and boot args to the machine, and files, mounts and
    /// settings to its guest. Pure.
    ///
    /// # Errors
    /// If the VM cannot have it, or another capability writes the same path; the error names both.
    fn plan(&self, _vm: &Vm, _plan: &mut Plan) -> Result<()> {
        Ok(())
    }

    /// The current notes for the VM's user.
    fn notes(&self, _vm: &Vm, _host: &dyn Host) -> Vec<String> {
        Vec::new()
    }

    /// The notes that only suggest a setting which `chosen` already has. The result of a create
    /// omits them.
    fn settled(&self, _vm: &Vm, _chosen: &VmSpecPatch) -> Vec<String> {
        Vec::new()
    }

    /// Whether it breaks when a write of a running VM finds the host's file system full. Such a VM
    /// is paused earlier, by the amount that the host still has to write.
    fn breaks_when_full(&self, _vm: &Vm) -> bool {
        false
    }

    /// When this capability's settings in `vm.spec` take effect in a running VM. `vm.given()` has
    /// the settings in force, including those that other capabilities apply at once.
    fn takes_effect(&self, _vm: &Vm, _host: &dyn Host) -> TakesEffect {
        TakesEffect::NextStart
    }

    /// Adds its fields to the view. Pure.
    fn view(&self, _vm: &Vm, _view: &mut VmView) {}

    /// The space that its disks take on the host; unknown values are absent.
    fn disks(&self, _vm: &Vm, _host: &dyn Host) -> Vec<DiskView> {
        Vec::new()
    }

    /// Makes the host side present, before the boot. Idempotent.
    ///
    /// # Errors
    /// If it is not present afterwards.
    fn prepare(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Runs once the guest is ready.
    ///
    /// # Errors
    /// If the guest fails to do what it is asked.
    fn on_ready(&self, _vm: &Vm, _host: &dyn Host, _guest: &mut dyn Guest) -> Result<()> {
        Ok(())
    }

    /// Runs when a running VM is renamed.
    ///
    /// # Errors
    /// If the guest does not adopt the name.
    fn on_rename(&self, _vm: &Vm, _guest: &mut dyn Guest) -> Result<()> {
        Ok(())
    }

    /// Restores the run-time part under a running VM, and brings it up to date with the VM's
    /// settings: at adoption, after a change, and when something was removed. Idempotent.
    ///
    /// # Errors
    /// If the run-time part is not as `holds` expects it.
    fn apply(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Whether the run-time part of each of these running VMs is still as `apply` makes it. Queries
    /// what they share once.
    fn holds(&self, running: &[&Vm], _host: &dyn Host) -> Holds {
        vec![Ok(true); running.len()]
    }

    /// Updates the files by which other programs of the host reach all VMs, after each operation
    /// and after recovery. Idempotent. A failure is logged and retried; it does not fail the verb.
    ///
    /// # Errors
    /// If the files are incomplete.
    fn advertise(&self, _vms: &[&Vm], _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Makes the host side absent, also for a VM that never had it. Idempotent.
    ///
    /// # Errors
    /// If something remains.
    fn teardown(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Things on the host that have this installation's names and belong to none of these VMs: a
    /// sentence for each, with the command that removes it. Removes nothing.
    ///
    /// # Errors
    /// If the host cannot be queried.
    fn strangers(&self, _vms: &BTreeSet<VmId>, _host: &dyn Host) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Creates what persists, such as disks and keys. Idempotent.
    ///
    /// # Errors
    /// If it does not exist afterwards.
    fn create(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Creates what persists of a VM that is a clone of `of`, which does not run: content is
    /// copied, an identity is generated. Idempotent.
    ///
    /// # Errors
    /// If it does not exist afterwards.
    fn duplicate(&self, _of: &Vm, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.create(vm, host)
    }

    /// The files that an archive of a VM contains. The VM does not run.
    ///
    /// # Errors
    /// If one of them is missing or cannot be read.
    fn contents(&self, _vm: &Vm, _host: &dyn Host) -> Result<Vec<Content>> {
        Ok(Vec::new())
    }

    /// Creates what persists of a VM whose archive was unpacked into the folder `from`, with one
    /// file for each name. Idempotent.
    ///
    /// # Errors
    /// If it does not exist afterwards.
    fn restore(&self, _from: &Path, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.create(vm, host)
    }

    /// Brings what persists up to date with the VM's settings, before a start, such as the size of
    /// a disk. Idempotent.
    ///
    /// # Errors
    /// If it is not up to date afterwards.
    fn grow(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Removes what persists, also for a VM that never had it. Idempotent.
    ///
    /// # Errors
    /// If something remains.
    fn delete(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }
}
