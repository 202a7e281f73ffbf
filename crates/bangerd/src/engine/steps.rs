//! The steps of a long operation, and the bytes of those that copy.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use banger_api::{ByteCount, Progress};
use banger_host::{Bytes, Host, WatchedHost};

use super::{ProgressSink, lock};
use crate::error::Result;

/// The shortest time between two reports of the same step: each is an event.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs one step of a long operation, and reports its beginning and end.
pub(super) fn step<T>(
    progress: ProgressSink<'_>,
    name: &str,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let tell = |seconds| {
        progress(Progress {
            step: name.to_owned(),
            seconds,
            bytes: None,
        });
    };
    tell(None);
    let began = Instant::now();
    let outcome = work();
    if outcome.is_ok() {
        tell(Some(began.elapsed().as_secs_f64()));
    }
    outcome
}

/// Runs one step that may copy files, on a host whose long changes are reported. Such a change ends
/// with an error once `is_unwanted`.
pub(super) fn copying_step<T>(
    progress: ProgressSink<'_>,
    name: &str,
    host: &dyn Host,
    is_unwanted: &(dyn Fn() -> bool + Sync),
    work: impl FnOnce(&dyn Host) -> Result<T>,
) -> Result<T> {
    let last = Mutex::new(None);
    let watch = |Bytes { done, whole }: Bytes| {
        if is_due(&mut lock(&last), done == whole) {
            progress(Progress {
                step: name.to_owned(),
                seconds: None,
                bytes: Some(ByteCount { done, whole }),
            });
        }
        match is_unwanted() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let host = WatchedHost::new(host, &watch);
    step(progress, name, || work(&host))
}

/// Whether to report: at first, at the end, and now and then.
fn is_due(last: &mut Option<Instant>, is_end: bool) -> bool {
    let is_due = is_end || last.is_none_or(|it| it.elapsed() >= PAUSE);
    if is_due {
        *last = Some(Instant::now());
    }
    is_due
}
