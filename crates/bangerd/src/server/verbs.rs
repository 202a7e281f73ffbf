//! What the server asks of the engine. All of it may block, and none of it knows of HTTP.

use std::sync::mpsc::Receiver;

use banger_api::{
    CreateVm, DaemonView, DeleteVm, Event, KillVm, Progress, Report, Result, SetVm, StartVm,
    StopAllVms, StopVm, Stopped, StoppedAll, VmRef, VmView,
};

/// How many bytes of a console come at once when there are as many. A piece that is shorter
/// reaches the end of what the guest has printed so far.
pub const PIECE: usize = 64 << 10;

/// Some of a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleChunk {
    /// What the guest printed: [`PIECE`] bytes, or all that there is.
    pub bytes: Vec<u8>,
    /// Where the next chunk begins.
    pub next: u64,
    /// Whether there may be more: the VM runs.
    pub live: bool,
}

/// The engine as the server sees it. Each call runs on a thread of its own, to its end, whether
/// the client still listens or not; `heard` never blocks.
pub trait Verbs: Send + Sync + 'static {
    /// All VMs.
    fn list(&self) -> Vec<VmView>;

    /// One VM.
    ///
    /// # Errors
    /// `not-found`.
    fn show(&self, vm: &VmRef) -> Result<VmView>;

    /// Makes a VM, and starts it unless told not to.
    ///
    /// # Errors
    /// As the engine says.
    fn create(&self, asked: CreateVm, heard: &dyn Fn(Progress)) -> Result<VmView>;

    /// Starts it.
    ///
    /// # Errors
    /// As the engine says.
    fn start(&self, vm: &VmRef, asked: StartVm, heard: &dyn Fn(Progress)) -> Result<VmView>;

    /// Ends it, with the guest's help if the guest helps.
    ///
    /// # Errors
    /// As the engine says.
    fn stop(&self, vm: &VmRef, asked: StopVm, heard: &dyn Fn(Progress)) -> Result<Stopped>;

    /// Ends all that run, side by side.
    ///
    /// # Errors
    /// `invalid` for a deadline out of range; what fails for one VM is in its outcome.
    fn stop_all(&self, asked: StopAllVms, heard: &dyn Fn(Progress)) -> Result<StoppedAll>;

    /// Ends and starts it.
    ///
    /// # Errors
    /// As the engine says.
    fn restart(&self, vm: &VmRef, asked: StopVm, heard: &dyn Fn(Progress)) -> Result<VmView>;

    /// Sends its hypervisor a signal.
    ///
    /// # Errors
    /// As the engine says.
    fn kill(&self, vm: &VmRef, asked: KillVm, heard: &dyn Fn(Progress)) -> Result<VmView>;

    /// Changes its settings.
    ///
    /// # Errors
    /// As the engine says.
    fn set(&self, vm: &VmRef, asked: SetVm, heard: &dyn Fn(Progress)) -> Result<VmView>;

    /// Removes it for good; returns it as it was.
    ///
    /// # Errors
    /// As the engine says.
    fn delete(&self, vm: &VmRef, asked: DeleteVm, heard: &dyn Fn(Progress)) -> Result<VmView>;

    /// Runs all checks.
    fn doctor(&self) -> Report;

    /// The daemon as it runs.
    fn daemon(&self) -> DaemonView;

    /// What the guest printed, from the beginning of what is kept, or from `from` on. Waits up to a
    /// second for more where there is none and the VM runs.
    ///
    /// # Errors
    /// `not-found`, or `host` where the console cannot be read.
    fn console(&self, vm: &VmRef, from: Option<u64>) -> Result<ConsoleChunk>;

    /// All events from now on.
    fn subscribe(&self) -> Receiver<Event>;
}
