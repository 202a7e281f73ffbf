//! Connections to ports and sockets of guests. The engine copies the bytes and interprets none of
//! them.

use axum::extract::Request;
use axum::response::Response;
use banger_api::forward::UPGRADE;
use banger_api::{Code, ConnectQuery, Error, VmRef};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::reply::Refusal;
use super::work::ask;
use super::{App, upgrade};

/// Connects to the guest, and passes the connection to the client.
pub(super) async fn connect(
    app: App,
    vm: VmRef,
    query: ConnectQuery,
    mut request: Request,
) -> Result<Response, Refusal> {
    let upgraded = upgrade::take(&mut request, UPGRADE, "banger vm forward NAME PORT")?;
    let to = query
        .endpoint()
        .map_err(|wrong| Error::new(Code::Invalid, wrong))?;
    let connection = ask(&app, move |engine| engine.connect(&vm, &to)).await??;
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
