//! Commands and jobs in a guest. The server copies the bytes both ways and interprets none of them.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use banger_api::exec::UPGRADE;
use banger_api::{Code, Error, Result};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, copy_buf, split};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use super::reply::Refusal;
use super::work::ask;
use super::{App, upgrade};
use crate::engine::Engine;

/// The number of simultaneous commands.
pub(super) const COMMANDS: usize = 256;

/// The bytes that are copied at once in each direction.
const PIECE: usize = 64 << 10;

/// Opens a stream to the guest, and passes the connection to it.
pub(super) async fn hand_over(
    app: App,
    mut request: Request,
    open: impl FnOnce(&Engine) -> Result<std::os::unix::net::UnixStream> + Send + 'static,
) -> std::result::Result<Response, Refusal> {
    let upgrade = upgrade::take(&mut request, UPGRADE, "banger vm exec NAME -- COMMAND")?;
    let permit = Semaphore::try_acquire_owned(Arc::clone(&app.commands)).map_err(|_| {
        Error::new(Code::Busy, format!("{COMMANDS} commands run already"))
            .hint("wait until some of them have ended")
    })?;
    let stream = ask(&app, open).await??;
    let guest = stream
        .set_nonblocking(true)
        .and_then(|()| UnixStream::from_std(stream))
        .map_err(|cause| {
            Error::new(Code::Internal, "use the guest's stream").cause(cause.to_string())
        })?;
    let shutdown = app.shutdown.clone();
    tokio::spawn(async move {
        if let Ok(client) = upgrade.await {
            tokio::select! {
                () = shutdown.begun() => {}
                () = relay(TokioIo::new(client), guest) => {}
            }
        }
        drop(permit);
    });
    Ok(upgrade::response(UPGRADE))
}

/// Copies both ways until either side has ended: a client that disconnects ends its command, and a
/// guest that ends its stream has sent everything.
async fn relay(client: impl AsyncRead + AsyncWrite, guest: UnixStream) {
    let (from_client, mut to_client) = split(client);
    let (from_guest, mut to_guest) = guest.into_split();
    let mut from_client = BufReader::with_capacity(PIECE, from_client);
    let mut from_guest = BufReader::with_capacity(PIECE, from_guest);
    tokio::select! {
        _ = copy_buf(&mut from_client, &mut to_guest) => {}
        _ = copy_buf(&mut from_guest, &mut to_client) => {}
    }
    let _ = to_client.shutdown().await;
}
