//! The real engine behind the server.

use std::sync::mpsc::Receiver;

use banger_api::{
    CreateVm, DaemonView, DeleteVm, Event, KillVm, Progress, Report, Result, SetVm, StartVm,
    StopAllVms, StopVm, Stopped, StoppedAll, VmRef, VmView,
};

use crate::engine::Engine;
use crate::server::verbs::{ConsoleChunk, Verbs};

// The server takes a piece that is shorter than this for the end of a console.
const _: () = assert!(crate::engine::CHUNK == crate::server::verbs::PIECE);

type ProgressSink<'a> = &'a dyn Fn(Progress);

impl Verbs for Engine {
    fn list(&self) -> Vec<VmView> {
        self.list()
    }
    fn show(&self, vm: &VmRef) -> Result<VmView> {
        self.show(vm)
    }
    fn create(&self, asked: CreateVm, heard: ProgressSink<'_>) -> Result<VmView> {
        self.create(&asked, heard)
    }
    fn start(&self, vm: &VmRef, asked: StartVm, heard: ProgressSink<'_>) -> Result<VmView> {
        self.start(vm, &asked, heard)
    }
    fn stop(&self, vm: &VmRef, asked: StopVm, heard: ProgressSink<'_>) -> Result<Stopped> {
        self.stop(vm, &asked, heard)
    }
    fn stop_all(&self, asked: StopAllVms, heard: ProgressSink<'_>) -> Result<StoppedAll> {
        self.stop_all(&asked, heard)
    }
    fn restart(&self, vm: &VmRef, asked: StopVm, heard: ProgressSink<'_>) -> Result<VmView> {
        self.restart(vm, &asked, heard)
    }
    fn kill(&self, vm: &VmRef, asked: KillVm, heard: ProgressSink<'_>) -> Result<VmView> {
        self.kill(vm, &asked, heard)
    }
    fn set(&self, vm: &VmRef, asked: SetVm, heard: ProgressSink<'_>) -> Result<VmView> {
        self.set(vm, &asked, heard)
    }
    fn delete(&self, vm: &VmRef, asked: DeleteVm, heard: ProgressSink<'_>) -> Result<VmView> {
        self.delete(vm, &asked, heard)
    }
    fn doctor(&self) -> Report {
        self.doctor()
    }
    fn daemon(&self) -> DaemonView {
        self.daemon()
    }
    fn console(&self, vm: &VmRef, from: Option<u64>) -> Result<ConsoleChunk> {
        let crate::engine::ConsoleChunk { bytes, next, live } = self.console(vm, from)?;
        Ok(ConsoleChunk { bytes, next, live })
    }
    fn subscribe(&self) -> Receiver<Event> {
        self.subscribe()
    }
}
