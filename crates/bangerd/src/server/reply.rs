//! The form of every response: JSON, the API's version in a header, errors with their status.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use banger_api::{API_HEADER, API_VERSION, Code, Error, REQUEST_HEADER};
use futures_util::Stream;
use serde::Serialize;

/// Newline-delimited JSON (<https://github.com/ndjson/ndjson-spec>).
pub(super) const NDJSON: &str = "application/x-ndjson";

/// An error as a response.
#[derive(Debug)]
pub(super) struct Refusal {
    error: Error,
    status: StatusCode,
}

impl Refusal {
    /// The error, with another status than that of its code.
    pub(super) fn with_status(error: Error, status: StatusCode) -> Self {
        Self { error, status }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error.code {
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::Invalid => StatusCode::BAD_REQUEST,
            Code::Conflict | Code::Busy => StatusCode::CONFLICT,
            Code::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            Code::Host | Code::Guest | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { error, status }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.error)).into_response()
    }
}

/// One line of newline-delimited JSON.
pub(super) fn line(value: &impl Serialize) -> Bytes {
    // Only the API's types are sent, whose keys are all strings: serialization cannot fail.
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

/// A response with a streamed body.
pub(super) fn streamed(
    kind: &'static str,
    pieces: impl Stream<Item = Bytes> + Send + 'static,
) -> Response {
    let pieces = futures_util::StreamExt::map(pieces, Ok::<_, Infallible>);
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response()
}

tokio::task_local! {
    /// The id of the current request.
    static REQUEST: String;
}

/// The id of the current request.
pub(super) fn request_id() -> Option<String> {
    REQUEST.try_with(Clone::clone).ok()
}

/// Serves the request under the client's request id or a generated one, and adds the id to the
/// response.
pub(super) async fn name_request(request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST_HEADER);
    let given = given.and_then(|it| it.to_str().ok()).filter(|it| is_id(it));
    let id = given.map_or_else(own_id, str::to_owned);
    let mut answer = REQUEST.scope(id.clone(), next.run(request)).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert(REQUEST_HEADER, id);
    }
    answer
}

fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// A generated request id, unique for one run of the daemon.
fn own_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    format!("own-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Adds the API's version to every response, and rejects requests that name another one.
///
/// Any client may read the version and the daemon's state and stop the daemon, so that a new client
/// can replace an old daemon.
pub(super) async fn check_version(request: Request, next: Next) -> Response {
    let ours = API_VERSION.to_string();
    let theirs = request.headers().get(API_HEADER);
    let differs = theirs.is_some_and(|theirs| theirs != ours.as_str());
    let path = request.uri().path();
    let is_unversioned = match path {
        "/v1/version" | "/v1/daemon" => true,
        "/v1/daemon/stop" => request.method() == Method::POST,
        _ => false,
    };
    let mut answer = if differs && !is_unversioned {
        let theirs = theirs.map(|theirs| String::from_utf8_lossy(theirs.as_bytes()));
        let theirs: String = theirs.unwrap_or_default().chars().take(20).collect();
        Refusal::from(
            Error::new(
                Code::Conflict,
                format!("the client uses version {theirs:?} of the API, the daemon version {ours}"),
            )
            .hint("stop this daemon (VMs keep running), then repeat: banger daemon stop"),
        )
        .into_response()
    } else {
        next.run(request).await
    };
    answer
        .headers_mut()
        .insert(API_HEADER, HeaderValue::from(API_VERSION));
    answer
}

/// Rejects a query where none is read, so that a misplaced field, such as `?force=true`, is not
/// ignored.
pub(super) async fn refuse_query(
    State(without_query): State<Arc<BTreeSet<String>>>,
    request: Request,
    next: Next,
) -> Response {
    let query = request.uri().query().filter(|it| !it.is_empty());
    let path = request.extensions().get::<MatchedPath>();
    let (Some(query), Some(path)) = (query, path) else {
        return next.run(request).await;
    };
    let method = match request.method() {
        &Method::HEAD => &Method::GET,
        method => method,
    };
    let path = path.as_str();
    if !without_query.contains(&format!("{method} {path}")) {
        return next.run(request).await;
    }
    let what = format!("{method} `{path}` takes no query: `{}`", excerpt(query));
    let error =
        Error::new(Code::Invalid, what).hint("the fields of each request: GET /v1/openapi.json");
    Refusal::from(error).into_response()
}

/// The response for an unknown path.
pub(super) async fn unknown_path(request: Request) -> Refusal {
    Error::new(
        Code::NotFound,
        format!("unknown path `{}`", excerpt(request.uri().path())),
    )
    .hint("all paths: GET /v1/openapi.json")
    .into()
}

/// The response for an unsupported method of a path.
pub(super) async fn unknown_method(request: Request) -> Refusal {
    let what = format!(
        "`{}` does not support {}",
        excerpt(request.uri().path()),
        request.method()
    );
    let error =
        Error::new(Code::Invalid, what).hint("the methods of each path: GET /v1/openapi.json");
    Refusal::with_status(error, StatusCode::METHOD_NOT_ALLOWED)
}

fn excerpt(path: &str) -> String {
    path.chars().take(120).collect()
}
