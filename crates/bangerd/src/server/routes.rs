//! The paths, with their descriptions for the OpenAPI document.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use banger_api::{
    API_VERSION, BuildImage, CloneVm, ConnectQuery, ConsoleQuery, CreateVm, CreateVolume,
    DaemonView, DeleteVm, Error, Event, EventsQuery, ExportImage, ExportVm, ExportedImage,
    ExportedVm, HostView, ImageView, ImportImage, ImportVm, JobView, KillJob, KillVm, Line,
    LogLevelView, LogsQuery, PortView, PruneImages, PruneJobs, PrunedImages, PurgeVm, Reloaded,
    RemoveJob, RenameImage, RenameVm, Report, StartVm, StatsView, StopAllVms, StopVm, Stopped,
    StoppedAll, UndeleteVm, VerbOutcome, VersionView, VmSpecPatch, VmView, VolumeView,
};
use utoipa::OpenApi as _;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::Ref;
use utoipa::openapi::{OpenApi, PathItem, RefOr, Required, Schema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::reply::{NDJSON, Refusal, check_version, name_request, unknown_method, unknown_path};
use super::request::{
    ImagePath, JobPath, JsonBody, ReplyMode, UrlQuery, VmPath, VmRequest, VolumePath,
};
use super::work::{ask, work};
use super::{connect, console, exec, stream};
use crate::engine::Engine;

/// The document without the paths.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "banger",
        description = "Persistent development VMs. HTTP/1.1 on a Unix socket: \
            `curl --unix-socket \"$(banger daemon socket)\" http://banger/v1/vms`.\n\n\
            Long requests are answered with newline-delimited JSON: `progress` lines, then one \
            `result` or `error`; a request that fails before its first step gets a plain error. A \
            client that accepts `application/json` and not `application/x-ndjson` gets one \
            response at the end: the result, or an error with its status. Disconnecting does not \
            cancel a request. Every response has the API's version in the header `banger-api`; a \
            request that names another version fails with 409."
    ),
    components(schemas(Error, Event))
)]
struct Document;

/// The router and its description.
pub(super) fn router(app: App) -> (axum::Router, OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(version))
        .routes(routes!(daemon))
        .routes(routes!(daemon_stop))
        .routes(routes!(daemon_reload))
        .routes(routes!(daemon_log_level))
        .routes(routes!(host))
        .routes(routes!(doctor))
        .routes(routes!(metrics))
        .routes(routes!(openapi))
        .routes(routes!(events))
        .routes(routes!(list, create))
        .routes(routes!(stop_all))
        .routes(routes!(show, set, delete))
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(restart))
        .routes(routes!(kill))
        .routes(routes!(rename))
        .routes(routes!(clone))
        .routes(routes!(volumes, create_volume))
        .routes(routes!(volume, delete_volume))
        .routes(routes!(export))
        .routes(routes!(import))
        .routes(routes!(trash))
        .routes(routes!(purge))
        .routes(routes!(undelete))
        .routes(routes!(logs))
        .routes(routes!(exec_command))
        .routes(routes!(copy_files))
        .routes(routes!(detach))
        .routes(routes!(jobs, prune_jobs))
        .routes(routes!(remove_job))
        .routes(routes!(kill_job))
        .routes(routes!(attach))
        .routes(routes!(connect_to))
        .routes(routes!(open_console))
        .routes(routes!(ports))
        .routes(routes!(stats))
        .routes(routes!(images, import_image))
        .routes(routes!(image, delete_image))
        .routes(routes!(rename_image))
        .routes(routes!(export_image))
        .routes(routes!(prune_images))
        .routes(routes!(build_image))
        .split_for_parts();
    describe_results(&mut document);
    describe_errors(&mut document);
    describe_bodies(&mut document);
    let text = document.to_json().unwrap_or_default();
    let app = App {
        document: text.into(),
        ..app
    };
    let router = router
        .method_not_allowed_fallback(unknown_method)
        .fallback(unknown_path)
        .with_state(app)
        .layer(axum::middleware::from_fn(check_version))
        .layer(axum::middleware::from_fn(name_request));
    (router, document)
}

