//! Copies bytes between this process and a command in a guest.

use std::io::{self, Read as _, Write as _};

use banger_api::client::ExecStream;
use banger_api::exec::{ExecEnd, ExecFrame, ExecReader, STDIN_WINDOW};
use banger_api::{Code, Error};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::terminal;
use crate::escape::Escape;

/// The treatment of standard input, its end, and signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands::vm) enum Input {
    /// All of them are passed to the command.
    Passed,
    /// The command's input is empty; signals are passed.
    Closed,
    /// Input is passed to a job; a signal detaches.
    Attached,
    /// Nothing is passed to the job; a signal detaches.
    Untouched,
}

/// The options of a conversation.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands::vm) struct ConversationOptions {
    pub(in crate::commands::vm) input: Input,
    /// Whether the command has our terminal.
    pub(in crate::commands::vm) tty: bool,
    /// The key that detaches.
    pub(in crate::commands::vm) escape: Escape,
    /// The number of the job description that is the last frame; 0 if there is none.
    pub(in crate::commands::vm) jobs: usize,
}

/// The end of a conversation.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::commands::vm) enum End {
    /// The command's status, and what else the guest tells of its end.
    Exit(u8, ExecEnd),
    /// The command was not started: a shell's status for that, and the reason.
    Refusal(u8, String),
    /// The last description of a job, as JSON.
    Job(Vec<u8>),
    /// We detach from a job: by the key, or by this signal.
    Detached(Option<u8>),
    /// The reader of our output has gone.
    ReaderGone,
    /// The connection ended before the command did.
    Lost,
}

/// The number of bytes per read of standard input.
const PIECE: usize = 32 << 10;

