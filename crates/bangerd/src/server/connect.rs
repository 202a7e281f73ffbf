//! A connection to a port or a socket of a guest, or from one. The engine copies the bytes and
//! reads none of them.

use axum::extract::Request;
use axum::response::Response;
use banger_api::Result;
use banger_api::forward::UPGRADE;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::reply::Refusal;
use super::work::ask;
use super::{App, upgrade};
use crate::engine::{Connection, Engine};

/// Connects to the guest, or has it listen or accept, and hands the connection over. A request
/// without its upgrade is told so before `open` judges its query.
pub(super) async fn connect(
    app: App,
    mut request: Request,
    open: impl FnOnce(&Engine) -> Result<Connection> + Send + 'static,
) -> std::result::Result<Response, Refusal> {
    let upgraded = upgrade::take(&mut request, UPGRADE, "banger vm forward NAME PORT")?;
    let connection = ask(&app, open).await??;
    let shutdown = app.shutdown.clone();
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else {
            return;
        };
        let Ok(parts) = upgraded.downcast::<TokioIo<UnixStream>>() else {
            return;
        };
        let client = parts.io.into_inner().into_std();
        let Ok((client, spare)) = client.and_then(|it| it.try_clone().map(|spare| (it, spare)))
        else {
            return;
        };
        let (ends, ended) = oneshot::channel();
        let early = parts.read_buf.to_vec();
        // Without a thread the client sees the end of its connection.
        let carried = connection.carry(client, early, move || {
            let _ = ends.send(());
        });
        if carried.is_ok() {
            tokio::select! {
                () = shutdown.begun() => {}
                _ = ended => {}
            }
        }
        let _ = spare.shutdown(std::net::Shutdown::Both);
    });
    Ok(upgrade::response(UPGRADE))
}
