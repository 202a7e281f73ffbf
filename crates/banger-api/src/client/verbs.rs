//! Every request of the API, as a method.

use hyper::Method;

use super::stream::{Events, Pieces};
use super::{Client, DAEMON, DAEMON_STOP, PATIENCE, VERSION};
use crate::{
    AddForwards, BuildImage, CloneVm, CreateVm, CreateVolume, DaemonView, DeleteVm, ExportImage,
    ExportVm, ExportedImage, ExportedVm, ForwardView, HostView, ImageName, ImageView, ImportImage,
    ImportVm, JobRef, JobView, KillJob, KillVm, LogLevel, LogLevelView, LogSource, PortView,
    Progress, PruneImages, PruneJobs, PrunedImages, PurgeVm, ReloadReport, RemoveForwards,
    RemoveJob, RenameImage, RenameVm, Report, Result, StartVm, StatsView, StopAllReport,
    StopAllVms, StopReport, StopVm, UndeleteVm, VerbOutcome, VersionView, VmRef, VmSpecPatch,
    VmView, VolumeName, VolumeView,
};

/// Each method fails with the daemon's error, with `not-ready` if no daemon answers, or with
/// `conflict` if the daemon belongs to another user or has another version. `on_progress` is called
/// for each step; a verb continues in the daemon after its client has ended.
#[expect(clippy::missing_errors_doc, reason = "said once, for all of them")]
impl Client {
    /// The versions of the daemon and its API, for a daemon of any version.
    pub fn version(&self) -> Result<VersionView> {
        self.get_within(VERSION, PATIENCE)
    }

    /// The state of a daemon of any version.
    pub fn daemon(&self) -> Result<DaemonView> {
        self.get_within(DAEMON, PATIENCE)
    }

    /// Stops a daemon of any version; VMs keep running. Returns its last state.
    pub fn stop_daemon(&self) -> Result<DaemonView> {
        self.work(Method::POST, DAEMON_STOP, &(), |_| {})
    }

    /// Reloads the daemon's configuration.
    pub fn reload(&self) -> Result<ReloadReport> {
        self.work(Method::POST, "/v1/daemon/reload", &(), |_| {})
    }

    /// Sets the level of the daemon's log, until the daemon ends or reloads its configuration.
    pub fn set_log_level(&self, level: LogLevel) -> Result<LogLevelView> {
        let wanted = LogLevelView { level };
        self.work(Method::PUT, "/v1/daemon/log-level", &wanted, |_| {})
    }

    /// The daemon's machine: its free memory and disk space, and its abilities.
    pub fn host(&self) -> Result<HostView> {
        self.get("/v1/host")
    }

    /// All checks, with their findings.
    pub fn doctor(&self) -> Result<Report> {
        self.get("/v1/doctor")
    }

    /// All metrics, in Prometheus' text format.
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

    /// The listening sockets of a running guest.
    pub fn ports(&self, vm: &VmRef) -> Result<Vec<PortView>> {
        self.get(&path(vm, "/ports"))
    }

    /// The forwards that the daemon holds for a VM.
    pub fn forwards(&self, vm: &VmRef) -> Result<Vec<ForwardView>> {
        self.get(&path(vm, "/forwards"))
    }

    /// Adds forwards that the daemon holds; returns those of the request as they are now.
    pub fn add_forwards(&self, vm: &VmRef, request: &AddForwards) -> Result<Vec<ForwardView>> {
        self.work(Method::POST, &path(vm, "/forwards"), request, |_| {})
    }

    /// Removes such forwards; returns them as they were.
    pub fn remove_forwards(
        &self,
        vm: &VmRef,
        request: &RemoveForwards,
    ) -> Result<Vec<ForwardView>> {
        self.work(Method::DELETE, &path(vm, "/forwards"), request, |_| {})
    }

    /// The jobs of a running guest, in the order of their start.
    pub fn jobs(&self, vm: &VmRef) -> Result<Vec<JobView>> {
        self.get(&path(vm, "/jobs"))
    }

