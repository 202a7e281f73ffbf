//! The connection to the other side of a copy, which is in a guest.

use banger_api::{Code, Error, VmRef};
use banger_copy::{Connection, CopyError, Frame, INTO_ITSELF, Request};

use crate::output::clean;
use crate::session::Session;

/// Opens the connection, and sends the request.
pub(in crate::commands::vm) fn open(
    session: &Session,
    vm: &VmRef,
    paths: &[Vec<u8>],
    request: &Request,
) -> Result<Connection, Error> {
    open_as(session, vm, vm, paths, request)
}

/// The same with the VM that is `addressed`, which errors call `vm`.
pub(in crate::commands::vm) fn open_as(
    session: &Session,
    addressed: &VmRef,
    vm: &VmRef,
    paths: &[Vec<u8>],
    request: &Request,
) -> Result<Connection, Error> {
    let stream = session.daemon()?.copy(addressed).map_err(|error| {
        let is_older = error.report().contains("no streams of this kind");
        if is_older {
            error.hint(format!(
                "its guest program is older and comes anew with a restart: banger vm restart {vm}"
            ))
        } else {
            error
        }
    })?;
    let mut connection = Connection::new(stream.socket, stream.early);
    let json = serde_json::to_vec(request).map_err(|cause| {
        Error::new(Code::Internal, "write the request").cause(cause.to_string())
    })?;
    let mut ask = || {
        for path in paths {
            connection.send(&Frame::Path(path.clone()))?;
        }
        connection.send(&Frame::Request(json.clone()))?;
        connection.flush()?;
        match connection.expect()? {
            Frame::Accepted => Ok(()),
            Frame::Refusal(reason) => Err(CopyError::Stopped(reason)),
            _ => Err(CopyError::Broken("a frame came before the reply")),
        }
    };
    ask().map_err(|error| failed(vm, &error))?;
    Ok(connection)
}

pub(in crate::commands::vm) fn failed(vm: &VmRef, error: &CopyError) -> Error {
    match error {
        CopyError::Stopped(reason) => {
            if let Some(cause) = reason.strip_prefix(INTO_ITSELF) {
                let what = INTO_ITSELF.trim_end_matches(": ");
                return Error::new(Code::Invalid, what).cause(clean(cause));
            }
            Error::new(Code::Guest, format!("copy with `{vm}`")).cause(clean(reason))
        }
        CopyError::Refused(reason) => {
            Error::new(Code::Host, format!("copy with `{vm}`")).cause(reason.as_str())
        }
        CopyError::Lost => Error::new(Code::Guest, "the connection was lost")
            .cause("the VM ended, its guest program restarted, or the daemon stopped")
            .hint("copy again: complete files are there, and large ones continue where they ended"),
        CopyError::Broken(_) => {
            Error::new(Code::Guest, format!("copy with `{vm}`")).cause(error.to_string())
        }
    }
}
