//! Runs a command in a guest to its end, for callers without a terminal.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::ExecStream;
use crate::exec::{ExecFrame, ExecReader, ExecStart, LONGEST_EXEC_FRAME, STDIN_WINDOW};
use crate::{Code, Error, Result};

/// How long a guest may be silent after the command's own timeout.
const GRACE: Duration = Duration::from_secs(30);

/// A command and its environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Command<'a> {
    /// The program and its arguments.
    pub words: &'a [&'a str],
    /// The user, by name or number; root if there is none.
    pub user: Option<&'a str>,
    /// The working directory; the user's home if there is none.
    pub directory: Option<&'a str>,
    /// The time after which it is ended with status 124.
    pub timeout: Option<Duration>,
    /// All of its standard input.
    pub stdin: &'a [u8],
}

/// A stream that a command writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandEnd {
    /// It ended with this status: 128 plus the signal's number if a signal ended it, 124 at the
    /// timeout.
    Exit(u8),
    /// It was not started: a shell's status for that, and the reason.
    Refusal(u8, String),
    /// `on_output` wanted no more.
    Enough,
}

impl ExecStream {
    /// Runs a command to its end. Each piece of its output goes to `on_output`, which answers
    /// whether it wants more; an answer of `false` ends the command.
    ///
    /// # Errors
    /// `invalid` for an argument that is too long, `guest` if the connection ends before the
    /// command, or the guest is silent for 30 seconds after the timeout.
    pub fn run(
        mut self,
        command: &Command<'_>,
        mut on_output: impl FnMut(OutputStream, &[u8]) -> bool,
    ) -> Result<CommandEnd> {
        let start = frames(command)?;
        let deadline = command.timeout.map(|it| Instant::now() + it + GRACE);
        let mut reader = ExecReader::default();
        reader.push(&self.early);
        // A guest that refuses the command may not read all of it: the refusal is read below.
        let _ = self.socket.write_all(&start);
        let mut stdin = StandardInput {
            rest: command.stdin,
            room: STDIN_WINDOW,
            is_open: true,
        };
        let mut bytes = vec![0; 64 << 10];
        loop {
            stdin.send(&self);
            match reader
                .next_frame()
                .map_err(|cause| lost(cause.to_owned()))?
            {
                Some(ExecFrame::Exit(status)) => return Ok(CommandEnd::Exit(status)),
                Some(ExecFrame::Refusal(status, reason)) => {
                    return Ok(CommandEnd::Refusal(status, reason));
                }
                Some(ExecFrame::Stdout(piece)) if !on_output(OutputStream::Stdout, &piece) => {
                    let _ = self.socket.shutdown(Shutdown::Both);
                    return Ok(CommandEnd::Enough);
                }
                Some(ExecFrame::Stderr(piece)) if !on_output(OutputStream::Stderr, &piece) => {
                    let _ = self.socket.shutdown(Shutdown::Both);
                    return Ok(CommandEnd::Enough);
                }
                Some(ExecFrame::Room(more)) => {
                    stdin.room = stdin.room.saturating_add(more as usize).min(STDIN_WINDOW);
                }
                Some(_) => {}
                None => {
                    let count = self.read(&mut bytes, deadline)?;
                    reader.push(&bytes[..count]);
                }
            }
        }
    }

    fn read(&mut self, bytes: &mut [u8], deadline: Option<Instant>) -> Result<usize> {
        loop {
            let left = deadline.map(|it| it.saturating_duration_since(Instant::now()));
            if left.is_some_and(|it| it.is_zero()) {
                return Err(lost("the guest does not answer".to_owned()));
            }
            let _ = self.socket.set_read_timeout(left);
            match self.socket.read(bytes) {
                Ok(0) => {
                    let cause = "the VM ended, its guest program restarted, or the daemon stopped";
                    return Err(lost(cause.to_owned()));
                }
                Ok(count) => return Ok(count),
                Err(cause)
                    if matches!(cause.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Err(cause) => return Err(lost(cause.to_string())),
            }
        }
    }
}

fn lost(cause: String) -> Error {
    Error::new(Code::Guest, "the connection to the command was lost").cause(cause)
}

/// The unsent rest of the standard input.
struct StandardInput<'a> {
    rest: &'a [u8],
    room: usize,
    is_open: bool,
}

