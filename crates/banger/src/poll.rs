//! The pause of a polling loop, for events without a notification: a missing socket, a network that
//! returns, a guest that is measured.

use std::time::Duration;

/// Sleeps for this duration.
#[expect(clippy::disallowed_methods, reason = "there is no event to wait for")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
