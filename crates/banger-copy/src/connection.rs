//! One end of the stream: frames in, frames out.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::frame::{Frame, LONGEST_FRAME};
use crate::report::Report;

/// What is sent at once, in bytes.
const BATCH: usize = 128 << 10;

/// The bytes of a frame before its payload.
const HEAD: usize = 5;

/// Why a copy ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The stream ended.
    #[error("the connection was lost")]
    Lost,
    /// The other side does not keep to the protocol; nothing more of it can be trusted.
    #[error("the other side sends what is not expected: {0}")]
    Broken(&'static str),
    /// The other side cannot go on.
    #[error("{0}")]
    Stopped(String),
    /// This side cannot go on.
    #[error("{0}")]
    Refused(String),
}

/// One end of the stream.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    /// What of the input has been read.
    taken: usize,
    out: Vec<u8>,
}

impl Connection {
    /// Takes a stream that blocks. `early` was read from it before.
    #[must_use]
    pub fn new(stream: UnixStream, early: Vec<u8>) -> Self {
        Self {
            stream,
            input: early,
            taken: 0,
            out: Vec::with_capacity(2 * BATCH),
        }
    }

    /// Sends a frame, at the latest with the next flush.
    ///
    /// # Errors
    /// The stream has ended.
    pub fn send(&mut self, frame: &Frame) -> Result<(), CopyError> {
        frame.encode(&mut self.out);
        if self.out.len() >= BATCH {
            self.flush()?;
        }
        Ok(())
    }

    /// Whether a batch is about to be sent.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.out.len() >= BATCH / 2
    }

    /// Sends all frames.
    ///
    /// # Errors
    /// The stream has ended.
    pub fn flush(&mut self) -> Result<(), CopyError> {
        let outcome = self.stream.write_all(&self.out);
        self.out.clear();
        outcome.map_err(|_| CopyError::Lost)
    }

    /// The next frame, or nothing where the stream ends between two frames.
    ///
    /// # Errors
    /// The bytes are no frame, or the stream ends within one.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, CopyError> {
        if !self.fill(HEAD)? {
            let is_between = self.input.len() == self.taken;
            return is_between.then_some(None).ok_or(CopyError::Lost);
        }
        let head = &self.input[self.taken..self.taken + HEAD];
        let (kind, length) = (head[0], [head[1], head[2], head[3], head[4]]);
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST_FRAME {
            return Err(CopyError::Broken("a frame is too long"));
        }
        if !self.fill(HEAD + length)? {
            return Err(CopyError::Lost);
        }
        let payload = &self.input[self.taken + HEAD..self.taken + HEAD + length];
        let frame = Frame::decode(kind, payload).ok_or(CopyError::Broken("a frame is unknown"))?;
        self.taken += HEAD + length;
        Ok(Some(frame))
    }

    /// The next frame; the end of the stream is an error.
    ///
    /// # Errors
    /// As [`Connection::next_frame`].
    pub fn expect(&mut self) -> Result<Frame, CopyError> {
        self.next_frame()?.ok_or(CopyError::Lost)
    }

    /// Whether another frame begins; not, if the stream ends here.
    ///
    /// # Errors
    /// The stream has ended otherwise.
    pub(crate) fn has_more(&mut self) -> Result<bool, CopyError> {
        self.fill(1)
    }

    /// Reads until so many bytes are there; whether they are.
    fn fill(&mut self, wanted: usize) -> Result<bool, CopyError> {
        if self.taken > 0 && self.input.len() - self.taken < wanted {
            self.input.drain(..self.taken);
            self.taken = 0;
        }
        while self.input.len() - self.taken < wanted {
            let length = self.input.len();
            self.input.resize(length + wanted.max(64 << 10), 0);
            let read = self.stream.read(&mut self.input[length..]);
            self.input
                .truncate(length + read.as_ref().map_or(0, |count| *count));
            match read {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(CopyError::Lost),
            }
        }
        Ok(true)
    }

    /// Whether something has arrived that was not read.
    pub(crate) fn has_arrived(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::IN)];
        self.taken < self.input.len() || matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1))
    }

    /// The report of an answer that has come instead of anything else.
    #[must_use]
    pub fn stopped_by(frame: &Frame) -> CopyError {
        let Frame::Answer(json) = frame else {
            return CopyError::Broken("a frame came out of turn");
        };
        let report = serde_json::from_slice::<Report>(json).unwrap_or_default();
        let reason = report.stopped;
        CopyError::Stopped(reason.unwrap_or_else(|| "it ended the copy".to_owned()))
    }

    /// Ends this side, and takes what the other one still sends, so that closing does not cut off the last
    /// frame. It ends after `patience` at the latest.
    ///
    /// # Errors
    /// The stream has ended already.
    pub fn close(mut self, patience: Duration) -> io::Result<()> {
        self.stream.write_all(&self.out)?;
        self.stream.shutdown(std::net::Shutdown::Write)?;
        let deadline = Instant::now() + patience;
        let mut bytes = vec![0; 64 << 10];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
    }

    /// Limits how long a read waits.
    ///
    /// # Errors
    /// The socket does not take the limit.
    pub fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(patience)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
