//! Every request of the API, as a method.

use hyper::Method;

use super::stream::{Events, Pieces};
use super::{Client, DAEMON, DAEMON_STOP, VERSION};
use crate::{
    CreateVm, DaemonView, DeleteVm, KillVm, LogLevel, LogLevelView, Progress, Reloaded, RenameVm,
    Report, Result, StartVm, StopAllVms, StopVm, Stopped, StoppedAll, VerbOutcome, VersionView,
    VmRef, VmSpecPatch, VmView,
};

/// Each method fails with what the daemon says, with `not-ready` where nobody answers, and with
/// `conflict` where the daemon is another user's or of another version. `on_progress` is
/// called for each step; a verb goes on in the daemon even where its client ends.
#[expect(clippy::missing_errors_doc, reason = "said once, for all of them")]
impl Client {
    /// The version of the daemon and of its API, whichever it has.
    pub fn version(&self) -> Result<VersionView> {
        self.get(VERSION)
    }

    /// The daemon as it runs, whatever version of the API it has.
    pub fn daemon(&self) -> Result<DaemonView> {
        self.get(DAEMON)
    }

    /// Stops the daemon, whatever its version of the API; VMs keep running. Returns the daemon as
    /// it was.
    pub fn stop_daemon(&self) -> Result<DaemonView> {
        self.work(Method::POST, DAEMON_STOP, &(), |_| {})
    }

    /// Has the daemon read its configuration again.
    pub fn reload(&self) -> Result<Reloaded> {
        self.work(Method::POST, "/v1/daemon/reload", &(), |_| {})
    }

    /// Changes how much the daemon logs, until it ends or reads its configuration again.
    pub fn set_log_level(&self, level: LogLevel) -> Result<LogLevelView> {
        let wanted = LogLevelView { level };
        self.work(Method::PUT, "/v1/daemon/log-level", &wanted, |_| {})
    }

    /// All checks, with what they found.
    pub fn doctor(&self) -> Result<Report> {
        self.get("/v1/doctor")
    }

    /// Everything that is measured, in Prometheus' text format.
    pub fn metrics(&self) -> Result<String> {
        self.text("/v1/metrics")
    }

    /// All VMs, by name.
    pub fn list(&self) -> Result<Vec<VmView>> {
        self.get("/v1/vms")
    }

    /// One VM.
    pub fn show(&self, vm: &VmRef) -> Result<VmView> {
        self.get(&path(vm, ""))
    }

    /// Makes a VM, and starts it unless the request says otherwise.
    pub fn create(&self, request: &CreateVm, on_progress: impl FnMut(Progress)) -> Result<VmView> {
        self.work(Method::POST, "/v1/vms", request, on_progress)
    }

    /// Starts a VM; returns when its guest is ready.
    pub fn start(
        &self,
        vm: &VmRef,
        request: &StartVm,
        on_progress: impl FnMut(Progress),
    ) -> Result<VerbOutcome> {
        self.work(Method::POST, &path(vm, "/start"), request, on_progress)
    }

    /// Stops a VM, with the guest's help if it helps.
    pub fn stop(
        &self,
        vm: &VmRef,
        request: &StopVm,
        on_progress: impl FnMut(Progress),
    ) -> Result<Stopped> {
        self.work(Method::POST, &path(vm, "/stop"), request, on_progress)
    }

    /// Stops all VMs that run, side by side.
    pub fn stop_all(
        &self,
        request: &StopAllVms,
        on_progress: impl FnMut(Progress),
    ) -> Result<StoppedAll> {
        self.work(Method::POST, "/v1/stop", request, on_progress)
    }

    /// Stops a VM and starts it again.
    pub fn restart(
        &self,
        vm: &VmRef,
        request: &StopVm,
        on_progress: impl FnMut(Progress),
    ) -> Result<VmView> {
        self.work(Method::POST, &path(vm, "/restart"), request, on_progress)
    }

    /// Sends a signal to a VM's hypervisor.
    pub fn kill(
        &self,
        vm: &VmRef,
        request: &KillVm,
        on_progress: impl FnMut(Progress),
    ) -> Result<VerbOutcome> {
        self.work(Method::POST, &path(vm, "/kill"), request, on_progress)
    }

    /// Changes a VM's settings.
    pub fn set(
        &self,
        vm: &VmRef,
        request: &VmSpecPatch,
        on_progress: impl FnMut(Progress),
    ) -> Result<VmView> {
        self.work(Method::PATCH, &path(vm, ""), request, on_progress)
    }

    /// Gives a VM another name.
    pub fn rename(
        &self,
        vm: &VmRef,
        request: &RenameVm,
        on_progress: impl FnMut(Progress),
    ) -> Result<VmView> {
        self.work(Method::POST, &path(vm, "/rename"), request, on_progress)
    }

    /// Removes a VM for good; returns the VM as it was.
    pub fn delete(
        &self,
        vm: &VmRef,
        request: &DeleteVm,
        on_progress: impl FnMut(Progress),
    ) -> Result<VmView> {
        self.work(Method::DELETE, &path(vm, ""), request, on_progress)
    }

    /// What a VM's guest printed on its console, piece by piece; with `follow`, what it prints from
    /// now on, too, until its run ends.
    pub fn logs(&self, vm: &VmRef, follow: bool) -> Result<Pieces<'_>> {
        self.stream(&path(vm, &format!("/logs?follow={follow}")))
    }

    /// The events: a snapshot of all VMs first, then each change, until the daemon stops.
    ///
    /// With the number of the last event that was read before, the stream goes on after it; where
    /// the daemon has not kept what follows, a snapshot comes that says so.
    pub fn events(&self, since: Option<u64>) -> Result<Events<'_>> {
        let query = since.map(|seq| format!("?since={seq}")).unwrap_or_default();
        self.stream(&format!("/v1/events{query}")).map(Events::new)
    }
}

/// A path of a VM. A reference holds no character that a path would change.
fn path(vm: &VmRef, below: &str) -> String {
    format!("/v1/vms/{vm}{below}")
}
