//! The paths, with their descriptions for the OpenAPI document.

mod daemon;
mod guests;
mod images;
mod vms;
mod volumes;

use std::collections::BTreeSet;
use std::sync::Arc;

use banger_api::{Error, Event, LogSource};
use utoipa::OpenApi as _;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::Ref;
use utoipa::openapi::{OpenApi, PathItem, RefOr, Required, Schema};
use utoipa_axum::router::OpenApiRouter;

use super::App;
use super::reply::{
    NDJSON, check_version, name_request, refuse_query, unknown_method, unknown_path,
};

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
    components(schemas(Error, Event, LogSource))
)]
struct Document;

/// The router and its description.
pub(super) fn router(app: App) -> (axum::Router, OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(daemon::router())
        .merge(vms::router())
        .merge(guests::router())
        .merge(volumes::router())
        .merge(images::router())
        .split_for_parts();
    describe_results(&mut document);
    describe_errors(&mut document);
    describe_bodies(&mut document);
    let without_query = Arc::new(paths_without_query(&document));
    let text = document.to_json().unwrap_or_default();
    let app = App {
        document: text.into(),
        ..app
    };
    let router = router
        .method_not_allowed_fallback(unknown_method)
        .fallback(unknown_path)
        .with_state(app)
        .layer(axum::middleware::from_fn_with_state(
            without_query,
            refuse_query,
        ))
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

/// The paths and methods that take no query: `GET /v1/vms`.
fn paths_without_query(document: &OpenApi) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, item) in &document.paths.paths {
        let methods = [
            ("GET", &item.get),
            ("POST", &item.post),
            ("PUT", &item.put),
            ("PATCH", &item.patch),
            ("DELETE", &item.delete),
        ];
        let takes_none = methods.into_iter().filter(|(_, operation)| {
            let has_query = |operation: &Operation| {
                let mut parameters = operation.parameters.iter().flatten();
                parameters
                    .any(|it| matches!(it, RefOr::T(it) if it.parameter_in == ParameterIn::Query))
            };
            operation.as_ref().is_some_and(|it| !has_query(it))
        });
        found.extend(takes_none.map(|(method, _)| format!("{method} {path}")));
    }
    found
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
