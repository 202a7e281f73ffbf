//! One conversation with a guest at a time. Over a serial port the hypervisor sees to it, by taking
//! one connection after the other; over a vsock a second one would end the first in the middle of
//! an ask, so those of this daemon wait for each other here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// The sockets over which somebody speaks.
static SPOKEN_OVER: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Tells of each that is free again.
static FREED: Condvar = Condvar::new();

/// The right to speak over a socket, until it is dropped.
#[derive(Debug)]
pub(super) struct SocketLock {
    socket: PathBuf,
}

impl SocketLock {
    /// Waits until nobody else speaks over this socket; `None` when the time is up.
    pub(super) fn wait(socket: &Path, until: Instant) -> Option<Self> {
        let mut spoken_over = SPOKEN_OVER.lock().unwrap_or_else(PoisonError::into_inner);
        while spoken_over.contains(socket) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = FREED.wait_timeout(spoken_over, left);
            spoken_over = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let socket = socket.to_owned();
        spoken_over.insert(socket.clone());
        Some(Self { socket })
    }
}

impl Drop for SocketLock {
    fn drop(&mut self) {
        let mut spoken_over = SPOKEN_OVER.lock().unwrap_or_else(PoisonError::into_inner);
        spoken_over.remove(&self.socket);
        FREED.notify_all();
    }
}