/// The VM in a path.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only described; `VmPath` reads it")]
struct Reference {
    /// Its name, its id, or the id's first digits.
    #[param(pattern = "^[a-z0-9-]+$", min_length = 1, max_length = 63)]
    r#ref: String,
}

/// The VM and the job in a path.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only described; `JobPath` reads it")]
struct JobReference {
    /// The VM's name, its id, or the id's first digits.
    #[param(pattern = "^[a-z0-9-]+$", min_length = 1, max_length = 63)]
    r#ref: String,
    /// The job's id, or its name: the newest job with it.
    #[param(
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        min_length = 1,
        max_length = 64
    )]
    job: String,
}

/// The image in a path.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only described; `ImagePath` reads it")]
struct ImageReference {
    /// Its name.
    #[param(pattern = "^[a-z0-9][a-z0-9._-]*$", min_length = 1, max_length = 64)]
    name: String,
}

/// The volume in a path.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only described; `VolumePath` reads it")]
struct VolumeReference {
    /// Its name.
    #[param(
        pattern = "^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$",
        min_length = 1,
        max_length = 32
    )]
    name: String,
}

/// The operations of a path.
fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut path.get,
        &mut path.post,
        &mut path.put,
        &mut path.patch,
        &mut path.delete,
    ]
    .into_iter()
    .flatten()
}

/// Marks bodies as optional if all their fields have defaults.
fn describe_bodies(document: &mut OpenApi) {
    let schemas = document.components.as_ref().map(|it| it.schemas.clone());
    let has_required = |schema: &RefOr<Schema>| {
        let RefOr::Ref(reference) = schema else {
            return false;
        };
        let name = reference.ref_location.rsplit('/').next();
        let schema = name.and_then(|name| schemas.as_ref()?.get(name));
        matches!(schema, Some(RefOr::T(Schema::Object(object))) if !object.required.is_empty())
    };
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        if let Some(RefOr::T(body)) = &mut operation.request_body {
            let mut schemas = body.content.values().filter_map(|content| match content {
                RefOr::T(content) => content.schema.as_ref(),
                RefOr::Ref(_) => None,
            });
            body.required = Some(match schemas.any(has_required) {
                true => Required::True,
                false => Required::False,
            });
        }
    }
}

/// Describes the results: a response without a description is invalid (OpenAPI 3.1, 4.8.17).
fn describe_results(document: &mut OpenApi) {
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        for response in operation.responses.responses.values_mut() {
            if let RefOr::T(response) = response
                && response.description.is_empty()
            {
                let is_stream = response.content.contains_key(NDJSON);
                response.description = match (is_stream, response.content.len()) {
                    (true, 1) => "One JSON value per line.",
                    (true, _) => "The outcome: alone, or after a line for each step.",
                    (false, _) => "The result.",
                }
                .to_owned();
            }
        }
    }
}

/// Adds the error response, which is the same for every path.
fn describe_errors(document: &mut OpenApi) {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Error")))
        .build();
    let error = ResponseBuilder::new()
        .description(
            "An error: 400 `invalid`, 404 `not-found`, 409 `conflict` or `busy`, 503 `not-ready`, \
             500 for all others",
        )
        .content("application/json", content)
        .build();
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        operation
            .responses
            .responses
            .insert("default".to_owned(), error.clone().into());
    }
}

/// The versions of the daemon and its API. Accepts clients of every version.
#[utoipa::path(get, path = "/v1/version", responses((status = 200, body = VersionView)))]
async fn version() -> Json<VersionView> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Json(VersionView {
        version,
        api: API_VERSION,
    })
}

