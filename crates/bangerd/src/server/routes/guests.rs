//! The inside of guests: commands, jobs, files, connections, the console.

use crate::engine::Engine;
use axum::Json;
use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use banger_api::{
    AcceptQuery, AddForwards, Code, ConnectQuery, ConsoleQuery, Error, ForwardView, JobView,
    KillJob, Line, PortView, PruneJobs, RemoveForwards, RemoveJob, StatsView,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::App;
use super::super::reply::Refusal;
use super::super::request::{JobPath, JsonBody, ReplyMode, UrlQuery, VmPath, VmRequest};
use super::super::work::{ask, work};
use super::super::{connect, console, exec, lifeline};
use super::Reference;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(exec_command))
        .routes(routes!(copy_files))
        .routes(routes!(lifeline_of))
        .routes(routes!(detach))
        .routes(routes!(jobs, prune_jobs))
        .routes(routes!(remove_job))
        .routes(routes!(kill_job))
        .routes(routes!(attach))
        .routes(routes!(connect_to))
        .routes(routes!(listen))
        .routes(routes!(accept))
        .routes(routes!(forwards, add_forwards, remove_forwards))
        .routes(routes!(open_console))
        .routes(routes!(ports))
        .routes(routes!(stats))
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

/// Runs one command in a guest, over this connection: the request asks for the upgrade `banger-exec`, and
/// the response 101 hands the connection over. Then frames go both ways, each a byte for the kind, four
/// bytes (big-endian) for the payload's length (at most 262144), and the payload. From the client: 1 an
/// argument, 2 a variable `NAME=VALUE`, 3 start (JSON: `user`, `directory`, `terminal` as `[columns, rows]`,
/// `timeout_millis`, `tells_end`; all optional), 4 standard input, 5 its end, 6 a signal's number, 7 the terminal's
/// columns and rows (two bytes each). From the guest: 8 started, 9 standard output, 10 standard error,
/// 11 so many more bytes of input may be sent (four bytes; 262144 at first), 12 the exit status, 13 a
/// refusal: a status and words, and before 12, if `tells_end` is set and the guest is not older, 16 the end (JSON:
/// `oom_killed`, whether a process of the command was killed by the out-of-memory killer, or null). Arguments and variables come before the start; no argument at all means the
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

/// Copies files from or to a guest, over this connection. The upgrade is that of `exec`. Frames go both ways,
/// each a byte for the kind, four bytes (big-endian) for the payload's length (at most 262144), and the
/// payload; the crate `banger-copy` describes them. A client that disconnects ends the copy.
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

/// Holds the lifeline of a VM that was created with `temporary`: this connection. The request needs
/// the headers `connection: upgrade` and `upgrade: banger-lifeline`; nothing crosses the connection. The VM
/// is deleted, permanently, when its last lifeline has ended.
#[utoipa::path(
    get,
    path = "/v1/vms/{ref}/lifeline",
    params(Reference),
    responses((status = 101, description = "The connection is a lifeline."))
)]
async fn lifeline_of(
    State(app): State<App>,
    VmPath(vm): VmPath,
    request: Request,
) -> Result<Response, Refusal> {
    lifeline::hold(app, request, vm).await
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
/// number of bytes of output that are no longer kept (eight bytes); the output that was kept; then, if
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

/// Sends a signal to a job's process group. Returns the state of the job before the signal.
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
    let open = move |engine: &Engine| engine.connect(&vm, &query.endpoint().map_err(invalid)?);
    connect::connect(app, request, open).await
}

fn invalid(wrong: String) -> Error {
    Error::new(Code::Invalid, wrong)
}

/// Has a running guest listen on a port or a Unix socket, while this connection is open. The upgrade is that
/// of `connect`. Port 0 chooses a free one. The guest writes a line of JSON: `{"listening": PORT}`, or
/// `{"refused": REASON}`; then `{"connection": NUMBER}` for each connection, which `accept` takes within ten
/// seconds.
#[utoipa::path(
    get,
    path = "/v1/vms/{ref}/listen",
    params(
        Reference,
        ("tcp" = Option<String>, Query, description = "a port of loopback, or `ADDRESS:PORT`"),
        ("unix" = Option<String>, Query, description = "the path of a Unix socket"),
    ),
    responses((status = 101, description = "The connection is the listener's."))
)]
async fn listen(
    State(app): State<App>,
    VmPath(vm): VmPath,
    UrlQuery(query): UrlQuery<ConnectQuery>,
    request: Request,
) -> Result<Response, Refusal> {
    let open = move |engine: &Engine| engine.listen(&vm, &query.place().map_err(invalid)?);
    connect::connect(app, request, open).await
}

/// Accepts a connection that a guest has announced in `listen`. The upgrade is that of `connect`; then
/// bytes go both ways.
#[utoipa::path(
    get,
    path = "/v1/vms/{ref}/accept",
    params(
        Reference,
        ("connection" = u64, Query, description = "its number"),
    ),
    responses((status = 101, description = "The connection is the one in the guest."))
)]
async fn accept(
    State(app): State<App>,
    VmPath(vm): VmPath,
    UrlQuery(query): UrlQuery<AcceptQuery>,
    request: Request,
) -> Result<Response, Refusal> {
    let number = query.connection;
    connect::connect(app, request, move |engine| engine.accept(&vm, number)).await
}

/// The forwards that the daemon holds for a VM: those of all of its runs, then those of this one.
#[utoipa::path(
    get,
    path = "/v1/vms/{ref}/forwards",
    params(Reference),
    responses((status = 200, body = Vec<ForwardView>))
)]
async fn forwards(
    State(app): State<App>,
    VmPath(vm): VmPath,
) -> Result<Json<Vec<ForwardView>>, Refusal> {
    Ok(Json(ask(&app, move |engine| engine.forwards(&vm)).await??))
}

/// Adds forwards that the daemon holds, all or none of them: it listens on its own machine, and passes
/// connections on to the guest. Without `keep` they end with the VM's run, and the VM has to be running. A
/// place to listen is a port of 127.0.0.1, `ADDRESS:PORT` or the path of a Unix socket. Returns them.
#[utoipa::path(
    post,
    path = "/v1/vms/{ref}/forwards",
    params(Reference),
    request_body = AddForwards,
    responses((status = 200, content((Line<Vec<ForwardView>> = "application/x-ndjson"), (Vec<ForwardView> = "application/json"))))
)]
async fn add_forwards(request: VmRequest<AddForwards>) -> Response {
    request.work(Engine::add_forwards).await
}

/// Removes forwards that the daemon holds, all or none of them. Connections stay until they end. Returns
/// them as they were.
#[utoipa::path(
    delete,
    path = "/v1/vms/{ref}/forwards",
    params(Reference),
    request_body = RemoveForwards,
    responses((status = 200, content((Line<Vec<ForwardView>> = "application/x-ndjson"), (Vec<ForwardView> = "application/json"))))
)]
async fn remove_forwards(request: VmRequest<RemoveForwards>) -> Response {
    request.work(Engine::remove_forwards).await
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
