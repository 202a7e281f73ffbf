//! The host side of Firecracker's vsock: a Unix socket. The client sends the guest's port in one
//! line, and Firecracker answers in one line; after that, the stream is connected to the guest. If
//! nothing listens on the port, the stream ends:
//! <https://github.com/firecracker-microvm/firecracker/blob/main/docs/vsock.md>

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::connect;

/// The longest answer, in bytes: `OK 4294967295` and a newline fit.
const LONGEST: usize = 32;

/// Timeout for the answer to one attempt. Firecracker itself waits two seconds for a guest, and
/// does not answer at all before the guest's kernel has initialised the device.
const PATIENCE: Duration = Duration::from_secs(3);

/// The reason that there is no stream to the guest.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// The hypervisor does not listen at its socket.
    #[error("connect to the hypervisor: {0}")]
    Absent(io::Error),
    /// The stream ended: nothing in the guest listens, or not yet.
    #[error("the guest does not listen yet")]
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

/// The state of a dial.
#[derive(Debug)]
pub(super) enum DialProgress {
    /// Connected.
    Through(UnixStream),
    /// No answer yet.
    Waiting(Dial),
}

impl Dial {
    /// Requests the guest's port.
    pub(super) fn new(socket: &Path, port: u32) -> Result<Self, DialError> {
        let mut stream = connect(socket).map_err(DialError::Absent)?;
        // The buffer of a new socket has room for this.
        stream
            .write_all(format!("CONNECT {port}\n").as_bytes())
            .map_err(|_| DialError::Refused)?;
        Ok(Self {
            stream,
            heard: Vec::new(),
            since: Instant::now(),
        })
    }

    /// Waits for the answer. It is read byte by byte, because the guest's data follows.
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
