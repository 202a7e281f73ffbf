//! Copies bytes between this process and a console.

use std::io::{self, Write as _};

use banger_api::client::ExecStream;
use banger_api::console::{ConsoleFrame, ConsoleFrames, TYPING_WINDOW};
use banger_api::{Code, Error};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::super::exec::conversation::read_input;
use crate::console::Filter;
use crate::escape::Escape;

/// The end of a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The user left.
    Left,
    /// The VM does not run any more, with the reason.
    Ended(String),
    /// This signal ended us.
    Signal(u8),
    /// The reader of our output has gone.
    ReaderGone,
    /// The connection ended before the console did.
    Lost,
}

/// The options of a session.
#[derive(Debug)]
pub(super) struct SessionOptions {
    /// Whether input is typed to the guest.
    pub(super) types: bool,
    /// Whether standard input is a terminal.
    pub(super) tty: bool,
    /// Whether earlier output is filtered: a terminal would answer queries in it, and the answers
    /// would be typed.
    pub(super) filters: bool,
    /// The key that ends the session.
    pub(super) escape: Escape,
}

/// The byte of `Ctrl-C` on a raw terminal.
const INTERRUPT: u8 = 3;

/// Copies bytes until the session ends.
pub(super) fn hold(stream: ExecStream, options: &SessionOptions) -> Result<End, Error> {
    let failed = |cause: io::Error| {
        Error::new(Code::Internal, "speak with the console").cause(cause.to_string())
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let end = runtime.block_on(async {
        stream.socket.set_nonblocking(true)?;
        let mut conversation = Conversation {
            socket: UnixStream::from_std(stream.socket)?,
            frames: ConsoleFrames::default(),
            room: TYPING_WINDOW,
            options,
        };
        conversation.frames.push(&stream.early);
        conversation.run().await
    });
    // A pending read of standard input is abandoned.
    runtime.shutdown_background();
    end.map_err(failed)
}

struct Conversation<'a> {
    socket: UnixStream,
    frames: ConsoleFrames,
    /// The number of bytes that may still be typed.
    room: usize,
    options: &'a SessionOptions,
}

impl Conversation<'_> {
    async fn run(&mut self) -> io::Result<End> {
        let mut signals = signals()?;
        let mut input = (self.options.types || self.options.tty).then(read_input);
        let mut pending = Vec::new();
        let mut bytes = vec![0; 64 << 10];
        loop {
            if let Some(end) = self.obey()? {
                return Ok(end);
            }
            self.send(&mut pending).await;
            let wants_input = input.is_some() && pending.is_empty();
            tokio::select! {
                read = self.socket.read(&mut bytes) => match read {
                    Ok(count @ 1..) => self.frames.push(&bytes[..count]),
                    Ok(0) | Err(_) => return Ok(End::Lost),
                },
                piece = next(&mut input), if wants_input => match piece {
                    Some(piece) => {
                        if self.take(&piece, &mut pending).await {
                            return Ok(End::Left);
                        }
                    }
                    None => input = None,
                },
                number = caught(&mut signals) => return Ok(End::Signal(number)),
            }
        }
    }

    /// Takes typed bytes, and returns whether the user ends the session. On a terminal, bytes
    /// without room are dropped, as on any serial line, so that the key that ends the session is
    /// always seen.
    async fn take(&mut self, piece: &[u8], pending: &mut Vec<u8>) -> bool {
        let (typed, leaves) = self.options.escape.split(piece);
        if self.options.types {
            pending.extend_from_slice(typed);
            self.send(pending).await;
            if self.options.tty {
                pending.clear();
            }
            return leaves;
        }
        leaves || typed.contains(&INTERRUPT)
    }

    /// Sends as many bytes as there is room for.
    async fn send(&mut self, pending: &mut Vec<u8>) {
        let count = pending.len().min(self.room);
        if count > 0 {
            let piece: Vec<u8> = pending.drain(..count).collect();
            self.room -= count;
            // If it fails, the end of the connection follows.
            let _ = self.socket.write_all(&piece).await;
        }
    }

    fn obey(&mut self) -> io::Result<Option<End>> {
        while let Some(frame) = self.frames.next_frame().map_err(io::Error::other)? {
            let output = match frame {
                ConsoleFrame::Earlier(bytes) if self.options.filters => {
                    let mut filter = Filter::new();
                    let mut text = filter.pass(&bytes);
                    text.push_str(filter.end());
                    text.into_bytes()
                }
                ConsoleFrame::Earlier(bytes) | ConsoleFrame::Output(bytes) => bytes,
                ConsoleFrame::Room(more) => {
                    self.room = self.room.saturating_add(more as usize).min(TYPING_WINDOW);
                    continue;
                }
                ConsoleFrame::End(how) => return Ok(Some(End::Ended(how))),
            };
            let mut stdout = io::stdout().lock();
            match stdout.write_all(&output).and_then(|()| stdout.flush()) {
                Ok(()) => {}
                Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(Some(End::ReaderGone));
                }
                Err(cause) => return Err(cause),
            }
        }
        Ok(None)
    }
}

async fn next(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

/// The signals that end a session, with their numbers: HUP, INT, QUIT, TERM.
fn signals() -> io::Result<Vec<(u8, Signal)>> {
    let signal = |number: u8| Ok((number, signal(SignalKind::from_raw(i32::from(number)))?));
    [1, 2, 3, 15].into_iter().map(signal).collect()
}

/// The number of the next signal.
async fn caught(signals: &mut [(u8, Signal)]) -> u8 {
    std::future::poll_fn(|context| {
        for (number, signal) in &mut *signals {
            if signal.poll_recv(context).is_ready() {
                return std::task::Poll::Ready(*number);
            }
        }
        std::task::Poll::Pending
    })
    .await
}
