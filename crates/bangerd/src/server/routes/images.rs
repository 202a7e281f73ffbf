//! Images.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use banger_api::{
    BuildImage, ExportImage, ExportedImage, ImageView, ImportImage, Line, PruneImages,
    PrunedImages, RenameImage,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::App;
use super::super::reply::Refusal;
use super::super::request::{ImagePath, JsonBody, ReplyMode};
use super::super::work::{ask, work};

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(images, import_image))
        .routes(routes!(image, delete_image))
        .routes(routes!(rename_image))
        .routes(routes!(export_image))
        .routes(routes!(prune_images))
        .routes(routes!(build_image))
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

/// Builds an image from another one: a VM is created from the base, runs the steps and shuts down,
/// and its system disk becomes the image. The VM is deleted at the end. Disconnecting does not
/// cancel the build; killing the VM does.
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
