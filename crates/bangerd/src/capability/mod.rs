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

use std::fmt;

use banger_api::DiskView;
use banger_host::Host;

use crate::error::Result;
use crate::guest::Guest;
use crate::plan::Plan;
use crate::readiness::Check;
use crate::vm::Vm;

/// One thing that a VM has on its host.
///
/// `create` and `delete` own what persists; `prepare`, `apply` and `teardown` own only what lives
/// while the VM runs. Every hook that changes the host can be repeated.
pub trait Capability: fmt::Debug + Send + Sync {
    /// Its name, a word or two.
    fn name(&self) -> &'static str;

    /// What must hold before this can work; never changes the host. `doctor` asks for all, with
    /// no VM, `start` for one.
    fn checks(&self, _vm: Option<&Vm>) -> Vec<Check> {
        Vec::new()
    }

    /// Refuses settings that this host, or what is there already, cannot give, before they are
    /// written down. Never changes the host.
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

    /// What the VM's user should know of this start, looked at before anything is done.
    fn notes(&self, _vm: &Vm, _host: &dyn Host) -> Vec<String> {
        Vec::new()
    }

    /// Whether this breaks under a running VM when a write finds the host's file system full, so
    /// that the VM is paused in time for what the host has not written yet, too.
    fn breaks_when_full(&self, _vm: &Vm) -> bool {
        false
    }

    /// Whether NAT, when it is turned on or off under a running VM, waits for its next start.
    fn nat_waits(&self, _vm: &Vm, _host: &dyn Host) -> bool {
        false
    }

    /// What its disks take on the host; what cannot be told is left out.
    fn disks(&self, _vm: &Vm, _host: &dyn Host) -> Vec<DiskView> {
        Vec::new()
    }

    /// Makes the host side present, before boot. Twice is once.
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

    /// Re-asserts the run-time part under a running VM: adoption, NAT on or off, a flushed rule set.
    ///
    /// # Errors
    /// When it is not so afterwards.
    fn apply(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Whether the run-time part under each of these running VMs is still as `apply` makes it. What
    /// all of them share is looked at once.
    fn holds(&self, running: &[&Vm], _host: &dyn Host) -> Holds {
        vec![Ok(true); running.len()]
    }

    /// Makes the host side absent. Twice is once; absent is fine.
    ///
    /// # Errors
    /// When something is left.
    fn teardown(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Makes what persists: disks, keys. Once, at create; twice is once.
    ///
    /// # Errors
    /// When it is not there afterwards.
    fn create(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Makes what persists follow the VM's settings, before a start: disks grow here.
    ///
    /// # Errors
    /// When it does not.
    fn grow(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Removes for good what persists. Twice is once; absent is fine.
    ///
    /// # Errors
    /// When something is left.
    fn delete(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }
}
