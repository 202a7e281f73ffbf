//! VMs, from their creation to the trash.

use crate::engine::Engine;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use banger_api::{
    CloneVm, CreateVm, DeleteVm, ExportVm, ExportedVm, ImportVm, KillVm, Line, LogSource,
    LogsQuery, PurgeVm, RenameVm, StartVm, StopAllReport, StopAllVms, StopReport, StopVm,
    UndeleteVm, VerbOutcome, VmSpecPatch, VmView,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::App;
use super::super::reply::Refusal;
use super::super::request::{JsonBody, ReplyMode, UrlQuery, VmPath, VmRequest};
use super::super::stream;
use super::super::work::{ask, work};
use super::Reference;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(stop_all))
        .routes(routes!(show, set, delete))
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(restart))
        .routes(routes!(kill))
        .routes(routes!(rename))
        .routes(routes!(clone))
        .routes(routes!(export))
        .routes(routes!(import))
        .routes(routes!(trash))
        .routes(routes!(purge))
        .routes(routes!(undelete))
        .routes(routes!(logs))
}

/// All VMs.
#[utoipa::path(get, path = "/v1/vms", responses((status = 200, body = Vec<VmView>)))]
async fn list(State(app): State<App>) -> Result<Json<Vec<VmView>>, Refusal> {
    Ok(Json(ask(&app, |engine| engine.list()).await?))
}

/// Creates a VM, and starts it unless `no_start` is set.
#[utoipa::path(
    post,
    path = "/v1/vms",
    request_body = CreateVm,
    responses((status = 200, content((Line<VmView> = "application/x-ndjson"), (VmView = "application/json"))))
)]
async fn create(
    State(app): State<App>,
    mode: ReplyMode,
    JsonBody(request): JsonBody<CreateVm>,
) -> Response {
    work(&app, mode, move |engine, progress| {
        engine.create(&request, progress)
    })
    .await
}

/// One VM.
#[utoipa::path(
    get,
    path = "/v1/vms/{ref}",
    params(Reference),
    responses((status = 200, body = VmView))
)]
async fn show(State(app): State<App>, VmPath(vm): VmPath) -> Result<Json<VmView>, Refusal> {
    Ok(Json(ask(&app, move |engine| engine.show(&vm)).await??))
}

/// Changes a VM's settings: NAT at once, the rest at its next start.
#[utoipa::path(
    patch,
    path = "/v1/vms/{ref}",
    params(Reference),
    request_body = VmSpecPatch,
    responses((status = 200, content((Line<VmView> = "application/x-ndjson"), (VmView = "application/json"))))
)]
async fn set(request: VmRequest<VmSpecPatch>) -> Response {
    request.work(Engine::set).await
}

/// Deletes a VM: permanently, or into the trash if the configuration has one and `purge` is not set.
/// Returns its last state.
#[utoipa::path(
    delete,
    path = "/v1/vms/{ref}",
    params(Reference),
    request_body = DeleteVm,
    responses((status = 200, content((Line<VmView> = "application/x-ndjson"), (VmView = "application/json"))))
)]
async fn delete(request: VmRequest<DeleteVm>) -> Response {
    request.work(Engine::delete).await
}

/// Starts a VM, and waits until its guest is ready.
#[utoipa::path(
    post,
    path = "/v1/vms/{ref}/start",
    params(Reference),
    request_body = StartVm,
    responses((status = 200, content((Line<VerbOutcome> = "application/x-ndjson"), (VerbOutcome = "application/json"))))
)]
async fn start(request: VmRequest<StartVm>) -> Response {
    request.work(Engine::start).await
}

/// Stops a VM: the guest shuts down, or is ended by force at the timeout.
#[utoipa::path(
    post,
    path = "/v1/vms/{ref}/stop",
    params(Reference),
    request_body = StopVm,
    responses((status = 200, content((Line<StopReport> = "application/x-ndjson"), (StopReport = "application/json"))))
)]
async fn stop(request: VmRequest<StopVm>) -> Response {
    request.work(Engine::stop).await
}

/// Stops all running VMs at once, within one timeout; each has its own outcome.
#[utoipa::path(
    post,
    path = "/v1/stop",
    request_body = StopAllVms,
    responses((status = 200, content((Line<StopAllReport> = "application/x-ndjson"), (StopAllReport = "application/json"))))
)]
async fn stop_all(
    State(app): State<App>,
    mode: ReplyMode,
    JsonBody(request): JsonBody<StopAllVms>,
) -> Response {
    work(&app, mode, move |engine, progress| {
        engine.stop_all(&request, progress)
    })
    .await
}

