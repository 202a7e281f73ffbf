//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec, poll};

/// The interval at which a condition that is expected soon is checked.
const PAUSE: Duration = Duration::from_millis(2);

/// Waits until `found` returns a result; `None` at the deadline.
pub(crate) fn until<T>(patience: Duration, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = found() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        ready(&mut [], PAUSE);
    }
}

/// Waits until one of these is ready, at most `longest`.
pub(crate) fn ready(what: &mut [PollFd<'_>], longest: Duration) {
    let timeout = Timespec {
        tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(longest.subsec_nanos()),
    };
    // An interrupted poll is a short wait, and every caller checks again.
    let _ = poll(what, Some(&timeout));
}