/// The state of the daemon.
#[utoipa::path(get, path = "/v1/daemon", responses((status = 200, body = DaemonView)))]
async fn daemon(State(app): State<App>) -> Result<Json<DaemonView>, Refusal> {
    Ok(Json(ask(&app, |engine| engine.daemon()).await?))
}

/// Stops the daemon; VMs keep running. Returns the daemon's last state.
#[utoipa::path(
    post,
    path = "/v1/daemon/stop",
    responses((status = 200, content((Line<DaemonView> = "application/x-ndjson"), (DaemonView = "application/json"))))
)]
async fn daemon_stop(State(app): State<App>, mode: ReplyMode) -> Response {
    let answer = work(&app, mode, |engine, _| Ok(engine.daemon())).await;
    // Pending responses are still sent, this one too.
    app.shutdown.begin();
    answer
}

/// Reloads the configuration: defaults for new VMs and the log level change at once, the rest at the
/// daemon's next start.
#[utoipa::path(
    post,
    path = "/v1/daemon/reload",
    responses((status = 200, content((Line<Reloaded> = "application/x-ndjson"), (Reloaded = "application/json"))))
)]
async fn daemon_reload(State(app): State<App>, mode: ReplyMode) -> Response {
    work(&app, mode, |engine, _| engine.reload()).await
}

/// Sets the log level, until the daemon stops or reloads its configuration.
#[utoipa::path(
    put,
    path = "/v1/daemon/log-level",
    request_body = LogLevelView,
    responses((status = 200, content((Line<LogLevelView> = "application/x-ndjson"), (LogLevelView = "application/json"))))
)]
async fn daemon_log_level(
    State(app): State<App>,
    mode: ReplyMode,
    JsonBody(request): JsonBody<LogLevelView>,
) -> Response {
    work(&app, mode, move |engine, _| {
        Ok(engine.set_log_level(request))
    })
    .await
}

/// The daemon's machine at this moment: free memory and disk space, CPUs and their load, hypervisors
/// and images.
#[utoipa::path(get, path = "/v1/host", responses((status = 200, body = HostView)))]
async fn host(State(app): State<App>) -> Result<Json<HostView>, Refusal> {
    Ok(Json(ask(&app, |engine| engine.host_view()).await??))
}

/// All checks with their results.
#[utoipa::path(get, path = "/v1/doctor", responses((status = 200, body = Report)))]
async fn doctor(State(app): State<App>) -> Result<Json<Report>, Refusal> {
    Ok(Json(ask(&app, |engine| engine.doctor()).await?))
}

/// All metrics, in Prometheus' text format.
#[utoipa::path(
    get,
    path = "/v1/metrics",
    responses((status = 200, body = String, content_type = "text/plain; version=0.0.4"))
)]
async fn metrics(State(app): State<App>) -> Result<Response, Refusal> {
    let text = ask(&app, |engine| engine.metrics()).await?;
    Ok(([("content-type", "text/plain; version=0.0.4")], text).into_response())
}

/// This document.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    responses((status = 200, body = Object, content_type = "application/json"))
)]
async fn openapi(State(app): State<App>) -> Response {
    (
        [("content-type", "application/json")],
        app.document.to_string(),
    )
        .into_response()
}

/// Events, one per line, until the client disconnects or the daemon stops: first a snapshot of all
/// VMs, then each change.
#[utoipa::path(
    get,
    path = "/v1/events",
    params((
        "since" = Option<u64>, Query,
        description = "the number of the last event that the client has read: the stream continues \
            after it, or begins with a snapshot if later events are no longer kept",
    )),
    responses((status = 200, body = Event, content_type = "application/x-ndjson"))
)]
async fn events(
    State(app): State<App>,
    UrlQuery(query): UrlQuery<EventsQuery>,
) -> Result<Response, Refusal> {
    Ok(stream::events(&app, query.since)?)
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
    responses((status = 200, content((Line<Stopped> = "application/x-ndjson"), (Stopped = "application/json"))))
)]
async fn stop(request: VmRequest<StopVm>) -> Response {
    request.work(Engine::stop).await
}