impl StandardInput<'_> {
    /// Sends as much as the guest accepts. A command that stops reading is not an error.
    fn send(&mut self, stream: &ExecStream) {
        let mut socket = &stream.socket;
        while self.room > 0 && !self.rest.is_empty() {
            let count = self.rest.len().min(self.room).min(LONGEST_EXEC_FRAME);
            let (piece, rest) = self.rest.split_at(count);
            self.rest = rest;
            self.room -= count;
            let _ = socket.write_all(&ExecFrame::Stdin(piece.to_vec()).encode());
        }
        if self.rest.is_empty() && std::mem::take(&mut self.is_open) {
            let _ = socket.write_all(&ExecFrame::StdinEnd.encode());
        }
    }
}

/// The frames up to the start.
fn frames(command: &Command<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for word in command.words {
        if word.len() > LONGEST_EXEC_FRAME {
            return Err(Error::new(
                Code::Invalid,
                format!(
                    "an argument has {} bytes, more than the {LONGEST_EXEC_FRAME} that are possible",
                    word.len()
                ),
            ));
        }
        bytes.extend(ExecFrame::Word(word.as_bytes().to_vec()).encode());
    }
    let start = ExecStart {
        user: command.user.map(str::to_owned),
        directory: command.directory.map(str::to_owned),
        timeout_millis: command
            .timeout
            .map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
        ..ExecStart::default()
    };
    let start = serde_json::to_vec(&start).map_err(|cause| {
        Error::new(Code::Internal, "write the start of a command").cause(cause.to_string())
    })?;
    bytes.extend(ExecFrame::Start(start).encode());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Runs a command against a guest that sends `answer` and reads everything.
    fn run(answer: &[ExecFrame], command: &Command<'_>, most: usize) -> Result<CommandEnd> {
        let (socket, mut guest) = UnixStream::pair().unwrap();
        let answer: Vec<u8> = answer.iter().flat_map(ExecFrame::encode).collect();
        guest.write_all(&answer).unwrap();
        guest.shutdown(Shutdown::Write).unwrap();
        let reader = std::thread::spawn(move || std::io::copy(&mut guest, &mut std::io::sink()));
        let stream = ExecStream {
            socket,
            early: Vec::new(),
        };
        let mut count = 0;
        let end = stream.run(command, |_, piece| {
            count += piece.len();
            count < most
        });
        reader.join().unwrap().unwrap();
        end
    }

    #[test]
    fn a_command_ends_with_its_status_or_its_refusal() {
        let command = Command {
            words: &["true"],
            ..Command::default()
        };
        let exit = [ExecFrame::Started, ExecFrame::Exit(3)];
        assert_eq!(run(&exit, &command, 10), Ok(CommandEnd::Exit(3)));
        let refusal = [ExecFrame::Refusal(127, "no".to_owned())];
        assert_eq!(
            run(&refusal, &command, 10),
            Ok(CommandEnd::Refusal(127, "no".to_owned()))
        );
    }

    #[test]
    fn output_that_is_enough_ends_the_command() {
        let output = [ExecFrame::Stdout(vec![0; 20]), ExecFrame::Exit(0)];
        let end = run(&output, &Command::default(), 10);
        assert_eq!(end, Ok(CommandEnd::Enough));
    }

    #[test]
    fn a_connection_that_ends_before_the_command_is_an_error() {
        let end = run(&[ExecFrame::Started], &Command::default(), 10);
        assert_eq!(end.unwrap_err().code, Code::Guest);
    }

    #[test]
    fn an_argument_that_is_too_long_is_rejected() {
        let word = "x".repeat(LONGEST_EXEC_FRAME + 1);
        let command = Command {
            words: &[&word],
            ..Command::default()
        };
        assert_eq!(run(&[], &command, 10).unwrap_err().code, Code::Invalid);
    }
}
