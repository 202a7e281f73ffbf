//! The frames on the connection of a console (`GET /v1/vms/{ref}/console`).
//!
//! The client sends typed bytes unframed, at most [`TYPING_WINDOW`] of them ahead of the guest. The
//! daemon sends frames: a byte for the kind, four bytes (big-endian) for the payload's length, at
//! most [`LONGEST_CONSOLE_FRAME`], and the payload. The last frame is the end; a connection that
//! ends without it was lost.

use crate::frames::{self, FrameBuffer};

/// The protocol of the connection, in the header `upgrade`.
pub const UPGRADE: &str = "banger-console";

/// The maximum length of a payload, in bytes.
pub const LONGEST_CONSOLE_FRAME: usize = 64 << 10;

/// The maximum number of typed bytes that the guest has not taken yet.
pub const TYPING_WINDOW: usize = 64 << 10;

/// A frame from the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleFrame {
    /// The end of what the guest printed before the session.
    Earlier(Vec<u8>),
    /// What the guest prints now.
    Output(Vec<u8>),
    /// The client may type this many more bytes.
    Room(u32),
    /// The console has ended, for this reason.
    End(String),
}

impl ConsoleFrame {
    /// The frame's bytes. A payload that is too long is cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let room;
        let (kind, payload): (u8, &[u8]) = match self {
            Self::Earlier(bytes) => (1, bytes),
            Self::Output(bytes) => (2, bytes),
            Self::Room(count) => {
                room = count.to_be_bytes();
                (3, &room)
            }
            Self::End(words) => (4, words.as_bytes()),
        };
        frames::encode(kind, payload, LONGEST_CONSOLE_FRAME)
    }

    fn read(kind: u8, payload: Vec<u8>) -> Option<Self> {
        let frame = match (kind, payload.as_slice()) {
            (1, _) => Self::Earlier(payload),
            (2, _) => Self::Output(payload),
            (3, [a, b, c, d]) => Self::Room(u32::from_be_bytes([*a, *b, *c, *d])),
            (4, words) => Self::End(String::from_utf8_lossy(words).into_owned()),
            _ => return None,
        };
        Some(frame)
    }
}

/// Splits bytes into frames, in bounded memory.
#[derive(Debug, Default)]
pub struct ConsoleFrames {
    buffer: FrameBuffer,
}

impl ConsoleFrames {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.push(bytes);
    }

    /// The next complete frame.
    ///
    /// # Errors
    /// If the bytes are not a frame; nothing after them can be read.
    pub fn next_frame(&mut self) -> Result<Option<ConsoleFrame>, &'static str> {
        self.buffer.next(LONGEST_CONSOLE_FRAME, ConsoleFrame::read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were() {
        let frames = [
            ConsoleFrame::Earlier(b"a\xff".to_vec()),
            ConsoleFrame::Output(vec![0; LONGEST_CONSOLE_FRAME]),
            ConsoleFrame::Room(1 << 20),
            ConsoleFrame::End("it has stopped".to_owned()),
        ];
        let mut reader = ConsoleFrames::default();
        let bytes: Vec<u8> = frames.iter().flat_map(ConsoleFrame::encode).collect();
        let mut read = Vec::new();
        for piece in bytes.chunks(1000) {
            reader.push(piece);
            while let Some(frame) = reader.next_frame().unwrap() {
                read.push(frame);
            }
        }
        assert_eq!(read, frames);
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for bytes in [&[99, 0, 0, 0, 0][..], &[2, 255, 0, 0, 0], &[3, 0, 0, 0, 0]] {
            let mut reader = ConsoleFrames::default();
            reader.push(bytes);
            reader.next_frame().unwrap_err();
        }
    }
}