    /// Sends a signal to a job; returns the job before it.
    pub fn kill_job(&self, vm: &VmRef, job: &JobRef, request: &KillJob) -> Result<JobView> {
        let path = path(vm, &format!("/jobs/{job}/kill"));
        self.work(Method::POST, &path, request, |_| {})
    }

    /// Forgets an ended job; returns its last state.
    pub fn remove_job(&self, vm: &VmRef, job: &JobRef, request: &RemoveJob) -> Result<JobView> {
        let path = path(vm, &format!("/jobs/{job}"));
        self.work(Method::DELETE, &path, request, |_| {})
    }

    /// Forgets all ended jobs; returns them.
    pub fn prune_jobs(&self, vm: &VmRef, request: &PruneJobs) -> Result<Vec<JobView>> {
        self.work(Method::DELETE, &path(vm, "/jobs"), request, |_| {})
    }

    /// The resource usage of a running VM.
    pub fn stats(&self, vm: &VmRef) -> Result<StatsView> {
        self.get(&path(vm, "/stats"))
    }

    /// Creates a VM, and starts it unless the request sets `no_start`.
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

    /// Stops a VM: the guest shuts down, or is ended by force at the timeout.
    pub fn stop(
        &self,
        vm: &VmRef,
        request: &StopVm,
        on_progress: impl FnMut(Progress),
    ) -> Result<StopReport> {
        self.work(Method::POST, &path(vm, "/stop"), request, on_progress)
    }

    /// Stops all running VMs at once.
    pub fn stop_all(
        &self,
        request: &StopAllVms,
        on_progress: impl FnMut(Progress),
    ) -> Result<StopAllReport> {
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

    /// Renames a VM.
    pub fn rename(
        &self,
        vm: &VmRef,
        request: &RenameVm,
        on_progress: impl FnMut(Progress),
    ) -> Result<VmView> {
        self.work(Method::POST, &path(vm, "/rename"), request, on_progress)
    }

    /// Makes a new VM with the content of one that is stopped; returns the new one, stopped.
    pub fn clone_vm(
        &self,
        vm: &VmRef,
        request: &CloneVm,
        on_progress: impl FnMut(Progress),
    ) -> Result<VmView> {
        self.work(Method::POST, &path(vm, "/clone"), request, on_progress)
    }

    /// Writes an archive of a VM that is stopped.
    pub fn export_vm(
        &self,
        vm: &VmRef,
        request: &ExportVm,
        on_progress: impl FnMut(Progress),
    ) -> Result<ExportedVm> {
        self.work(Method::POST, &path(vm, "/export"), request, on_progress)
    }

    /// Makes a new VM from an archive; returns it, stopped.
    pub fn import_vm(
        &self,
        request: &ImportVm,
        on_progress: impl FnMut(Progress),
    ) -> Result<VmView> {
        self.work(Method::POST, "/v1/import", request, on_progress)
    }

    /// Deletes a VM: permanently, or into the trash where the configuration has one. Returns its
    /// last state.
    pub fn delete(
        &self,
        vm: &VmRef,
        request: &DeleteVm,
        on_progress: impl FnMut(Progress),
    ) -> Result<VmView> {
        self.work(Method::DELETE, &path(vm, ""), request, on_progress)
    }

    /// The VMs in the trash, the last deleted first.
    pub fn trash(&self) -> Result<Vec<VmView>> {
        self.get("/v1/trash")
    }

    /// Takes a VM out of the trash; returns it, stopped.
    pub fn undelete(
        &self,
        vm: &VmRef,
        request: &UndeleteVm,
        on_progress: impl FnMut(Progress),
    ) -> Result<VmView> {
        let path = format!("/v1/trash/{vm}/undelete");
        self.work(Method::POST, &path, request, on_progress)
    }

    /// Deletes a VM in the trash permanently; returns its last state.
    pub fn purge(&self, vm: &VmRef, on_progress: impl FnMut(Progress)) -> Result<VmView> {
        let path = format!("/v1/trash/{vm}");
        self.work(Method::DELETE, &path, &PurgeVm::default(), on_progress)
    }

    /// The console output of a VM's guest, in chunks; with `follow`, also its further output until
    /// the run ends.
    pub fn logs(&self, vm: &VmRef, follow: bool) -> Result<Pieces<'_>> {
        self.logs_of(vm, LogSource::Console, follow)
    }

