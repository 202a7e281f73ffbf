//! The daemon itself: its version, its host, its events.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse as _;
use axum::response::Response;
use banger_api::{
    API_VERSION, DaemonView, Event, EventsQuery, HostView, Line, LogLevelView, ReloadReport,
    Report, VersionView,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::App;
use super::super::reply::Refusal;
use super::super::request::{JsonBody, ReplyMode, UrlQuery};
use super::super::stream;
use super::super::work::{ask, work};

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
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
    // Pending responses are still sent, including this one.
    app.shutdown.begin();
    answer
}

/// Reloads the configuration: defaults for new VMs and the log level change at once, the rest at the
/// daemon's next start.
#[utoipa::path(
    post,
    path = "/v1/daemon/reload",
    responses((status = 200, content((Line<ReloadReport> = "application/x-ndjson"), (ReloadReport = "application/json"))))
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
