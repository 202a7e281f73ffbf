//! Requests that upgrade their connection (RFC 9110, 7.8).

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use banger_api::{Code, Error, Result};
use hyper::upgrade::OnUpgrade;

/// The upgrade of the connection, if the request asks for `protocol`. `command` is the one for a
/// person to type instead.
pub(super) fn take(request: &mut Request, protocol: &str, command: &str) -> Result<OnUpgrade> {
    let wanted = request.headers().get(header::UPGRADE);
    let is_ours = wanted.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(protocol.as_bytes()));
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    upgrade.filter(|_| is_ours).ok_or_else(|| {
        Error::new(
            Code::Conflict,
            format!(
                "this request needs the headers `connection: upgrade` and `upgrade: {protocol}`"
            ),
        )
        .hint(format!("for a command line: {command}"))
    })
}

/// The response that switches the protocol.
pub(super) fn response(protocol: &'static str) -> Response {
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, protocol)];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}
