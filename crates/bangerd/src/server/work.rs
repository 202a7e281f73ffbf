//! Verbs: each runs on a thread of its own to the end, and its response reports each step.
//!
//! A client that disconnects cancels nothing but copies of disks that are made for it (an export, an
//! import, a clone), of which nothing remains then. Steps pass through a bounded channel that the verb
//! never waits for; those that do not fit are dropped. The outcome has a channel of its own, so it
//! always arrives.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use banger_api::{Code, Error, Line, Result};
use futures_util::stream::{self, StreamExt as _};
use futures_util::{FutureExt as _, TryFutureExt as _};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::App;
use super::reply::{NDJSON, Refusal, line, request_id, streamed};
use super::request::ReplyMode;
use crate::engine::{Engine, ProgressSink};

/// The number of steps that are queued for a slow client. A create has about fifty.
const STEPS: usize = 256;

/// Runs `job`, and responds with its steps and outcome, or with its outcome alone. A failure before
/// the first step is a plain error.
pub(super) async fn work<T, J>(app: &App, mode: ReplyMode, job: J) -> Response
where
    T: Serialize + Send + 'static,
    J: FnOnce(&Engine, ProgressSink<'_>) -> Result<T> + Send + 'static,
{
    let (step, mut steps) = mpsc::channel(STEPS);
    let (done, outcome) = oneshot::channel();
    let engine = app.engine.clone();
    let at_work = app.at_work.clone();
    let id = request_id();
    tokio::task::spawn_blocking(move || {
        let job = || {
            job(&engine, &|progress| {
                let _ = step.try_send(progress);
            })
        };
        let is_gone = {
            let step = step.clone();
            move || step.is_closed()
        };
        let result = engine.for_request(id, || engine.for_client(is_gone, job));
        drop(step);
        // The client may have disconnected.
        let _ = done.send(result);
        drop(at_work);
    });
    let outcome = outcome.unwrap_or_else(|_| Err(lost()));
    let first = match mode {
        ReplyMode::Lines => steps.recv().await,
        ReplyMode::Once => None,
    };
    let Some(first) = first else {
        // The verb sees that the client is there as long as somebody could read its steps.
        let outcome = outcome.await;
        drop(steps);
        return match (outcome, mode) {
            (Err(error), _) => Refusal::from(error).into_response(),
            (Ok(value), ReplyMode::Once) => Json(value).into_response(),
            (Ok(value), ReplyMode::Lines) => {
                let only = line(&Line::Result(value));
                streamed(NDJSON, stream::iter([only]))
            }
        };
    };
    let steps = stream::unfold(steps, |mut steps| async move {
        Some((steps.recv().await?, steps))
    });
    let lines = stream::iter([first]).chain(steps);
    let lines = lines.map(|progress| line(&Line::<T>::Progress(progress)));
    let last = outcome.map(|outcome| match outcome {
        Ok(value) => line(&Line::Result(value)),
        Err(error) => line(&Line::<T>::Error(error)),
    });
    streamed(NDJSON, lines.chain(stream::once(last)))
}

/// The thread ended without an outcome: it panicked.
fn lost() -> Error {
    Error::new(
        Code::Internal,
        "the work broke off, which is a fault in banger",
    )
    .hint("see what happened: banger daemon logs --level error")
}

/// Runs a short job that may block, such as one that takes a lock.
pub(super) async fn ask<T, J>(app: &App, job: J) -> Result<T>
where
    T: Send + 'static,
    J: FnOnce(&Engine) -> T + Send + 'static,
{
    let engine = app.engine.clone();
    let id = request_id();
    tokio::task::spawn_blocking(move || engine.for_request(id, || job(&engine)))
        .await
        .map_err(|_| lost())
}