/// Stops all running VMs at once, within one timeout; each has its own outcome.
#[utoipa::path(
    post,
    path = "/v1/stop",
    request_body = StopAllVms,
    responses((status = 200, content((Line<StoppedAll> = "application/x-ndjson"), (StoppedAll = "application/json"))))
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

/// Makes a new VM with the disks of a stopped one, and an identity of its own. Answers with the new
/// VM, stopped.
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

/// Makes a new VM from a file that an export has written. Answers with the VM, stopped.
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

/// All volumes, by name.
#[utoipa::path(get, path = "/v1/volumes", responses((status = 200, body = Vec<VolumeView>)))]
async fn volumes(State(app): State<App>) -> Result<Json<Vec<VolumeView>>, Refusal> {
    Ok(Json(ask(&app, |engine| engine.volumes()).await??))
}

/// Creates an empty volume.
#[utoipa::path(
    post,
    path = "/v1/volumes",
    request_body = CreateVolume,
    responses((status = 200, content((Line<VolumeView> = "application/x-ndjson"), (VolumeView = "application/json"))))
)]
async fn create_volume(
    State(app): State<App>,
    mode: ReplyMode,
    JsonBody(request): JsonBody<CreateVolume>,
) -> Response {
    work(&app, mode, move |engine, progress| {
        engine.create_volume(&request, progress)
    })
    .await
}

/// One volume.
#[utoipa::path(
    get,
    path = "/v1/volumes/{name}",
    params(VolumeReference),
    responses((status = 200, body = VolumeView))
)]
async fn volume(
    State(app): State<App>,
    VolumePath(name): VolumePath,
) -> Result<Json<VolumeView>, Refusal> {
    Ok(Json(ask(&app, move |engine| engine.volume(&name)).await??))
}

/// Deletes a volume that no VM has. Answers with the volume as it was.
#[utoipa::path(
    delete,
    path = "/v1/volumes/{name}",
    params(VolumeReference),
    responses((status = 200, content((Line<VolumeView> = "application/x-ndjson"), (VolumeView = "application/json"))))
)]
async fn delete_volume(
    State(app): State<App>,
    mode: ReplyMode,
    VolumePath(name): VolumePath,
) -> Response {
    work(&app, mode, move |engine, _| engine.delete_volume(&name)).await
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

/// Takes a VM out of the trash. Answers with the VM, stopped.
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

/// The output of a guest on its console, unmodified.
#[utoipa::path(
    get,
    path = "/v1/vms/{ref}/logs",
    params(
        Reference,
        ("follow" = Option<bool>, Query, description = "continue as the console grows"),
    ),
    responses((status = 200, body = String, content_type = "text/plain"))
)]
async fn logs(
    State(app): State<App>,
    VmPath(vm): VmPath,
    UrlQuery(query): UrlQuery<LogsQuery>,
) -> Result<Response, Refusal> {
    Ok(stream::console(&app, vm, query.follow).await?)
}

/// Runs one command in a guest, over this connection: the request asks for the upgrade `banger-exec`, and
/// the response 101 hands the connection over. Then frames go both ways, each a byte for the kind, four
/// bytes (big-endian) for the payload's length (at most 262144), and the payload. From the client: 1 an
/// argument, 2 a variable `NAME=VALUE`, 3 start (JSON: `user`, `directory`, `terminal` as `[columns, rows]`,
/// `timeout_millis`; all optional), 4 standard input, 5 its end, 6 a signal's number, 7 the terminal's
/// columns and rows (two bytes each). From the guest: 8 started, 9 standard output, 10 standard error,
/// 11 so many more bytes of input may be sent (four bytes; 262144 at first), 12 the exit status, 13 a
/// refusal: a status and words. Arguments and variables come before the start; no argument at all means the
/// login shell. A client that disconnects has the command ended.
#[utoipa::path(
    get,
    path = "/v1/vms/{ref}/exec",
    params(Reference),
    responses((status = 101, description = "The connection is the command's."))
)]
async fn exec_command(
    State(app): State<App>,
    VmPath(vm): VmPath,
    request: Request,
) -> Result<Response, Refusal> {
    exec::hand_over(app, request, move |engine| engine.exec(&vm)).await
}

