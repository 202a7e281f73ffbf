//! Long work: a thread of its own that runs to the end, and an answer that tells of each step.
//!
//! The client may go at any time; the work does not notice. Steps are told through a bounded
//! channel that is never waited for, and what does not fit is left out. The outcome has a channel
//! of its own, so it always arrives.

use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use banger_api::{Code, Error, Line, Result};
use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::App;
use super::reply::{NDJSON, Refusal, line, streamed};
use super::request::ReplyMode;
use crate::engine::{Engine, ProgressSink};

/// How many steps may wait for a slow client. A create has about fifty.
const STEPS: usize = 256;

/// Runs `job` and answers with its steps and its outcome, or with its outcome alone. What is refused
/// before the first step is a plain error.
pub(super) async fn work<T, J>(app: &App, mode: ReplyMode, job: J) -> Response
where
    T: Serialize + Send + 'static,
    J: FnOnce(&Engine, ProgressSink<'_>) -> Result<T> + Send + 'static,
{
    let (step, mut steps) = mpsc::channel(STEPS);
    let (done, outcome) = oneshot::channel();
    let engine = app.engine.clone();
    let at_work = app.at_work.clone();
    tokio::task::spawn_blocking(move || {
        let result = job(&engine, &|progress| {
            let _ = step.try_send(progress);
        });
        drop(step);
        // Nobody may be there to hear it.
        let _ = done.send(result);
        drop(at_work);
    });
    if mode == ReplyMode::Once {
        drop(steps);
        return match outcome.await.unwrap_or_else(|_| Err(lost())) {
            Ok(value) => Json(value).into_response(),
            Err(error) => Refusal::from(error).into_response(),
        };
    }
    let Some(first) = steps.recv().await else {
        return match outcome.await.unwrap_or_else(|_| Err(lost())) {
            Ok(value) => streamed(
                NDJSON,
                stream::once(async move { line(&Line::Result(value)) }),
            ),
            Err(error) => Refusal::from(error).into_response(),
        };
    };
    let lines = stream::once(async move { first })
        .chain(stream::unfold(steps, |mut steps| async move {
            Some((steps.recv().await?, steps))
        }))
        .map(|progress| line(&Line::<T>::Progress(progress)));
    streamed(NDJSON, lines.chain(stream::once(last(outcome))))
}

async fn last<T: Serialize>(outcome: oneshot::Receiver<Result<T>>) -> Bytes {
    line(&match outcome.await.unwrap_or_else(|_| Err(lost())) {
        Ok(value) => Line::Result(value),
        Err(error) => Line::Error(error),
    })
}

/// The thread ended without an outcome: it panicked.
fn lost() -> Error {
    Error::new(
        Code::Internal,
        "the work broke off, which is a fault in banger",
    )
    .hint("look at the end of bangerd.log in the state directory: banger daemon status")
}

/// Runs something short that may block, such as taking a lock.
pub(super) async fn ask<T, J>(app: &App, job: J) -> Result<T>
where
    T: Send + 'static,
    J: FnOnce(&Engine) -> T + Send + 'static,
{
    let engine = app.engine.clone();
    tokio::task::spawn_blocking(move || job(&engine))
        .await
        .map_err(|_| lost())
}
