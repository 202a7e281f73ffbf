//! The frames on the connection of a command (`GET /v1/vms/{ref}/exec`) or of a job (`…/detach`,
//! `…/jobs/{job}/attach`): a kind, a length and a payload.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | the kind |
//! | 4 | the length of the payload, big-endian, at most [`LONGEST_EXEC_FRAME`] |
//! | … | the payload |
//!
//! The client sends a word frame for each argument and a variable frame for each variable, then
//! start. It may send up to [`STDIN_WINDOW`] bytes of standard input ahead of the command, and more
//! after each room frame, so that a signal never waits behind input. The last frame is exit or
//! refusal. If the client closes the connection earlier, the command is ended.
//!
//! The same frames start a job; the answer is a job frame or a refusal. To attach to a job, a
//! client sends a start frame with [`crate::AttachStart`].

use serde::{Deserialize, Serialize};

use crate::frames::{self, FrameBuffer};

/// The protocol of the connection, in the header `upgrade`.
pub const UPGRADE: &str = "banger-exec";

/// The maximum length of a payload, in bytes: the kernel's longest argument fits.
pub const LONGEST_EXEC_FRAME: usize = 256 << 10;

/// The number of bytes of standard input that may be ahead of the command.
pub const STDIN_WINDOW: usize = 256 << 10;

/// The way to start a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecStart {
    /// The user, by name or number; root if there is none.
    #[serde(default)]
    pub user: Option<String>,
    /// The working directory; the user's home if there is none.
    #[serde(default)]
    pub directory: Option<String>,
    /// The size of its terminal, columns and rows; `None` for no terminal.
    #[serde(default)]
    pub terminal: Option<(u16, u16)>,
    /// The time after which it is ended, in milliseconds.
    #[serde(default)]
    pub timeout_millis: Option<u64>,
    /// The name of the job, if it is one.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether a job accepts input from attached clients; otherwise its input is empty.
    #[serde(default)]
    pub input: bool,
    /// Whether the client reads [`ExecFrame::End`]; an older guest program sends none.
    #[serde(default)]
    pub tells_end: bool,
}

/// The end of a command, beside its status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecEnd {
    /// Whether the guest's kernel has killed one of its processes because memory ran out; `None` if that cannot
    /// be told.
    #[serde(default)]
    pub oom_killed: Option<bool>,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecFrame {
    /// An argument, the program first. Without any, the user's login shell runs.
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
    /// The command has started.
    Started,
    /// Bytes of standard output, or of the terminal.
    Stdout(Vec<u8>),
    /// Bytes of standard error.
    Stderr(Vec<u8>),
    /// The client may send this many more bytes of standard input.
    Room(u32),
    /// The command has ended with this status: 128 plus the signal's number if a signal ended it,
    /// 124 at the timeout.
    Exit(u8),
    /// The command was not started: a shell's status for that, and the reason.
    Refusal(u8, String),
    /// The job, described as JSON. The guest sends it when it has started a job, and when a client
    /// attaches: first, and again last unless the client follows the output.
    Job(Vec<u8>),
    /// This many bytes of output were not kept, or not read in time.
    Dropped(u64),
    /// The end of the command: [`ExecEnd`] as JSON. It comes before exit, if the start asks for it.
    End(Vec<u8>),
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
            Self::End(json) => (16, json.clone()),
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
            (16, _) => Self::End(payload),
            _ => return None,
        };
        Some(frame)
    }
}

/// Splits bytes into frames, in bounded memory.
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
    /// If the bytes are not a frame; nothing after them can be read.
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
            ExecFrame::End(b"{}".to_vec()),
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
