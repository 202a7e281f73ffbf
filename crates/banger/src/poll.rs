//! The pause between two looks at what announces nothing: a missing socket, a network that returns, a guest
//! that is measured.

use std::time::Duration;

/// Waits so long.
#[expect(clippy::disallowed_methods, reason = "there is no event to wait for")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
