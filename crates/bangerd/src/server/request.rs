//! The parts of a request: a JSON body, a VM's reference in the path, a query.

use std::convert::Infallible;
use std::str::FromStr;
use std::time::Duration;

use axum::body::{Bytes, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::Response;
use banger_api::{Code, Error, ImageName, InvalidName, JobRef, VmRef, VolumeName};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::App;
use super::reply::{NDJSON, Refusal};
use super::work::work;
use crate::engine::{Engine, ProgressSink};

/// The largest body that is read, in bytes.
const LARGEST: usize = 1 << 20;

/// The hint to the description of requests.
const DESCRIBED: &str = "for the fields of each request see GET /v1/openapi.json";

/// Timeout for the body of a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// The request's JSON body; an empty one means the defaults.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        Ok(Self(parse(&collect(request).await?)?))
    }
}

async fn collect(request: Request) -> Result<Bytes, Refusal> {
    if let Some(encoding) = request.headers().get(header::CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        let error = Error::new(
            Code::Invalid,
            format!("the request's body is encoded, as {encoding:?}"),
        )
        .hint("send it as plain JSON, without `content-encoding`");
        return Err(Refusal::with_status(
            error,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ));
    }
    let body = request.into_body();
    let too_large = || {
        let error = Error::new(Code::Invalid, "the request is larger than 1 MiB");
        Refusal::with_status(error, StatusCode::PAYLOAD_TOO_LARGE)
    };
    // A body that announces a larger size is rejected before it is read.
    if body.size_hint().lower() > LARGEST as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(PATIENCE, Limited::new(body, LARGEST).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(cause)) if cause.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(cause)) => Err(Error::new(Code::Invalid, "read the request")
            .cause(cause.to_string())
            .into()),
        Err(_) => {
            let error = Error::new(
                Code::Invalid,
                "the request did not arrive within 30 seconds",
            );
            Err(Refusal::with_status(error, StatusCode::REQUEST_TIMEOUT))
        }
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let body = if body.trim_ascii().is_empty() {
        b"{}"
    } else {
        body
    };
    let not_understood = |what: String| {
        Error::new(Code::Invalid, "the request's body is not understood")
            .cause(what)
            .hint(DESCRIBED)
    };
    let wrong = match read(body) {
        Ok(value) => return Ok(value),
        Err(wrong) => wrong,
    };
    // JSON has one type of numbers, so 2.0 is an integer; the first attempt has the better error.
    if let Ok(mut json) = serde_json::from_slice(body)
        && make_whole(&mut json)
        && let Ok(value) = read(json.to_string().as_bytes())
    {
        return Ok(value);
    }
    Err(not_understood(wrong))
}

/// Parses an object; serde would also accept a list of values.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|cause| {
        let place = cause.path().to_string();
        let what = cause.into_inner().to_string();
        if place == "." {
            what
        } else {
            format!("`{place}`: {what}")
        }
    })?;
    json.end().map_err(|cause| cause.to_string())?;
    if body.trim_ascii().starts_with(b"{") {
        Ok(value)
    } else {
        Err("it is not an object, such as {}".to_owned())
    }
}

/// Converts integral numbers such as 2.0 to integers, in nested objects and lists, too. Returns
/// whether there was one; without one, what serde rejects stays rejected, such as a repeated key.
fn make_whole(json: &mut Value) -> bool {
    // Every item is visited.
    let any = |found: bool, item: &mut Value| make_whole(item) | found;
    match json {
        Value::Object(fields) => fields.values_mut().fold(false, any),
        Value::Array(items) => items.iter_mut().fold(false, any),
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|it| it.fract() == 0.0);
            // Above 2^53 a fraction could not be represented.
            let whole = whole.filter(|it| (0.0..=9_007_199_254_740_992.0).contains(it));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "in range and whole, as was just looked at"
            )]
            let whole = whole.map(|it| it as u64);
            whole.is_some_and(|whole| {
                *json = whole.into();
                true
            })
        }
        _ => false,
    }
}

/// The VM in the path.
#[derive(Debug)]
pub(super) struct VmPath(pub(super) VmRef);

impl<S: Send + Sync> FromRequestParts<S> for VmPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        name_in_path(parts, state).await.map(Self)
    }
}

