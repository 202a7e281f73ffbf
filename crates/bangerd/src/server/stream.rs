//! Answers without an end: the events, and a console that is followed.
//!
//! Each ends when the client goes or the daemon stops; one that did not would keep the daemon from
//! stopping for ever (axum#2673). Each takes one of a bounded number of places, so that streams
//! never take the threads that verbs need.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use axum::body::Bytes;
use axum::response::Response;
use banger_api::{Code, Error, Event, Result, VmRef};
use futures_util::stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc};

use super::App;
use super::reply::{NDJSON, line, streamed};
use super::verbs::{ConsoleChunk, PIECE, Verbs};
use super::work::ask;

/// How many streams may be open at once.
pub(super) const STREAMS: usize = 128;

/// How many events may wait for a slow client before it misses the oldest.
const EVENTS: usize = 256;

/// How many pieces of a console may wait for a slow client before its reader waits too.
const PIECES: usize = 4;

/// Hands the engine's events to all clients; ends when the engine does.
pub(super) fn spread(events: Receiver<Event>) -> std::io::Result<broadcast::Sender<Event>> {
    let (sender, _) = broadcast::channel(EVENTS);
    let to_all = sender.clone();
    std::thread::Builder::new()
        .name("events".to_owned())
        .spawn(move || {
            while let Ok(event) = events.recv() {
                // With nobody there, nobody misses it.
                let _ = to_all.send(event);
            }
        })?;
    Ok(sender)
}

fn place(app: &App) -> Result<OwnedSemaphorePermit> {
    Semaphore::try_acquire_owned(Arc::clone(&app.streams)).map_err(|_| {
        Error::new(
            Code::Busy,
            format!("{STREAMS} clients follow events and consoles already"),
        )
        .hint("end some of them")
    })
}

/// All events from now on.
pub(super) fn events(app: &App) -> Result<Response> {
    let place = place(app)?;
    let state = (app.events.subscribe(), app.stop.clone(), place);
    Ok(streamed(
        NDJSON,
        stream::unfold(state, |(mut events, stop, place)| async move {
            let event = tokio::select! {
                () = stop.heard() => return None,
                event = events.recv() => match event {
                    Ok(event) => event,
                    Err(RecvError::Lagged(missed)) => Event::Missed(missed),
                    Err(RecvError::Closed) => return None,
                },
            };
            Some((line(&event), (events, stop, place)))
        }),
    ))
}

/// What a guest printed, and with `follow` what it prints from now on until its VM stops.
pub(super) async fn console(app: &App, vm: VmRef, follow: bool) -> Result<Response> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let asked = vm.clone();
    let first = ask(app, move |verbs| verbs.console(&asked, None)).await??;
    if is_all(&first, follow) {
        return Ok(streamed(
            TEXT,
            stream::once(async move { first.bytes.into() }),
        ));
    }
    let place = place(app)?;
    let (piece, pieces) = mpsc::channel(PIECES);
    let verbs = Arc::clone(&app.verbs);
    tokio::task::spawn_blocking(move || {
        read_on(&*verbs, &vm, follow, first, &piece);
        drop(place);
    });
    Ok(streamed(
        TEXT,
        stream::unfold(
            (pieces, app.stop.clone()),
            |(mut pieces, stop)| async move {
                let piece = tokio::select! {
                    () = stop.heard() => return None,
                    piece = pieces.recv() => piece?,
                };
                Some((piece, (pieces, stop)))
            },
        ),
    ))
}

/// Whether nothing comes after this chunk. Of a live VM's console, what comes next is only asked
/// for when it is followed: a guest that prints without end would never be at its end.
fn is_all(chunk: &ConsoleChunk, follow: bool) -> bool {
    chunk.bytes.len() < PIECE && !(follow && chunk.live)
}

/// Sends the chunk and all that come after it, until the client is gone.
fn read_on(
    verbs: &dyn Verbs,
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
        match verbs.console(vm, Some(next)) {
            Ok(more) => chunk = more,
            // Deleted meanwhile; what was there has been sent.
            Err(_) => return,
        }
    }
}
