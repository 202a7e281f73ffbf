//! Firecracker's vsock as the host sees it: a Unix socket at which one says which of the guest's
//! ports is meant, in one line, and is answered in one line. The stream is the guest's from then
//! on. A guest in which nobody listens there is a stream that ends instead:
//! <https://github.com/firecracker-microvm/firecracker/blob/main/docs/vsock.md>

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::connect;

/// The longest line that is taken for an answer, in bytes; `OK 4294967295` is one.
const LONGEST: usize = 32;

/// After how long without an answer another attempt is made. Firecracker itself gives a guest two
/// seconds; before the guest's kernel knows the device it answers nothing at all.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why there is no stream to the guest.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// The hypervisor does not listen at its socket.
    #[error("connect to the hypervisor: {0}")]
    Absent(io::Error),
    /// The stream ended, because nobody in the guest listens, or not yet.
    #[error("nobody in the guest listens yet")]
    Refused,
    /// Neither an answer nor an end.
    #[error("the hypervisor does not answer")]
    Silent,
    /// An answer, but not one of a vsock.
    #[error("the hypervisor answered {0:?} instead of `OK`")]
    Garbage(String),
}

/// A connection on its way to the guest.
#[derive(Debug)]
pub(super) struct Dial {
    stream: UnixStream,
    heard: Vec<u8>,
    since: Instant,
}

/// How a dial goes on.
#[derive(Debug)]
pub(super) enum DialProgress {
    /// Here is the stream.
    Through(UnixStream),
    /// The time is up; there may be an answer later.
    Waiting(Dial),
}

impl Dial {
    /// Asks for the guest's port.
    pub(super) fn new(socket: &Path, port: u32) -> Result<Self, DialError> {
        let mut stream = connect(socket).map_err(DialError::Absent)?;
        // A fresh socket has room for this, whatever its other end does.
        stream
            .write_all(format!("CONNECT {port}\n").as_bytes())
            .map_err(|_| DialError::Refused)?;
        Ok(Self {
            stream,
            heard: Vec::new(),
            since: Instant::now(),
        })
    }

    /// Waits for the answer. It is read byte by byte, because what follows it is the guest's.
    pub(super) fn wait(mut self, until: Instant) -> Result<DialProgress, DialError> {
        loop {
            let now = Instant::now();
            if now >= self.since + PATIENCE {
                return Err(DialError::Silent);
            }
            if now >= until {
                return Ok(DialProgress::Waiting(self));
            }
            let left = until.min(self.since + PATIENCE) - now;
            let mut byte = [0];
            let read = self
                .stream
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))
                .and_then(|()| self.stream.read(&mut byte));
            match read {
                Ok(0) => return Err(DialError::Refused),
                Ok(_) if byte == *b"\n" => return self.judge(),
                Ok(_) if self.heard.len() == LONGEST => return Err(self.garbage()),
                Ok(_) => self.heard.extend(byte),
                Err(cause) if is_timeout(&cause) => {}
                Err(_) => return Err(DialError::Refused),
            }
        }
    }

    fn judge(self) -> Result<DialProgress, DialError> {
        let port = self.heard.strip_prefix(b"OK ").unwrap_or_default();
        if port.is_empty() || !port.iter().all(u8::is_ascii_digit) {
            return Err(self.garbage());
        }
        Ok(DialProgress::Through(self.stream))
    }

    fn garbage(&self) -> DialError {
        DialError::Garbage(String::from_utf8_lossy(&self.heard).into_owned())
    }
}

fn is_timeout(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
