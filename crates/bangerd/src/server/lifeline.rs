//! Connections that guard temporary VMs. Their only content is that they are open.

use axum::extract::Request;
use axum::response::Response;
use banger_api::VmRef;
use banger_api::lifeline::UPGRADE;
use hyper_util::rt::TokioIo;
use tokio::io::{copy, sink};

use super::reply::Refusal;
use super::work::ask;
use super::{App, stream, upgrade};

/// Guards a VM while the connection is open.
pub(super) async fn hold(
    app: App,
    mut request: Request,
    vm: VmRef,
) -> std::result::Result<Response, Refusal> {
    let upgrade = upgrade::take(&mut request, UPGRADE, "banger vm run --rm -- COMMAND")?;
    let permit = stream::permit(&app)?;
    let lifeline = ask(&app, move |engine| engine.lifeline(&vm)).await??;
    let shutdown = app.shutdown.clone();
    tokio::spawn(async move {
        if let Ok(client) = upgrade.await {
            let (mut client, mut nothing) = (TokioIo::new(client), sink());
            tokio::select! {
                () = shutdown.begun() => lifeline.leave_to_the_next(),
                _ = copy(&mut client, &mut nothing) => drop(lifeline),
            }
        }
        drop(permit);
    });
    Ok(upgrade::response(UPGRADE))
}