/// Stops a VM and starts it again.
#[utoipa::path(
    post,
    path = "/v1/vms/{ref}/restart",
    params(Reference),
    request_body = StopVm,
    responses((status = 200, content((Line<VmView> = "application/x-ndjson"), (VmView = "application/json"))))
)]
async fn restart(request: VmRequest<StopVm>) -> Response {
    request.work(Engine::restart).await
}

/// Sends a signal to a VM's hypervisor.
#[utoipa::path(
    post,
    path = "/v1/vms/{ref}/kill",
    params(Reference),
    request_body = KillVm,
    responses((status = 200, content((Line<VerbOutcome> = "application/x-ndjson"), (VerbOutcome = "application/json"))))
)]
async fn kill(request: VmRequest<KillVm>) -> Response {
    request.work(Engine::kill).await
}

/// Renames a VM. The DNS and a running guest have the new name at once.
#[utoipa::path(
    post,
    path = "/v1/vms/{ref}/rename",
    params(Reference),
    request_body = RenameVm,
    responses((status = 200, content((Line<VmView> = "application/x-ndjson"), (VmView = "application/json"))))
)]
async fn rename(request: VmRequest<RenameVm>) -> Response {
    request.work(Engine::rename).await
}

/// Creates a VM with the disks of a stopped one and an identity of its own. Returns the new VM,
/// stopped.
#[utoipa::path(
    post,
    path = "/v1/vms/{ref}/clone",
    params(Reference),
    request_body = CloneVm,
    responses((status = 200, content((Line<VmView> = "application/x-ndjson"), (VmView = "application/json"))))
)]
async fn clone(request: VmRequest<CloneVm>) -> Response {
    request.work(Engine::clone_of).await
}

/// Writes a stopped VM into one file on the daemon's host: its disks, settings and kernel, and no key.
#[utoipa::path(
    post,
    path = "/v1/vms/{ref}/export",
    params(Reference),
    request_body = ExportVm,
    responses((status = 200, content((Line<ExportedVm> = "application/x-ndjson"), (ExportedVm = "application/json"))))
)]
async fn export(request: VmRequest<ExportVm>) -> Response {
    request.work(Engine::export).await
}

/// Creates a VM from a file that an export has written. Returns the VM, stopped.
#[utoipa::path(
    post,
    path = "/v1/import",
    request_body = ImportVm,
    responses((status = 200, content((Line<VmView> = "application/x-ndjson"), (VmView = "application/json"))))
)]
async fn import(
    State(app): State<App>,
    mode: ReplyMode,
    JsonBody(request): JsonBody<ImportVm>,
) -> Response {
    work(&app, mode, move |engine, progress| {
        engine.import(&request, progress)
    })
    .await
}

/// The VMs in the trash, the last deleted first.
#[utoipa::path(get, path = "/v1/trash", responses((status = 200, body = Vec<VmView>)))]
async fn trash(State(app): State<App>) -> Result<Json<Vec<VmView>>, Refusal> {
    Ok(Json(ask(&app, |engine| engine.trash()).await?))
}

/// Deletes a VM in the trash permanently. Returns its last state.
#[utoipa::path(
    delete,
    path = "/v1/trash/{ref}",
    params(Reference),
    request_body = PurgeVm,
    responses((status = 200, content((Line<VmView> = "application/x-ndjson"), (VmView = "application/json"))))
)]
async fn purge(request: VmRequest<PurgeVm>) -> Response {
    request.work(Engine::purge).await
}

/// Restores a VM from the trash. Returns the VM, stopped.
#[utoipa::path(
    post,
    path = "/v1/trash/{ref}/undelete",
    params(Reference),
    request_body = UndeleteVm,
    responses((status = 200, content((Line<VmView> = "application/x-ndjson"), (VmView = "application/json"))))
)]
async fn undelete(request: VmRequest<UndeleteVm>) -> Response {
    request.work(Engine::undelete).await
}

/// The output of a guest on its console, unmodified, or the log of its hypervisor.
#[utoipa::path(
    get,
    path = "/v1/vms/{ref}/logs",
    params(
        Reference,
        ("follow" = Option<bool>, Query, description = "continue as it grows"),
        ("source" = Option<LogSource>, Query, description = "what is read (`console` unless given)"),
    ),
    responses((status = 200, body = String, content_type = "text/plain"))
)]
async fn logs(
    State(app): State<App>,
    VmPath(vm): VmPath,
    UrlQuery(query): UrlQuery<LogsQuery>,
) -> Result<Response, Refusal> {
    Ok(stream::logs(&app, vm, query).await?)
}
