//! Streamed responses: events, and followed consoles.
//!
//! A stream ends when the client disconnects or the daemon stops; otherwise it would keep the
//! daemon from stopping (axum#2673). Each stream has a permit and its own thread, so that a slow
//! client delays no other, and streams do not use the threads that verbs need.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::response::Response;
use banger_api::{Code, Error, LogsQuery, Result, VmRef};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::App;
use super::reply::{NDJSON, line, streamed};
use super::work::ask;
use crate::engine::{CHUNK, ConsoleChunk, Engine};

/// The number of simultaneous streams.
pub(super) const STREAMS: usize = 128;

/// The number of chunks that are queued for a slow client before its reader blocks.
const PIECES: usize = 4;

/// The interval at which an idle stream checks that its client is still connected.
const LOOK: Duration = Duration::from_secs(1);

pub(super) fn permit(app: &App) -> Result<OwnedSemaphorePermit> {
    Semaphore::try_acquire_owned(Arc::clone(&app.streams)).map_err(|_| {
        Error::new(
            Code::Busy,
            format!("{STREAMS} clients follow events and consoles already"),
        )
        .hint("end some of them")
    })
}

/// A response of the chunks that `read` sends from its own thread, until it returns or the daemon
/// stops.
fn answer(
    app: &App,
    kind: &'static str,
    read: impl FnOnce(&Engine, &mpsc::Sender<Bytes>) + Send + 'static,
) -> Result<Response> {
    let permit = permit(app)?;
    let (piece, pieces) = mpsc::channel(PIECES);
    let engine = Arc::clone(&app.engine);
    tokio::task::spawn_blocking(move || {
        read(&engine, &piece);
        drop(permit);
    });
    let state = (pieces, app.shutdown.clone());
    Ok(streamed(
        kind,
        stream::unfold(state, |(mut pieces, shutdown)| async move {
            let piece = tokio::select! {
                () = shutdown.begun() => return None,
                piece = pieces.recv() => piece?,
            };
            Some((piece, (pieces, shutdown)))
        }),
    ))
}

/// The events after `since`, or a snapshot and the events after it.
pub(super) fn events(app: &App, since: Option<u64>) -> Result<Response> {
    answer(app, NDJSON, move |engine, piece| {
        let mut since = since;
        while !piece.is_closed() && !engine.is_stopping() {
            for event in engine.events(since, LOOK) {
                since = Some(event.seq);
                if piece.blocking_send(line(&event)).is_err() {
                    return;
                }
            }
        }
    })
}

/// A log of a VM so far, and with `follow` its further output until the VM stops.
pub(super) async fn logs(app: &App, vm: VmRef, query: LogsQuery) -> Result<Response> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let LogsQuery { follow, source } = query;
    let asked = vm.clone();
    let first = ask(app, move |engine| engine.logs(&asked, source, None)).await??;
    if is_all(&first, follow) {
        return Ok(streamed(
            TEXT,
            stream::once(async move { first.bytes.into() }),
        ));
    }
    answer(app, TEXT, move |engine, piece| {
        let next = |from| engine.logs(&vm, source, Some(from));
        read_on(next, follow, first, piece);
    })
}

/// Whether this chunk is the last one. Without `follow`, a live console ends at its current size:
/// otherwise a guest that prints endlessly would never reach the end.
fn is_all(chunk: &ConsoleChunk, follow: bool) -> bool {
    chunk.bytes.len() < CHUNK && !(follow && chunk.live)
}

/// Sends the chunk and all later ones, until the client disconnects.
fn read_on(
    read: impl Fn(u64) -> Result<ConsoleChunk>,
    follow: bool,
    first: ConsoleChunk,
    piece: &mpsc::Sender<Bytes>,
) {
    let mut chunk = first;
    loop {
        let (next, is_all) = (chunk.next, is_all(&chunk, follow));
        if !chunk.bytes.is_empty() && piece.blocking_send(chunk.bytes.into()).is_err() {
            return;
        }
        if is_all || piece.is_closed() {
            return;
        }
        match read(next) {
            Ok(more) => chunk = more,
            // The VM was deleted meanwhile.
            Err(_) => return,
        }
    }
}
