//! The drivers that turn a machine into a running process.
//!
//! A missing ability of a driver is data ([`Hypervisor::features`]), not a method that fails.

pub mod firecracker;
pub mod qemu;
pub mod sim;

use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use banger_guest::streams::StreamKind;
use banger_host::{Host, Process};

use crate::error::Result;
use crate::guest::Guest;
use crate::machine::Machine;
use crate::readiness::Check;
use crate::vm::Vm;

/// The abilities of a driver beyond booting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// The largest number of vCPUs of a machine.
    pub most_vcpus: u32,
    /// It has a power button.
    pub power_button: bool,
    /// The root helper runs it in a jail, as the VM's own user.
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
    /// Its name in the configuration and in records.
    fn name(&self) -> &'static str;

    /// Its abilities beyond booting.
    fn features(&self) -> Features;

    /// The programs by which the processes of its machines are recognised.
    fn programs(&self) -> Vec<PathBuf>;

    /// Its requirements.
    fn checks(&self) -> Vec<Check>;

    /// Rejects a machine that it cannot run. Pure; called before a start changes anything.
    ///
    /// # Errors
    /// `invalid`, with what to do instead.
    fn accepts(&self, machine: &Machine) -> Result<()> {
        let _ = machine;
        Ok(())
    }

    /// Starts the machine's process. The caller has recorded the start, and can find the process by
    /// the machine's name after a failure.
    ///
    /// # Errors
    /// If the machine does not run; a process may be left.
    fn boot(&self, vm: &Vm, machine: &Machine, host: &dyn Host) -> Result<Process>;

    /// Opens the channel to the guest.
    ///
    /// # Errors
    /// If the hypervisor does not run.
    fn guest(&self, vm: &Vm) -> Result<Box<dyn Guest>>;

    /// Opens a stream to the guest, and sends `first` without waiting for the guest's word: one way
    /// there and back less. A guest that refuses the stream does not read it, and one that is asked
    /// again may have read it before. At most 16 KiB.
    ///
    /// # Errors
    /// `conflict` if the machine has no port for streams; `guest` if the guest does not answer in
    /// time, or refuses.
    fn open_stream(
        &self,
        vm: &Vm,
        kind: StreamKind,
        first: &[u8],
        timeout: Duration,
    ) -> Result<UnixStream>;

    /// Opens the input of the machine's serial console: the writing end of a pipe, in non-blocking
    /// mode. The output is in the console's file.
    ///
    /// # Errors
    /// `conflict` if the machine was started without one.
    fn console_input(&self, vm: &Vm) -> Result<OwnedFd>;

    /// Presses the power button.
    ///
    /// # Errors
    /// If the hypervisor does not answer before the deadline.
    fn press_power_button(&self, vm: &Vm, deadline: Instant) -> Result<()>;

    /// The state of the machine, if the driver reports it ([`Features::reports_state`]).
    ///
    /// # Errors
    /// If the hypervisor does not answer in time.
    fn state(&self, vm: &Vm, timeout: Duration) -> Result<MachineState> {
        let _ = (vm, timeout);
        Ok(MachineState::Running)
    }

    /// Resumes a machine that stopped on a failed write; the write is repeated.
    ///
    /// # Errors
    /// If the hypervisor does not answer in time.
    fn resume(&self, vm: &Vm, timeout: Duration) -> Result<()> {
        let _ = (vm, timeout);
        Ok(())
    }

    /// The last lines of the hypervisor's own log that may explain its end.
    fn last_words(&self, vm: &Vm, host: &dyn Host) -> Option<String>;

    /// The meaning of an exit status, if the hypervisor defines one.
    fn words_of_exit(&self, status: i32) -> Option<&'static str> {
        let _ = status;
        None
    }
}
