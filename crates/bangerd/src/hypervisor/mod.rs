//! The drivers that turn a machine into a running process.
//!
//! What a driver cannot do is data ([`Hypervisor::features`]), not a method that refuses.

pub mod firecracker;
pub mod qemu;
pub mod sim;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use banger_host::{Host, Process};

use crate::error::Result;
use crate::guest::Guest;
use crate::machine::Machine;
use crate::readiness::Check;
use crate::vm::Vm;

/// What a driver can do beyond booting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// The most vCPUs of a machine.
    pub most_vcpus: u32,
    /// It has a power button.
    pub power_button: bool,
    /// Root jails it for the daemon, as the VM's own user.
    pub jailed_by_root: bool,
    /// It reports the state of its machine, keeps a write that fails, and can resume the machine.
    pub reports_state: bool,
}

/// The state of a machine whose process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineState {
    /// Its CPUs run, or are about to start or end.
    Running,
    /// A write to a disk failed and is kept; [`Hypervisor::resume`] repeats it.
    FailedWrite(FailedWrite),
    /// Paused through the hypervisor, or suspended by the guest.
    Paused,
    /// Stopped for good by an internal error of the hypervisor.
    Broken,
}

/// Why a write to a disk failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedWrite {
    /// There was no space.
    NoSpace,
    /// Any other reason.
    Other,
}

/// One way of running a machine.
pub trait Hypervisor: fmt::Debug + Send + Sync {
    /// The word in the configuration and in records.
    fn name(&self) -> &'static str;

    /// What it can do.
    fn features(&self) -> Features;

    /// The programs that its machines may run, by which their processes are known.
    fn programs(&self) -> Vec<PathBuf>;

    /// What must hold for it.
    fn checks(&self) -> Vec<Check>;

    /// Refuses a machine that it cannot run. Pure; asked before anything is done for a start.
    ///
    /// # Errors
    /// `invalid`, with what to do instead.
    fn accepts(&self, machine: &Machine) -> Result<()> {
        let _ = machine;
        Ok(())
    }

    /// Starts the machine's process. The caller has recorded that a start is under way, and finds
    /// the process by the machine's name whatever happens.
    ///
    /// # Errors
    /// When no process runs afterwards, or one does that is not this machine.
    fn boot(&self, vm: &Vm, machine: &Machine, host: &dyn Host) -> Result<Process>;

    /// Opens the channel to the guest.
    ///
    /// # Errors
    /// When the hypervisor is not there.
    fn guest(&self, vm: &Vm) -> Result<Box<dyn Guest>>;

    /// Presses the power button.
    ///
    /// # Errors
    /// When the hypervisor does not answer before the deadline.
    fn press_power_button(&self, vm: &Vm, deadline: Instant) -> Result<()>;

    /// The state of the machine, where the driver reports it ([`Features::reports_state`]).
    ///
    /// # Errors
    /// When the hypervisor does not answer in time.
    fn state(&self, vm: &Vm, timeout: Duration) -> Result<MachineState> {
        let _ = (vm, timeout);
        Ok(MachineState::Running)
    }

    /// Resumes a machine that stopped on a failed write; the write is repeated.
    ///
    /// # Errors
    /// When the hypervisor does not answer in time.
    fn resume(&self, vm: &Vm, timeout: Duration) -> Result<()> {
        let _ = (vm, timeout);
        Ok(())
    }

    /// Puts into words why a process that has ended may have done so, from its own log.
    fn last_words(&self, vm: &Vm, host: &dyn Host) -> Option<String>;

    /// What the exit status of its process means, where it gives its statuses meanings.
    fn words_of_exit(&self, status: i32) -> Option<&'static str> {
        let _ = status;
        None
    }
}
