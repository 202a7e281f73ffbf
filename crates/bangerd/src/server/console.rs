//! A client at a VM's console, on an upgraded connection (RFC 9110, 7.8): typed bytes go to the
//! machine's serial port, and the guest's output comes as frames (`banger_api::console`).
//!
//! Typed bytes are always read at once, so that a client that disconnects is noticed even if the
//! guest reads nothing; the client waits for room frames instead. What is typed before the guest has opened its
//! serial port waits here: the port would lose some of it.

use std::io::{Error as IoError, ErrorKind};
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use banger_api::console::{ConsoleFrame, TYPING_WINDOW, UPGRADE};
use banger_api::{Code, Error, VmRef};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::unix::pipe::Sender;
use tokio::sync::{mpsc, watch};

use super::App;
use super::reply::Refusal;
use super::stream::permit;
use super::upgrade;
use super::work::ask;
use crate::engine::{ConsolePiece, ConsoleReader, Engine};

/// The number of frames that are queued for a slow client.
const FRAMES: usize = 4;

/// The number of typed bytes per read.
const PIECE: usize = 16 << 10;

/// Starts a session, and passes the connection to it.
pub(super) async fn console(
    app: App,
    vm: VmRef,
    types: bool,
    mut request: Request,
) -> std::result::Result<Response, Refusal> {
    let client = upgrade::take(&mut request, UPGRADE, "banger vm console NAME")?;
    let permit = permit(&app)?;
    let session = ask(&app, move |engine| engine.attach_console(&vm, types)).await??;
    let (input, typing) = match session.typing {
        Some(typing) => (Some(typing.input), Some(typing.permit)),
        None => (None, None),
    };
    let input = input.map(Sender::from_owned_fd).transpose();
    let input = input.map_err(|cause| {
        Error::new(Code::Internal, "use the console's input").cause(cause.to_string())
    })?;
    let (shutdown, engine) = (app.shutdown.clone(), Arc::clone(&app.engine));
    tokio::spawn(async move {
        if let Ok(client) = client.await {
            tokio::select! {
                () = shutdown.begun() => {}
                () = relay(TokioIo::new(client), engine, session.reader, input) => {}
            }
        }
        drop((typing, permit));
    });
    Ok(upgrade::response(UPGRADE))
}

/// Copies bytes both ways until the client disconnects, or has got the end frame.
async fn relay(
    client: impl AsyncRead + AsyncWrite,
    engine: Arc<Engine>,
    reader: ConsoleReader,
    input: Option<Sender>,
) {
    let (from_client, mut to_client) = split(client);
    let (frame, mut frames) = mpsc::channel(FRAMES);
    let output = frame.clone();
    let (open, opened) = watch::channel(false);
    tokio::task::spawn_blocking(move || read(&engine, reader, &output, &open));
    let written = async {
        while let Some(frame) = frames.recv().await {
            let is_last = matches!(frame, ConsoleFrame::End(_));
            if to_client.write_all(&frame.encode()).await.is_err() || is_last {
                return;
            }
        }
    };
    tokio::select! {
        () = written => {}
        _ = typed(from_client, input, frame, opened) => {}
    }
    let _ = to_client.shutdown().await;
}

/// Sends the guest's output, until the client disconnects or the machine has ended.
fn read(
    engine: &Engine,
    mut reader: ConsoleReader,
    frame: &mpsc::Sender<ConsoleFrame>,
    open: &watch::Sender<bool>,
) {
    while !frame.is_closed() && !engine.is_stopping() {
        let read = engine.read_console(&mut reader);
        if reader.takes_input() {
            open.send_if_modified(|open| !std::mem::replace(open, true));
        }
        let next = match read {
            Ok(ConsolePiece::Output(bytes)) if bytes.is_empty() => continue,
            Ok(ConsolePiece::Output(bytes)) => ConsoleFrame::Output(bytes),
            Ok(ConsolePiece::Earlier(bytes)) => ConsoleFrame::Earlier(bytes),
            Ok(ConsolePiece::Ended(how)) => ConsoleFrame::End(how),
            // The VM was deleted meanwhile.
            Err(error) => ConsoleFrame::End(error.report()),
        };
        let is_last = matches!(next, ConsoleFrame::End(_));
        if frame.blocking_send(next).is_err() || is_last {
            return;
        }
    }
}

/// Types the client's bytes, until the client disconnects or exceeds its window.
async fn typed(
    mut client: impl AsyncRead + Unpin,
    mut input: Option<Sender>,
    frame: mpsc::Sender<ConsoleFrame>,
    mut opened: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut is_open = false;
    let mut pending = Vec::new();
    let mut bytes = vec![0; PIECE];
    loop {
        tokio::select! {
            read = client.read(&mut bytes) => {
                let count = read?;
                if count == 0 || pending.len() + count > TYPING_WINDOW {
                    return Ok(());
                }
                if input.is_some() {
                    pending.extend_from_slice(&bytes[..count]);
                }
            }
            found = opens(&mut opened), if !is_open => {
                is_open = true;
                if !found {
                    // The machine has ended, which the reader reports.
                    input = None;
                    pending.clear();
                }
            }
            taken = take(input.as_ref(), &pending), if is_open && !pending.is_empty() => match taken {
                Ok(count) => {
                    pending.drain(..count);
                    let room = ConsoleFrame::Room(u32::try_from(count).unwrap_or(0));
                    // A client that does not read frames has disconnected, too.
                    frame.send(room).await.map_err(|_| IoError::from(ErrorKind::BrokenPipe))?;
                }
                // The machine has ended, which the reader reports.
                Err(_) => {
                    input = None;
                    pending.clear();
                }
            },
        }
    }
}

/// Waits until the guest has its port open; whether that has come.
async fn opens(opened: &mut watch::Receiver<bool>) -> bool {
    opened.wait_for(|open| *open).await.is_ok()
}

/// Waits until the machine accepts typed bytes, and returns how many.
async fn take(input: Option<&Sender>, pending: &[u8]) -> std::io::Result<usize> {
    let Some(input) = input else {
        return std::future::pending().await;
    };
    loop {
        input.writable().await?;
        match input.try_write(pending) {
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}
