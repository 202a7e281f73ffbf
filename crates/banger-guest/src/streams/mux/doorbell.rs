//! How other threads open streams in the thread of a mux.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

/// Passes new streams to the thread of a daemon's [`Mux`](super::Mux).
#[derive(Debug)]
pub struct Doorbell {
    pub(super) fd: OwnedFd,
    coming: Mutex<Option<Vec<UnixStream>>>,
    pub(super) welcomed: AtomicBool,
}

impl Doorbell {
    /// A doorbell without new streams.
    ///
    /// # Errors
    /// If the process has no descriptors left.
    pub fn new() -> io::Result<Arc<Self>> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let coming = Mutex::new(Some(Vec::new()));
        let welcomed = AtomicBool::new(false);
        Ok(Arc::new(Self {
            fd,
            coming,
            welcomed,
        }))
    }

    /// Opens a stream; `None` if the port's conversation has ended.
    ///
    /// # Errors
    /// If the process has no descriptors left.
    pub fn open(&self) -> io::Result<Option<UnixStream>> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(coming) = coming.as_mut() else {
            return Ok(None);
        };
        coming.push(theirs);
        let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        Ok(Some(ours))
    }

    /// Whether the guest has answered the hello.
    #[must_use]
    pub fn is_welcomed(&self) -> bool {
        self.welcomed.load(Ordering::SeqCst)
    }

    /// Ends the conversation, and closes its streams.
    pub fn close(&self) {
        *self.coming.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
    }

    /// The new streams; `None` once the doorbell is closed.
    pub(super) fn take(&self) -> Option<Vec<UnixStream>> {
        let _ = rustix::io::read(&self.fd, &mut [0_u8; 8]);
        let mut coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
        coming.as_mut().map(std::mem::take)
    }
}