/// Sends `start`, and copies bytes until the command ends.
pub(in crate::commands::vm) fn hold(
    stream: ExecStream,
    start: &[u8],
    options: &ConversationOptions,
) -> Result<End, Error> {
    let failed = |cause: io::Error| {
        Error::new(Code::Internal, "speak with the command").cause(cause.to_string())
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let end = runtime.block_on(async {
        stream.socket.set_nonblocking(true)?;
        let mut conversation = Conversation {
            socket: UnixStream::from_std(stream.socket)?,
            reader: ExecReader::default(),
            room: STDIN_WINDOW,
            options: *options,
            jobs: 0,
            end: ExecEnd::default(),
        };
        conversation.reader.push(&stream.early);
        conversation.run(start).await
    });
    // A pending read of standard input is abandoned.
    runtime.shutdown_background();
    end.map_err(failed)
}

struct Conversation {
    socket: UnixStream,
    reader: ExecReader,
    /// The number of bytes of standard input that may still be sent.
    room: usize,
    options: ConversationOptions,
    /// The number of job descriptions so far.
    jobs: usize,
    /// What the guest has told of the command's end.
    end: ExecEnd,
}

impl Conversation {
    async fn run(&mut self, start: &[u8]) -> io::Result<End> {
        let mut signals = Signals::new()?;
        if let Some(end) = self.begin(start).await? {
            return Ok(end);
        }
        let reads = matches!(self.options.input, Input::Passed | Input::Attached);
        let mut input = reads.then(read_input);
        if self.options.input == Input::Closed {
            self.send(&ExecFrame::StdinEnd).await;
        }
        let mut pending = Vec::new();
        let mut bytes = vec![0; 64 << 10];
        loop {
            if let Some(end) = self.obey()? {
                return Ok(end);
            }
            self.send_input(&mut pending).await;
            let wants_input = input.is_some() && pending.is_empty();
            tokio::select! {
                read = self.socket.read(&mut bytes) => match read {
                    Ok(count @ 1..) => self.reader.push(&bytes[..count]),
                    Ok(0) | Err(_) => return Ok(End::Lost),
                },
                piece = next(&mut input), if wants_input => match piece {
                    Some(piece) => {
                        let (typed, leaves) = self.options.escape.split(&piece);
                        pending = typed.to_vec();
                        if leaves {
                            self.send_input(&mut pending).await;
                            return Ok(End::Detached(None));
                        }
                    }
                    // The user's terminal was closed.
                    None if self.options.input == Input::Attached && self.options.tty => {
                        return Ok(End::Detached(None));
                    }
                    None => {
                        input = None;
                        self.send(&ExecFrame::StdinEnd).await;
                    }
                },
                number = signals.next() => {
                    if let Some(end) = self.pass(number).await {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Sends the start; a refusal may come before all of it is sent.
    async fn begin(&mut self, start: &[u8]) -> io::Result<Option<End>> {
        let mut rest = start;
        let mut bytes = [0; 4096];
        while !rest.is_empty() {
            let (mut from, mut to) = self.socket.split();
            tokio::select! {
                written = to.write(rest) => match written {
                    Ok(count @ 1..) => rest = &rest[count..],
                    Ok(0) | Err(_) => break,
                },
                read = from.read(&mut bytes) => match read {
                    Ok(count @ 1..) => self.reader.push(&bytes[..count]),
                    Ok(0) | Err(_) => return Ok(Some(End::Lost)),
                },
            }
            if let Some(end) = self.obey()? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// Passes on a signal, or the terminal's new size.
    async fn pass(&mut self, number: Option<u8>) -> Option<End> {
        match (number, self.options.input) {
            (None, _) => {
                let (columns, rows) = terminal::size();
                if self.options.tty {
                    self.send(&ExecFrame::Resize(columns, rows)).await;
                }
                None
            }
            (Some(number), Input::Passed | Input::Closed) => {
                self.send(&ExecFrame::Signal(number)).await;
                None
            }
            (number, Input::Attached | Input::Untouched) => Some(End::Detached(number)),
        }
    }

    async fn send_input(&mut self, pending: &mut Vec<u8>) {
        let count = pending.len().min(self.room);
        if count > 0 {
            let piece: Vec<u8> = pending.drain(..count).collect();
            self.room -= count;
            self.send(&ExecFrame::Stdin(piece)).await;
        }
    }

    /// Sends a frame; if that fails, the end of the connection follows.
    async fn send(&mut self, frame: &ExecFrame) {
        let _ = self.socket.write_all(&frame.encode()).await;
    }

    fn obey(&mut self) -> io::Result<Option<End>> {
        while let Some(frame) = self.reader.next_frame().map_err(io::Error::other)? {
            match frame {
                ExecFrame::Stdout(bytes) => {
                    let mut stdout = io::stdout().lock();
                    if let Some(end) =
                        written(stdout.write_all(&bytes).and_then(|()| stdout.flush()))?
                    {
                        return Ok(Some(end));
                    }
                }
                ExecFrame::Stderr(bytes) => {
                    if let Some(end) = written(io::stderr().lock().write_all(&bytes))? {
                        return Ok(Some(end));
                    }
                }
                ExecFrame::Room(more) => {
                    self.room = self.room.saturating_add(more as usize).min(STDIN_WINDOW);
                }
                ExecFrame::End(json) => {
                    self.end = serde_json::from_slice(&json).unwrap_or_default();
                }
                ExecFrame::Exit(status) => return Ok(Some(End::Exit(status, self.end))),
                ExecFrame::Refusal(status, reason) => {
                    return Ok(Some(End::Refusal(status, reason)));
                }
                ExecFrame::Job(json) => {
                    self.jobs += 1;
                    if self.jobs == self.options.jobs {
                        return Ok(Some(End::Job(json)));
                    }
                }
                ExecFrame::Dropped(bytes) => {
                    let end = if self.options.tty { "\r\n" } else { "\n" };
                    let note = format!("note: {bytes} bytes of output are left out here{end}");
                    let _ = io::stderr().write_all(note.as_bytes());
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

fn written(outcome: io::Result<()>) -> io::Result<Option<End>> {
    match outcome {
        Ok(()) => Ok(None),
        Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(Some(End::ReaderGone)),
        Err(cause) => Err(cause),
    }
}

/// Reads standard input on a thread of its own, piece by piece.
pub(in crate::commands::vm) fn read_input() -> mpsc::Receiver<Vec<u8>> {
    let (piece, pieces) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut bytes = vec![0; PIECE];
        loop {
            match io::stdin().lock().read(&mut bytes) {
                Ok(count @ 1..) if piece.blocking_send(bytes[..count].to_vec()).is_ok() => {}
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    });
    pieces
}

async fn next(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

/// The signals that are passed on, with their numbers on x86-64.
struct Signals {
    passed: Vec<(u8, Signal)>,
    resize: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let mut passed = Vec::new();
        // SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM.
        for number in [1, 2, 3, 10, 12, 15] {
            passed.push((number, signal(SignalKind::from_raw(i32::from(number)))?));
        }
        let resize = signal(SignalKind::window_change())?;
        Ok(Self { passed, resize })
    }

    /// The number of the next signal; `None` for a new size of the terminal.
    async fn next(&mut self) -> Option<u8> {
        std::future::poll_fn(|context| {
            for (number, signal) in &mut self.passed {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(Some(*number));
                }
            }
            self.resize.poll_recv(context).map(|_| None)
        })
        .await
    }
}