/// The VM and the job in the path.
#[derive(Debug)]
pub(super) struct JobPath(pub(super) VmRef, pub(super) JobRef);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let invalid = |what: String| Refusal::from(Error::new(Code::Invalid, what));
        let Path((vm, job)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|cause| invalid(format!("read the path: {}", cause.body_text())))?;
        let vm = vm
            .parse()
            .map_err(|cause: InvalidName| invalid(cause.to_string()))?;
        let job = job
            .parse()
            .map_err(|cause: InvalidName| invalid(cause.to_string()))?;
        Ok(Self(vm, job))
    }
}

/// The image in the path.
#[derive(Debug)]
pub(super) struct ImagePath(pub(super) ImageName);

impl<S: Send + Sync> FromRequestParts<S> for ImagePath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        name_in_path(parts, state).await.map(Self)
    }
}

/// The volume in the path.
#[derive(Debug)]
pub(super) struct VolumePath(pub(super) VolumeName);

impl<S: Send + Sync> FromRequestParts<S> for VolumePath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        name_in_path(parts, state).await.map(Self)
    }
}

/// Parses the name in the path.
async fn name_in_path<S: Send + Sync, N>(parts: &mut Parts, state: &S) -> Result<N, Refusal>
where
    N: FromStr<Err = InvalidName>,
{
    let invalid = |what: String| Refusal::from(Error::new(Code::Invalid, what));
    let Path(text) = Path::<String>::from_request_parts(parts, state)
        .await
        .map_err(|cause| invalid(format!("read the path: {}", cause.body_text())))?;
    text.parse()
        .map_err(|cause: N::Err| invalid(cause.to_string()))
}

/// The form of a verb's response that a client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplyMode {
    /// One line per step, and the outcome as the last line.
    Lines,
    /// The outcome alone, with its status.
    Once,
}

impl<S: Send + Sync> FromRequestParts<S> for ReplyMode {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let accepted = parts.headers.get_all(header::ACCEPT);
        let accepted = accepted.iter().filter_map(|value| value.to_str().ok());
        Ok(preferred(accepted))
    }
}

/// `Once` if the client prefers JSON to JSON lines (RFC 9110, 12.5.1). A client that accepts
/// everything, such as curl, gets lines.
fn preferred<'a>(accepted: impl Iterator<Item = &'a str>) -> ReplyMode {
    let (mut once, mut lines) = (0.0_f32, 0.0_f32);
    for range in accepted.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts
            .find_map(|it| it.strip_prefix("q=").or_else(|| it.strip_prefix("Q=")))
            .map_or(Some(1.0), |quality| quality.trim().parse().ok())
            .filter(|quality: &f32| (0.0..=1.0).contains(quality))
            .unwrap_or(0.0);
        match name.as_str() {
            "application/json" => once = once.max(quality),
            NDJSON => lines = lines.max(quality),
            _ => {}
        }
    }
    if once > lines {
        ReplyMode::Once
    } else {
        ReplyMode::Lines
    }
}

/// The query of a path.
#[derive(Debug)]
pub(super) struct UrlQuery<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for UrlQuery<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Query(query) = Query::from_request_parts(parts, state)
            .await
            .map_err(|cause| {
                Error::new(Code::Invalid, "the request's query is not understood")
                    .cause(cause.body_text())
                    .hint(DESCRIBED)
            })?;
        Ok(Self(query))
    }
}

/// A request for a verb on one VM.
pub(super) struct VmRequest<T> {
    app: App,
    mode: ReplyMode,
    vm: VmRef,
    body: T,
}

impl<T: DeserializeOwned> FromRequest<App> for VmRequest<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let (mut parts, body) = request.into_parts();
        let VmPath(vm) = VmPath::from_request_parts(&mut parts, app).await?;
        let Ok(mode) = ReplyMode::from_request_parts(&mut parts, app).await;
        let request = Request::from_parts(parts, body);
        let JsonBody(body) = JsonBody::from_request(request, app).await?;
        Ok(Self {
            app: app.clone(),
            mode,
            vm,
            body,
        })
    }
}

impl<T: Send + 'static> VmRequest<T> {
    /// Runs the verb in the engine, and responds.
    pub(super) async fn work<R: Serialize + Send + 'static>(
        self,
        verb: fn(&Engine, &VmRef, &T, ProgressSink<'_>) -> Result<R, Error>,
    ) -> Response {
        let (vm, body) = (self.vm, self.body);
        let job =
            move |engine: &Engine, progress: ProgressSink<'_>| verb(engine, &vm, &body, progress);
        work(&self.app, self.mode, job).await
    }
}

#[cfg(test)]
mod tests;
