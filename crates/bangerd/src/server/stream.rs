//! Answers without an end: events, and followed consoles.
//!
//! Each ends when the client goes or the daemon stops; one that did not would keep the daemon from
//! stopping for ever (axum#2673). Each takes a permit and has a thread of its own, so that a slow
//! client holds up nobody, and streams never take the threads that verbs need.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::response::Response;
use banger_api::{Code, Error, Result, VmRef};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::App;
use super::reply::{NDJSON, line, streamed};
use super::work::ask;
use crate::engine::{CHUNK, ConsoleChunk, Engine};

/// How many streams may be open at once.
pub(super) const STREAMS: usize = 128;

/// How many pieces may wait for a slow client before the thread that reads for it waits, too.
const PIECES: usize = 4;

/// How often a stream that has nothing to send looks whether its client is still there.
const LOOK: Duration = Duration::from_secs(1);

fn permit(app: &App) -> Result<OwnedSemaphorePermit> {
    Semaphore::try_acquire_owned(Arc::clone(&app.streams)).map_err(|_| {
        Error::new(
            Code::Busy,
            format!("{STREAMS} clients follow events and consoles already"),
        )
        .hint("end some of them")
    })
}

/// An answer of what `read` sends from a thread of its own, until it returns or the daemon stops.
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

/// The events after `since`, or a snapshot and all that follow.
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

/// What a guest printed, and with `follow` what it prints from now on until its VM stops.
pub(super) async fn console(app: &App, vm: VmRef, follow: bool) -> Result<Response> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let asked = vm.clone();
    let first = ask(app, move |engine| engine.console(&asked, None)).await??;
    if is_all(&first, follow) {
        return Ok(streamed(
            TEXT,
            stream::once(async move { first.bytes.into() }),
        ));
    }
    answer(app, TEXT, move |engine, piece| {
        read_on(engine, &vm, follow, first, piece);
    })
}

/// Whether nothing comes after this chunk. Of a live VM's console, what comes next is only asked
/// for when it is followed: a guest that prints without end would never be at its end.
fn is_all(chunk: &ConsoleChunk, follow: bool) -> bool {
    chunk.bytes.len() < CHUNK && !(follow && chunk.live)
}

/// Sends the chunk and all that come after it, until the client is gone.
fn read_on(
    engine: &Engine,
    vm: &VmRef,
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
        match engine.console(vm, Some(next)) {
            Ok(more) => chunk = more,
            // Deleted meanwhile; what was there has been sent.
            Err(_) => return,
        }
    }
}
