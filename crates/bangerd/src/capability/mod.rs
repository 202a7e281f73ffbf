//! What a VM has on its host, one capability each: root disk, work disk, network, NAT, DNS …
//!
//! The engine knows none by name. The order in which they run, with its reasons, is in
//! [`crate::assemble`].

pub mod boot;
pub mod dns;
pub mod gate;
pub mod identity;
pub mod jail;
pub mod nat;
pub mod network;
pub mod root_disk;
pub mod ssh;
pub mod work_disk;

pub use crate::holds::Holds;

use std::collections::BTreeSet;
use std::fmt;

use banger_api::{DiskView, VmId, VmSpec, VmSpecPatch, VmView};
use banger_host::Host;

use crate::error::Result;
use crate::guest::Guest;
use crate::plan::Plan;
use crate::readiness::Check;
use crate::vm::Vm;
use crate::vm::claim::Claim;

/// When changed settings reach a running VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakesEffect {
    /// At once, through [`Capability::apply`]; the run then has these settings.
    Now(VmSpec),
    /// At its next start.
    NextStart,
}

/// One thing that a VM has on its host.
///
/// `create` and `delete` own what persists; `prepare`, `apply` and `teardown` own only what lives
/// while the VM runs. Every hook that changes the host is idempotent.
pub trait Capability: fmt::Debug + Send + Sync {
    /// Its name, a word or two.
    fn name(&self) -> &'static str;

    /// What must hold before this can work; never changes the host. `doctor` asks for all, with
    /// no VM, `start` for one.
    fn checks(&self, _vm: Option<&Vm>) -> Vec<Check> {
        Vec::new()
    }

    /// Decides what a VM gets of it, at create and at each start, and writes that into its own part
    /// of the record; what only a run has goes into `vm.run`, which a start has begun. Never changes
    /// the host.
    ///
    /// # Errors
    /// When this host cannot give what is configured.
    fn choose(&self, _vm: &mut Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Gives a new VM what follows from its index and no other VM may have, such as an address. Pure:
    /// nobody else is given anything meanwhile. False where `claims` has it, and another index must
    /// do.
    ///
    /// # Errors
    /// `conflict` when there is none left.
    fn allot(&self, _vm: &mut Vm, _claims: &[Claim]) -> Result<bool> {
        Ok(true)
    }

    /// Rejects settings that this host, or what the VM has already, does not allow, before they are
    /// recorded. Never changes the host.
    ///
    /// # Errors
    /// `invalid`, with the limit in words.
    fn admits(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Adds drives, interfaces, channels and boot args to the machine, and files, mounts and settings
    /// to its guest. Pure.
    ///
    /// # Errors
    /// When the VM cannot have it, or another capability writes the same path; the error names both.
    fn plan(&self, _vm: &Vm, _plan: &mut Plan) -> Result<()> {
        Ok(())
    }

    /// What the VM's user should know of it now.
    fn notes(&self, _vm: &Vm, _host: &dyn Host) -> Vec<String> {
        Vec::new()
    }

    /// Those of its notes that only suggest a setting which `chosen` has: a create that chose it
    /// leaves them out.
    fn settled(&self, _vm: &Vm, _chosen: &VmSpecPatch) -> Vec<String> {
        Vec::new()
    }

    /// Whether this breaks under a running VM when a write finds the host's file system full, so
    /// that the VM is paused in time for what the host has not written yet, too.
    fn breaks_when_full(&self, _vm: &Vm) -> bool {
        false
    }

    /// When a running VM gets its settings in `vm.spec`, as far as they are this capability's.
    /// `vm.given()` has those of the run, with what other capabilities give it at once.
    fn takes_effect(&self, _vm: &Vm, _host: &dyn Host) -> TakesEffect {
        TakesEffect::NextStart
    }

    /// Adds what clients are shown of it. Pure.
    fn view(&self, _vm: &Vm, _view: &mut VmView) {}

    /// What its disks take on the host; what cannot be told is left out.
    fn disks(&self, _vm: &Vm, _host: &dyn Host) -> Vec<DiskView> {
        Vec::new()
    }

    /// Makes the host side present, before boot. Idempotent.
    ///
    /// # Errors
    /// When it is not present afterwards.
    fn prepare(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Runs once the guest answers.
    ///
    /// # Errors
    /// When the guest does not do what it is asked.
    fn on_ready(&self, _vm: &Vm, _host: &dyn Host, _guest: &mut dyn Guest) -> Result<()> {
        Ok(())
    }

    /// Runs when a VM that runs has another name.
    ///
    /// # Errors
    /// When its guest does not take it.
    fn on_rename(&self, _vm: &Vm, _guest: &mut dyn Guest) -> Result<()> {
        Ok(())
    }

    /// Restores the run-time part under a running VM, and brings it up to date with the VM's
    /// settings: at adoption, after a change, and when something was removed. Idempotent.
    ///
    /// # Errors
    /// When the run-time part is not as `holds` expects it.
    fn apply(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Whether the run-time part of each of these running VMs is still as `apply` makes it. What
    /// all of them share is looked at once.
    fn holds(&self, running: &[&Vm], _host: &dyn Host) -> Holds {
        vec![Ok(true); running.len()]
    }

    /// Tells other programs of the host how all VMs are reached: after each operation and after
    /// recovery. Idempotent. A failure fails no verb; it is logged, and tried again.
    ///
    /// # Errors
    /// When they were told less than there is.
    fn advertise(&self, _vms: &[&Vm], _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Makes the host side absent, also for a VM that never had it. Idempotent.
    ///
    /// # Errors
    /// When something is left.
    fn teardown(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// What bears this banger's name on the host and belongs to none of these VMs, each in words
    /// with the command that removes it. Nothing is removed.
    ///
    /// # Errors
    /// When the host cannot be asked.
    fn strangers(&self, _vms: &BTreeSet<VmId>, _host: &dyn Host) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Makes what persists, at create: disks, keys. Idempotent.
    ///
    /// # Errors
    /// When it does not exist afterwards.
    fn create(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Brings what persists up to date with the VM's settings, before a start: disks grow here.
    /// Idempotent.
    ///
    /// # Errors
    /// When it stays behind them.
    fn grow(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Removes what persists, also for a VM that never had it. Idempotent.
    ///
    /// # Errors
    /// When something is left.
    fn delete(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }
}
