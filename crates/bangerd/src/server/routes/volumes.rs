//! Volumes.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use banger_api::{CreateVolume, Line, VolumeView};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::App;
use super::super::reply::Refusal;
use super::super::request::{JsonBody, ReplyMode, VolumePath};
use super::super::work::{ask, work};

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(volumes, create_volume))
        .routes(routes!(volume, delete_volume))
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

/// Deletes an unused volume. Returns its last state.
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
