//! What a request brings: a JSON body, and a VM's reference in the path.

use std::time::Duration;

use axum::body::{Bytes, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use banger_api::{Code, Error, LogsQuery, VmRef};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::reply::Refusal;

/// The largest body that is read, in bytes.
const LARGEST: usize = 1 << 20;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// The request's JSON body; an empty one asks for the defaults.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        Ok(Self(parse(&collect(request).await?)?))
    }
}

async fn collect(request: Request) -> Result<Bytes, Refusal> {
    let body = request.into_body();
    let too_large = || {
        let error = Error::new(Code::Invalid, "the request is larger than 1 MiB");
        Refusal::with_status(error, StatusCode::PAYLOAD_TOO_LARGE)
    };
    // One that announces its length is refused before it sends.
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
    let mut json = serde_json::Deserializer::from_slice(body);
    let understood = serde_path_to_error::deserialize(&mut json);
    let not_understood = |what: String| {
        Error::new(Code::Invalid, "the request's body is not understood")
            .cause(what)
            .hint("what each request takes is described by GET /v1/openapi.json")
    };
    let value = understood.map_err(|cause| {
        let place = cause.path().to_string();
        let what = cause.into_inner().to_string();
        not_understood(if place == "." {
            what
        } else {
            format!("`{place}`: {what}")
        })
    })?;
    json.end()
        .map_err(|cause| not_understood(cause.to_string()))?;
    Ok(value)
}

/// The VM that the path names.
#[derive(Debug)]
pub(super) struct Named(pub(super) VmRef);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let invalid = |what: String| Refusal::from(Error::new(Code::Invalid, what));
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|cause| invalid(format!("read the path: {}", cause.body_text())))?;
        Ok(Self(text.parse().map_err(
            |cause: banger_api::InvalidName| invalid(cause.to_string()),
        )?))
    }
}

/// What is asked of a console.
#[derive(Debug)]
pub(super) struct Console(pub(super) LogsQuery);

impl<S: Send + Sync> FromRequestParts<S> for Console {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Query(query) = Query::from_request_parts(parts, state)
            .await
            .map_err(|cause| {
                Error::new(Code::Invalid, "the request's query is not understood")
                    .cause(cause.body_text())
                    .hint("it takes follow=true or follow=false")
            })?;
        Ok(Self(query))
    }
}

#[cfg(test)]
mod tests {
    use banger_api::CreateVm;

    use super::*;

    fn told(body: &str) -> String {
        let error = parse::<CreateVm>(body.as_bytes()).unwrap_err();
        assert_eq!(error.code, Code::Invalid);
        error.causes.join(": ")
    }

    #[test]
    fn an_empty_body_asks_for_the_defaults() {
        assert_eq!(parse::<CreateVm>(b"").unwrap(), CreateVm::default());
        assert_eq!(parse::<CreateVm>(b" \n").unwrap(), CreateVm::default());
        assert_eq!(parse::<CreateVm>(b"{}").unwrap(), CreateVm::default());
    }

    #[test]
    fn a_body_that_is_not_understood_is_told_with_field_line_and_column() {
        let told = |body| told(body);
        assert_eq!(
            told("{\n  \"vcpu\": \"two\"\n}"),
            "`vcpu`: invalid type: string \"two\", expected u32 at line 2 column 15"
        );
        assert!(told("{\"vcpus\": 2}").contains("unknown field `vcpus`, expected one of `name`"));
        assert!(told("{\"vcpus\": 2}").contains("line 1 column 8"));
        assert!(told("{\"nat\": true,}").contains("line 1 column 14"));
        assert!(told("{} {}").contains("trailing characters at line 1 column 4"));
        assert!(told("[").contains("line 1 column 1"));
        assert!(told(&"[".repeat(10_000)).contains("line 1"));
    }
}
