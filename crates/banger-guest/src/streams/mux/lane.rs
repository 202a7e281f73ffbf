//! One stream of a mux: its socket, and what each side may still send.

use std::io::{self, ErrorKind, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use super::WINDOW;

/// One stream, as seen from this side.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) socket: UnixStream,
    /// Bytes of the other side that the socket has not taken yet.
    pub(super) inbound: Vec<u8>,
    /// The number of bytes that the other side may still send.
    pub(super) window: usize,
    /// The number of bytes that the socket has taken and the other side has no credit for yet.
    pub(super) owed: usize,
    /// The number of bytes that we may still send.
    pub(super) credit: usize,
    /// The other side has ended its direction.
    pub(super) ended: bool,
    /// We have ended our direction.
    pub(super) sent_end: bool,
    /// The other side has closed the stream.
    pub(super) closed: bool,
    /// Our socket has no reader any more.
    pub(super) deaf: bool,
    /// Our socket is closed; what it has written may still be unread.
    pub(super) hung_up: bool,
}

impl Lane {
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            inbound: Vec::new(),
            window: WINDOW,
            owed: 0,
            credit: WINDOW,
            ended: false,
            sent_end: false,
            closed: false,
            deaf: false,
            hung_up: false,
        })
    }

    pub(super) fn may_send(&self) -> bool {
        self.credit > 0 && !self.sent_end && !self.closed
    }

    /// Writes as much to the socket as it takes.
    pub(super) fn deliver(&mut self) {
        while !self.inbound.is_empty() {
            let taken = if self.deaf {
                Ok(self.inbound.len())
            } else {
                self.socket.write(&self.inbound)
            };
            match taken {
                Ok(count @ 1..) => {
                    self.inbound.drain(..count);
                    self.owed += count;
                }
                Err(cause) if is_later(&cause) => return,
                Ok(0) | Err(_) => self.deaf = true,
            }
        }
        if self.ended || self.closed {
            // The socket may be closed already.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.inbound.is_empty() && (self.closed || self.ended && self.sent_end)
    }
}

pub(super) fn is_later(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
