//! What crosses the connection of a command (`GET /v1/vms/{ref}/exec`) or a job (`…/detach`,
//! `…/jobs/{job}/attach`): frames of a kind, a length and a payload.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | the kind |
//! | 4 | the length of the payload, big-endian, at most [`LONGEST_EXEC_FRAME`] |
//! | … | the payload |
//!
//! The client sends a word frame for each argument and a variable frame for each variable, then start.
//! The command's standard input may be [`STDIN_WINDOW`] bytes ahead of what it has read; each room
//! frame adds to that, so that a signal never waits behind input. The last frame is exit or refusal.
//! A client that closes the connection before has the command ended.
//!
//! A job is started by the same frames; the answer is a job frame or a refusal. To attach, a client sends
//! a start frame with [`crate::AttachStart`].

use serde::{Deserialize, Serialize};

use crate::frames::{self, FrameBuffer};

/// The protocol of the connection, in the header `upgrade`.
pub const UPGRADE: &str = "banger-exec";

/// The longest payload, in bytes: the kernel's longest argument fits.
pub const LONGEST_EXEC_FRAME: usize = 256 << 10;

/// How far standard input may be ahead of the command, in bytes.
pub const STDIN_WINDOW: usize = 256 << 10;

/// How a command is started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecStart {
    /// The user, by name or number; root if there is none.
    #[serde(default)]
    pub user: Option<String>,
    /// The working directory; the user's home if there is none.
    #[serde(default)]
    pub directory: Option<String>,
    /// The size of its terminal, columns and rows; no terminal if there is none.
    #[serde(default)]
    pub terminal: Option<(u16, u16)>,
    /// When it is ended, in milliseconds after its start.
    #[serde(default)]
    pub timeout_millis: Option<u64>,
    /// The name of the job, if it is one.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether a job takes input from those who attach; otherwise it has none.
    #[serde(default)]
    pub input: bool,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecFrame {
    /// An argument, the program first. None at all means the user's login shell.
    Word(Vec<u8>),
    /// A variable, `NAME=VALUE`.
    Variable(Vec<u8>),
    /// Starts the command: [`ExecStart`] as JSON.
    Start(Vec<u8>),
    /// Bytes of standard input.
    Stdin(Vec<u8>),
    /// The end of standard input.
    StdinEnd,
    /// A signal for the command and its group, by its number on x86-64.
    Signal(u8),
    /// The terminal's size: columns, rows.
    Resize(u16, u16),
    /// The command runs.
    Started,
    /// Bytes of standard output, or of the terminal.
    Stdout(Vec<u8>),
    /// Bytes of standard error.
    Stderr(Vec<u8>),
    /// So many more bytes of standard input may be sent.
    Room(u32),
    /// The command has ended with this status: 128 and the signal's number if one ended it, 124 at
    /// the timeout.
    Exit(u8),
    /// The command was not started, for this reason; a shell's status for it is the first byte.
    Refusal(u8, String),
    /// The job: its description as JSON. It comes when a job was started, and first and, unless its
    /// output is followed, last when a client attaches.
    Job(Vec<u8>),
    /// So many bytes of output were not kept, or not read in time.
    Dropped(u64),
}

impl ExecFrame {
    /// The frame's bytes. A payload that is too long is cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, payload): (u8, Vec<u8>) = match self {
            Self::Word(bytes) => (1, bytes.clone()),
            Self::Variable(bytes) => (2, bytes.clone()),
            Self::Start(json) => (3, json.clone()),
            Self::Stdin(bytes) => (4, bytes.clone()),
            Self::StdinEnd => (5, Vec::new()),
            Self::Signal(number) => (6, vec![*number]),
            Self::Resize(columns, rows) => {
                (7, [columns.to_be_bytes(), rows.to_be_bytes()].concat())
            }
            Self::Started => (8, Vec::new()),
            Self::Stdout(bytes) => (9, bytes.clone()),
            Self::Stderr(bytes) => (10, bytes.clone()),
            Self::Room(bytes) => (11, bytes.to_be_bytes().to_vec()),
            Self::Exit(status) => (12, vec![*status]),
            Self::Refusal(status, reason) => (13, [&[*status], reason.as_bytes()].concat()),
            Self::Job(json) => (14, json.clone()),
            Self::Dropped(bytes) => (15, bytes.to_be_bytes().to_vec()),
        };
        frames::encode(kind, &payload, LONGEST_EXEC_FRAME)
    }

    fn read(kind: u8, payload: Vec<u8>) -> Option<Self> {
        let frame = match (kind, payload.as_slice()) {
            (1, _) => Self::Word(payload),
            (2, _) => Self::Variable(payload),
            (3, _) => Self::Start(payload),
            (4, _) => Self::Stdin(payload),
            (5, []) => Self::StdinEnd,
            (6, [number]) => Self::Signal(*number),
            (7, [a, b, c, d]) => {
                Self::Resize(u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))
            }
            (8, []) => Self::Started,
            (9, _) => Self::Stdout(payload),
            (10, _) => Self::Stderr(payload),
            (11, [a, b, c, d]) => Self::Room(u32::from_be_bytes([*a, *b, *c, *d])),
            (12, [status]) => Self::Exit(*status),
            (13, [status, reason @ ..]) => {
                Self::Refusal(*status, String::from_utf8_lossy(reason).into_owned())
            }
            (14, _) => Self::Job(payload),
            (15, _) => Self::Dropped(u64::from_be_bytes(payload.as_slice().try_into().ok()?)),
            _ => return None,
        };
        Some(frame)
    }
}

/// Cuts bytes into frames, in bounded memory.
#[derive(Debug, Default)]
pub struct ExecReader {
    buffer: FrameBuffer,
}

impl ExecReader {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.push(bytes);
    }

    /// The next complete frame.
    ///
    /// # Errors
    /// The bytes are no frame; nothing after them can be read.
    pub fn next_frame(&mut self) -> Result<Option<ExecFrame>, &'static str> {
        self.buffer.next(LONGEST_EXEC_FRAME, ExecFrame::read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were() {
        let frames = [
            ExecFrame::Word(b"a\xff b".to_vec()),
            ExecFrame::Variable(b"A=\n".to_vec()),
            ExecFrame::Start(b"{}".to_vec()),
            ExecFrame::Stdin(vec![0; LONGEST_EXEC_FRAME]),
            ExecFrame::StdinEnd,
            ExecFrame::Signal(15),
            ExecFrame::Resize(80, 24),
            ExecFrame::Started,
            ExecFrame::Stdout(Vec::new()),
            ExecFrame::Stderr(b"e".to_vec()),
            ExecFrame::Room(1 << 20),
            ExecFrame::Exit(143),
            ExecFrame::Refusal(127, "no".to_owned()),
            ExecFrame::Job(b"{}".to_vec()),
            ExecFrame::Dropped(1 << 40),
        ];
        let mut reader = ExecReader::default();
        let bytes: Vec<u8> = frames.iter().flat_map(ExecFrame::encode).collect();
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
        for bytes in [&[99, 0, 0, 0, 0][..], &[9, 255, 0, 0, 0], &[12, 0, 0, 0, 0]] {
            let mut reader = ExecReader::default();
            reader.push(bytes);
            reader.next_frame().unwrap_err();
        }
    }
}