/// Copies files from or to a guest, over this connection, which is asked for as that of a command is. Frames
/// go both ways, each a byte for the kind, four bytes (big-endian) for the payload's length (at most 262144),
/// and the payload; the crate `banger-copy` describes them. A client that disconnects ends the copy.
#[utoipa::path(
    get,
    path = "/v1/vms/{ref}/copy",
    params(Reference),
    responses((status = 101, description = "The connection is the copy's."))
)]
async fn copy_files(
    State(app): State<App>,
    VmPath(vm): VmPath,
    request: Request,
) -> Result<Response, Refusal> {
    exec::hand_over(app, request, move |engine| engine.copy(&vm)).await
}

/// Starts one command in a guest as a job, which outlives this connection. The upgrade and the frames are
/// those of `exec`; in the start, `name` gives the job a name, and `input` has it take input from those who
/// attach. The answer is 14, the job as the guest describes it (JSON), or 13, a refusal.
#[utoipa::path(
    get,
    path = "/v1/vms/{ref}/detach",
    params(Reference),
    responses((status = 101, description = "The connection starts the job."))
)]
async fn detach(
    State(app): State<App>,
    VmPath(vm): VmPath,
    request: Request,
) -> Result<Response, Refusal> {
    exec::hand_over(app, request, move |engine| engine.detach(&vm)).await
}

/// The jobs of a running guest, in the order of their start.
#[utoipa::path(
    get,
    path = "/v1/vms/{ref}/jobs",
    params(Reference),
    responses((status = 200, body = Vec<JobView>))
)]
async fn jobs(State(app): State<App>, VmPath(vm): VmPath) -> Result<Json<Vec<JobView>>, Refusal> {
    Ok(Json(ask(&app, move |engine| engine.jobs(&vm)).await??))
}

/// Forgets all jobs that have ended, and their output. Returns them.
#[utoipa::path(
    delete,
    path = "/v1/vms/{ref}/jobs",
    params(Reference),
    request_body = PruneJobs,
    responses((status = 200, content((Line<Vec<JobView>> = "application/x-ndjson"), (Vec<JobView> = "application/json"))))
)]
async fn prune_jobs(request: VmRequest<PruneJobs>) -> Response {
    request.work(Engine::prune_jobs).await
}

/// Attaches to a job: the upgrade of `exec`, then a start frame (3) with `input` (write to the job's
/// input; one client at a time), `follow` and `terminal`. The guest answers with 14, the job; 15, the
/// number of bytes of output that are not there any more (eight bytes); the output that was kept; then, if
/// `follow` is set, output as it comes, and 12 at the job's end, otherwise 14 again. The client's frames
/// are those of `exec`. Disconnecting leaves the job alone.
#[utoipa::path(
    get,
    path = "/v1/vms/{ref}/jobs/{job}/attach",
    params(JobReference),
    responses((status = 101, description = "The connection is the job's."))
)]
async fn attach(
    State(app): State<App>,
    JobPath(vm, job): JobPath,
    request: Request,
) -> Result<Response, Refusal> {
    exec::hand_over(app, request, move |engine| engine.attach(&vm, &job)).await
}

/// Sends a signal to a job's process group. Returns the job before it.
#[utoipa::path(
    post,
    path = "/v1/vms/{ref}/jobs/{job}/kill",
    params(JobReference),
    request_body = KillJob,
    responses((status = 200, content((Line<JobView> = "application/x-ndjson"), (JobView = "application/json"))))
)]
async fn kill_job(
    State(app): State<App>,
    JobPath(vm, job): JobPath,
    mode: ReplyMode,
    JsonBody(request): JsonBody<KillJob>,
) -> Response {
    work(&app, mode, move |engine, _| {
        engine.kill_job(&vm, &job, &request)
    })
    .await
}