    /// The same of any log of a VM.
    pub fn logs_of(&self, vm: &VmRef, source: LogSource, follow: bool) -> Result<Pieces<'_>> {
        let query = format!("/logs?follow={follow}&source={source}");
        self.stream(&path(vm, &query))
    }

    /// All images, by name.
    pub fn images(&self) -> Result<Vec<ImageView>> {
        self.get("/v1/images")
    }

    /// One image.
    pub fn image(&self, name: &ImageName) -> Result<ImageView> {
        self.get(&image_path(name, ""))
    }

    /// Creates an image from a root file system.
    pub fn import_image(
        &self,
        request: &ImportImage,
        on_progress: impl FnMut(Progress),
    ) -> Result<ImageView> {
        self.work(Method::POST, "/v1/images", request, on_progress)
    }

    /// Builds an image from another one, in a VM of its own.
    pub fn build_image(
        &self,
        request: &BuildImage,
        on_progress: impl FnMut(Progress),
    ) -> Result<ImageView> {
        self.work(Method::POST, "/v1/images/build", request, on_progress)
    }

    /// Deletes an unused image; returns its last state.
    pub fn delete_image(
        &self,
        name: &ImageName,
        on_progress: impl FnMut(Progress),
    ) -> Result<ImageView> {
        self.work(Method::DELETE, &image_path(name, ""), &(), on_progress)
    }

    /// Renames an image.
    pub fn rename_image(
        &self,
        name: &ImageName,
        request: &RenameImage,
        on_progress: impl FnMut(Progress),
    ) -> Result<ImageView> {
        let path = image_path(name, "/rename");
        self.work(Method::POST, &path, request, on_progress)
    }

    /// Copies an image's root file system to a file.
    pub fn export_image(
        &self,
        name: &ImageName,
        request: &ExportImage,
        on_progress: impl FnMut(Progress),
    ) -> Result<ExportedImage> {
        let path = image_path(name, "/export");
        self.work(Method::POST, &path, request, on_progress)
    }

    /// Removes unused images.
    pub fn prune_images(
        &self,
        request: &PruneImages,
        on_progress: impl FnMut(Progress),
    ) -> Result<PrunedImages> {
        self.work(Method::POST, "/v1/images/prune", request, on_progress)
    }

    /// All volumes, by name.
    pub fn volumes(&self) -> Result<Vec<VolumeView>> {
        self.get("/v1/volumes")
    }

    /// One volume.
    pub fn volume(&self, name: &VolumeName) -> Result<VolumeView> {
        self.get(&format!("/v1/volumes/{name}"))
    }

    /// Creates an empty volume.
    pub fn create_volume(
        &self,
        request: &CreateVolume,
        on_progress: impl FnMut(Progress),
    ) -> Result<VolumeView> {
        self.work(Method::POST, "/v1/volumes", request, on_progress)
    }

    /// Deletes a volume that no VM has; returns its last state.
    pub fn delete_volume(
        &self,
        name: &VolumeName,
        on_progress: impl FnMut(Progress),
    ) -> Result<VolumeView> {
        let path = format!("/v1/volumes/{name}");
        self.work(Method::DELETE, &path, &(), on_progress)
    }

    /// The events: a snapshot of all VMs first, then each change, until the daemon stops.
    ///
    /// With the number of the last event read, the stream continues after it, or begins with a
    /// snapshot if the daemon no longer has the later events.
    pub fn events(&self, since: Option<u64>) -> Result<Events<'_>> {
        let query = since.map(|seq| format!("?since={seq}")).unwrap_or_default();
        self.stream(&format!("/v1/events{query}")).map(Events::new)
    }
}

/// The path of a VM. A reference contains only characters that need no escaping.
pub(super) fn path(vm: &VmRef, below: &str) -> String {
    format!("/v1/vms/{vm}{below}")
}

/// The path of an image. A name contains only characters that need no escaping.
fn image_path(name: &ImageName, below: &str) -> String {
    format!("/v1/images/{name}{below}")
}
