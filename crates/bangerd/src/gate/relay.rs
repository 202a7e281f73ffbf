//! Relays frames between QEMU's two sockets.
//!
//! On a stream, a big-endian length of four bytes precedes each frame: `-netdev stream` of qemu(1).
//! A side is not read while the other one's queue is full, so queues are bounded and no frame is
//! lost; only replies of the gate are dropped if the guest does not read.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};

use super::judge::Verdict;

/// The longest frame, in bytes: QEMU's own limit (`NET_BUFSIZE`).
const LONGEST: usize = 4096 + 65536;

/// A queue of this many bytes is full.
const FULL: usize = 256 << 10;

/// The size of one read, in bytes.
const CHUNK: usize = 64 << 10;

/// One of the sockets, its partial frame, and its queue of bytes to write.
struct Side {
    socket: UnixStream,
    received: Vec<u8>,
    queue: Vec<u8>,
}

impl Side {
    fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            received: Vec::new(),
            queue: Vec::new(),
        })
    }

    fn is_full(&self) -> bool {
        self.queue.len() >= FULL
    }

    fn put(&mut self, frame: &[u8]) {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        self.queue.extend_from_slice(&length.to_be_bytes());
        self.queue.extend_from_slice(frame);
    }

    /// Reads available bytes; false at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        let begin = self.received.len();
        self.received.resize(begin + CHUNK, 0);
        let read = self.socket.read(&mut self.received[begin..]);
        let count = *read.as_ref().unwrap_or(&0);
        self.received.truncate(begin + count);
        match read {
            Ok(count) => Ok(count > 0),
            Err(error) if may_come(&error) => Ok(true),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Calls `each` with each complete frame.
    fn frames(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut begin = 0;
        while let Some(head) = self.received[begin..].first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
            if length > LONGEST {
                let text = format!("a frame of {length} bytes; the maximum is {LONGEST}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            let Some(frame) = self.received.get(begin + 4..begin + 4 + length) else {
                break;
            };
            each(frame);
            begin += 4 + length;
        }
        self.received.drain(..begin);
        Ok(())
    }

    /// Writes as much as possible; false if the peer is gone.
    fn flush(&mut self) -> io::Result<bool> {
        while !self.queue.is_empty() {
            match self.socket.write(&self.queue) {
                Ok(count) => {
                    self.queue.drain(..count);
                }
                Err(error) if may_come(&error) => break,
                Err(error) if is_gone(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn events(&self, reads: bool) -> PollFlags {
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, reads);
        events.set(PollFlags::OUT, !self.queue.is_empty());
        events
    }
}

fn may_come(error: &io::Error) -> bool {
    use io::ErrorKind as Io;
    matches!(error.kind(), Io::WouldBlock | Io::Interrupted)
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind as Io;
    matches!(error.kind(), Io::BrokenPipe | Io::ConnectionReset)
}

/// Relays frames until one of the sockets ends. Frames from the guest are judged; frames from
/// outside are replies or forwarded connections, and pass.
///
/// # Errors
/// A socket fails, or a frame is invalid.
pub(super) fn relay(
    guest: UnixStream,
    outside: UnixStream,
    mut judge: impl FnMut(&[u8]) -> Verdict,
) -> io::Result<()> {
    let (mut guest, mut outside) = (Side::new(guest)?, Side::new(outside)?);
    loop {
        let (from_guest, from_outside) = (!outside.is_full(), !guest.is_full());
        let mut polled = [
            PollFd::new(&guest.socket, guest.events(from_guest)),
            PollFd::new(&outside.socket, outside.events(from_outside)),
        ];
        match poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = polled.map(|it| it.revents());
        let ended = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        if from_guest && ready[0].intersects(ended) {
            if !guest.fill()? {
                return Ok(());
            }
            let mut answers = Vec::new();
            guest.frames(|frame| match judge(frame) {
                Verdict::Passes => outside.put(frame),
                Verdict::Refused(answer) => answers.push(answer),
                Verdict::Dropped => {}
            })?;
            for answer in answers {
                if !guest.is_full() {
                    guest.put(&answer);
                }
            }
        } else if ready[0].intersects(PollFlags::HUP | PollFlags::ERR) {
            return Ok(());
        }
        if from_outside && ready[1].intersects(ended) {
            if !outside.fill()? {
                return Ok(());
            }
            outside.frames(|frame| guest.put(frame))?;
        } else if ready[1].intersects(PollFlags::HUP | PollFlags::ERR) {
            return Ok(());
        }
        if !guest.flush()? || !outside.flush()? {
            return Ok(());
        }
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