/// Forgets a job that has ended, and its output. Returns its last state.
#[utoipa::path(
    delete,
    path = "/v1/vms/{ref}/jobs/{job}",
    params(JobReference),
    request_body = RemoveJob,
    responses((status = 200, content((Line<JobView> = "application/x-ndjson"), (JobView = "application/json"))))
)]
async fn remove_job(
    State(app): State<App>,
    JobPath(vm, job): JobPath,
    mode: ReplyMode,
    JsonBody(request): JsonBody<RemoveJob>,
) -> Response {
    work(&app, mode, move |engine, _| {
        engine.remove_job(&vm, &job, &request)
    })
    .await
}

/// Connects to a port or a Unix socket of a running guest, over this connection: the request asks for the
/// upgrade `banger-connect` and names one of `tcp` and `unix`, and the response 101 hands the connection over
/// when the service has accepted. Then bytes go both ways; the end of one direction leaves the other open.
/// Neither SSH nor a network of the guest is needed.
#[utoipa::path(
    get,
    path = "/v1/vms/{ref}/connect",
    params(
        Reference,
        ("tcp" = Option<String>, Query, description = "a port of loopback, or `ADDRESS:PORT`"),
        ("unix" = Option<String>, Query, description = "the path of a Unix socket"),
    ),
    responses((status = 101, description = "The connection is the service's."))
)]
async fn connect_to(
    State(app): State<App>,
    VmPath(vm): VmPath,
    UrlQuery(query): UrlQuery<ConnectQuery>,
    request: Request,
) -> Result<Response, Refusal> {
    connect::connect(app, vm, query, request).await
}

/// Opens the serial console of a running VM, over this connection: the request asks for the upgrade
/// `banger-console`, and the response 101 hands the connection over. The client sends what is typed, as it
/// is; one client at a time types, and another one gets `busy`. With `input=false` it only reads, as any
/// number of clients may. The daemon sends frames, each a byte for the kind, four bytes (big-endian) for the
/// payload's length (at most 65536), and the payload: 1 the last output before the session, 2 output, 3 so
/// many more bytes may be typed (four bytes; 65536 at first), 4 the end of the console, in words.
#[utoipa::path(
    get,
    path = "/v1/vms/{ref}/console",
    params(
        Reference,
        ("input" = Option<bool>, Query, description = "type to it (true unless given)"),
    ),
    responses((status = 101, description = "The connection is the console's."))
)]
async fn open_console(
    State(app): State<App>,
    VmPath(vm): VmPath,
    UrlQuery(query): UrlQuery<ConsoleQuery>,
    request: Request,
) -> Result<Response, Refusal> {
    console::console(app, vm, query.input, request).await
}

/// What listens in a running guest.
#[utoipa::path(
    get,
    path = "/v1/vms/{ref}/ports",
    params(Reference),
    responses((status = 200, body = Vec<PortView>))
)]
async fn ports(State(app): State<App>, VmPath(vm): VmPath) -> Result<Json<Vec<PortView>>, Refusal> {
    Ok(Json(ask(&app, move |engine| engine.ports(&vm)).await??))
}

/// What a running VM uses, on the host and in its guest.
#[utoipa::path(
    get,
    path = "/v1/vms/{ref}/stats",
    params(Reference),
    responses((status = 200, body = StatsView))
)]
async fn stats(State(app): State<App>, VmPath(vm): VmPath) -> Result<Json<StatsView>, Refusal> {
    Ok(Json(ask(&app, move |engine| engine.stats(&vm)).await??))
}

/// All images, by name.
#[utoipa::path(get, path = "/v1/images", responses((status = 200, body = Vec<ImageView>)))]
async fn images(State(app): State<App>) -> Result<Json<Vec<ImageView>>, Refusal> {
    Ok(Json(ask(&app, |engine| engine.images()).await??))
}

