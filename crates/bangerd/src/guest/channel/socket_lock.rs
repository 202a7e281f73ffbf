//! A lock for conversations with a guest. On a serial port the hypervisor serves one connection
//! after the other; on a vsock a second connection would end the first one in the middle of a
//! request, so the daemon's threads wait for each other here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// The locked sockets.
static SPOKEN_OVER: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Signals each unlocked socket.
static FREED: Condvar = Condvar::new();

/// The lock on a socket, released when dropped.
#[derive(Debug)]
pub(super) struct SocketLock {
    socket: PathBuf,
}

impl SocketLock {
    /// Waits for the lock on a socket; `None` after the timeout.
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