/// Creates an image from an ext4 root file system, which is copied.
#[utoipa::path(
    post,
    path = "/v1/images",
    request_body = ImportImage,
    responses((status = 200, content((Line<ImageView> = "application/x-ndjson"), (ImageView = "application/json"))))
)]
async fn import_image(
    State(app): State<App>,
    mode: ReplyMode,
    JsonBody(request): JsonBody<ImportImage>,
) -> Response {
    work(&app, mode, move |engine, progress| {
        engine.import_image(&request, progress)
    })
    .await
}

/// One image.
#[utoipa::path(
    get,
    path = "/v1/images/{name}",
    params(ImageReference),
    responses((status = 200, body = ImageView))
)]
async fn image(
    State(app): State<App>,
    ImagePath(name): ImagePath,
) -> Result<Json<ImageView>, Refusal> {
    Ok(Json(ask(&app, move |engine| engine.image(&name)).await??))
}

/// Deletes an unused image. Returns its last state.
#[utoipa::path(
    delete,
    path = "/v1/images/{name}",
    params(ImageReference),
    responses((status = 200, content((Line<ImageView> = "application/x-ndjson"), (ImageView = "application/json"))))
)]
async fn delete_image(
    State(app): State<App>,
    mode: ReplyMode,
    ImagePath(name): ImagePath,
) -> Response {
    work(&app, mode, move |engine, _| engine.delete_image(&name)).await
}

/// Renames an image. VMs that were created from it still count as its users.
#[utoipa::path(
    post,
    path = "/v1/images/{name}/rename",
    params(ImageReference),
    request_body = RenameImage,
    responses((status = 200, content((Line<ImageView> = "application/x-ndjson"), (ImageView = "application/json"))))
)]
async fn rename_image(
    State(app): State<App>,
    mode: ReplyMode,
    ImagePath(name): ImagePath,
    JsonBody(request): JsonBody<RenameImage>,
) -> Response {
    work(&app, mode, move |engine, _| {
        engine.rename_image(&name, &request)
    })
    .await
}

/// Copies an image's root file system to a file on the daemon's host.
#[utoipa::path(
    post,
    path = "/v1/images/{name}/export",
    params(ImageReference),
    request_body = ExportImage,
    responses((status = 200, content((Line<ExportedImage> = "application/x-ndjson"), (ExportedImage = "application/json"))))
)]
async fn export_image(
    State(app): State<App>,
    mode: ReplyMode,
    ImagePath(name): ImagePath,
    JsonBody(request): JsonBody<ExportImage>,
) -> Response {
    work(&app, mode, move |engine, progress| {
        engine.export_image(&name, &request, progress)
    })
    .await
}

/// Removes unused images.
#[utoipa::path(
    post,
    path = "/v1/images/prune",
    request_body = PruneImages,
    responses((status = 200, content((Line<PrunedImages> = "application/x-ndjson"), (PrunedImages = "application/json"))))
)]
async fn prune_images(
    State(app): State<App>,
    mode: ReplyMode,
    JsonBody(request): JsonBody<PruneImages>,
) -> Response {
    work(&app, mode, move |engine, progress| {
        engine.prune_images(&request, progress)
    })
    .await
}

/// Makes an image of another one: a VM is created from it, the steps are done in it, it is shut
/// down, and its system disk becomes the image. The VM is gone at the end. Disconnecting does not
/// cancel it; killing the VM does.
#[utoipa::path(
    post,
    path = "/v1/images/build",
    request_body = BuildImage,
    responses((status = 200, content((Line<ImageView> = "application/x-ndjson"), (ImageView = "application/json"))))
)]
async fn build_image(
    State(app): State<App>,
    mode: ReplyMode,
    JsonBody(request): JsonBody<BuildImage>,
) -> Response {
    work(&app, mode, move |engine, progress| {
        engine.build_image(&request, progress)
    })
    .await
}
