//! The carrier of `banger vm forward`: one process beside the agent for all connections.
//!
//! The agent reads the kind of a stream, and passes the stream to this process over a Unix socket.
//! A guest without free memory may lose this process, but never the agent; the next connection
//! starts it again. Each stream has a thread with a small stack.

mod dial;
mod listen;

use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use banger_guest::streams::{Accept, ConnectReply, MOST_STREAMS, StreamKind, Target, read_line};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::exec;
use crate::system::enter;
use listen::PendingConnections;

/// The argument that selects this role of the program.
pub(crate) const ROLE: &str = "connections";

/// The stack of a thread, in bytes.
const STACK: usize = 128 << 10;

/// How long the daemon's line may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The carrier process, as the agent knows it.
struct Carrier {
    socket: UnixStream,
    process: Child,
}

static CARRIER: Mutex<Option<Carrier>> = Mutex::new(None);

/// Passes a stream of one of these kinds to the process, which is started if it is not running.
///
/// # Errors
/// If it cannot be started.
pub(crate) fn hand_over(stream: &UnixStream, kind: StreamKind) -> io::Result<()> {
    let mut carrier = CARRIER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = carrier.as_ref()
        && send(&running.socket, stream, kind).is_ok()
    {
        return Ok(());
    }
    if let Some(mut gone) = carrier.take() {
        drop(gone.socket);
        let _ = gone.process.kill();
        let _ = gone.process.wait();
    }
    let started = start()?;
    send(&started.socket, stream, kind)?;
    *carrier = Some(started);
    Ok(())
}

fn start() -> io::Result<Carrier> {
    let (ours, theirs) = UnixStream::pair()?;
    let process = enter::ourselves()
        .arg(ROLE)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Carrier {
        socket: ours,
        process,
    })
}

fn byte_of(kind: StreamKind) -> u8 {
    match kind {
        StreamKind::Listen => b'l',
        StreamKind::Accept => b'a',
        _ => b'c',
    }
}

fn send(socket: &UnixStream, stream: &UnixStream, kind: StreamKind) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [stream.as_fd()];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("the message has no room for a descriptor"));
    }
    let byte = [byte_of(kind)];
    sendmsg(
        socket,
        &[IoSlice::new(&byte)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// The next stream and the byte for its kind; `None` once the agent has ended.
fn receive(socket: &UnixStream) -> io::Result<Option<(u8, UnixStream)>> {
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let received = recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut byte)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        );
        match received {
            Err(rustix::io::Errno::INTR) => continue,
            Err(cause) => return Err(cause.into()),
            Ok(message) if message.bytes == 0 => return Ok(None),
            Ok(_) => {}
        }
        let fd = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        if let Some(fd) = fd {
            return Ok(Some((byte[0], fd.into())));
        }
    }
}

/// Carries connections until the agent and the last connection have ended.
pub(crate) fn run() -> ExitCode {
    exec::leave_agent();
    let Ok(agent) = io::stdin().as_fd().try_clone_to_owned() else {
        return ExitCode::FAILURE;
    };
    let agent = UnixStream::from(agent);
    let pending = Arc::new(PendingConnections::default());
    let open = Arc::new(AtomicUsize::new(0));
    let mut threads = Vec::new();
    while let Ok(Some((kind, stream))) = receive(&agent) {
        threads.retain(|thread: &std::thread::JoinHandle<()>| !thread.is_finished());
        if open.load(Ordering::SeqCst) >= MOST_STREAMS {
            continue;
        }
        open.fetch_add(1, Ordering::SeqCst);
        let (pending, count) = (Arc::clone(&pending), Arc::clone(&open));
        let thread = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || {
                // The peer of the stream sees its end.
                let _ = serve(kind, stream, &pending);
                count.fetch_sub(1, Ordering::SeqCst);
            });
        match thread {
            Ok(thread) => threads.push(thread),
            Err(_) => drop(open.fetch_sub(1, Ordering::SeqCst)),
        }
    }
    for thread in threads {
        let _ = thread.join();
    }
    ExitCode::SUCCESS
}

fn serve(kind: u8, stream: UnixStream, pending: &PendingConnections) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    let line = read_line(&stream, Instant::now() + PATIENCE)?;
    match kind {
        b'l' => listen::serve(stream, &serde_json::from_slice::<Target>(&line)?, pending),
        b'a' => {
            let accept: Accept = serde_json::from_slice(&line)?;
            let found = pending.take(accept.accept);
            let found = found.ok_or_else(|| "the connection is gone".to_owned());
            carry(stream, found)
        }
        _ => {
            let dialled = serde_json::from_slice::<Target>(&line)
                .map_err(|cause| format!("the target is not understood: {cause}"))
                .and_then(|target| dial::dial(&target));
            carry(stream, dialled)
        }
    }
}

/// Sends the outcome of the connect, and carries the bytes.
fn carry(mut stream: UnixStream, connection: Result<OwnedFd, String>) -> io::Result<()> {
    let (reply, connection) = match connection {
        Ok(connection) => (ConnectReply::Connected, Some(connection)),
        Err(reason) => (ConnectReply::Refused(reason), None),
    };
    stream.write_all(&banger_guest::protocol::encode(&reply))?;
    match connection {
        Some(connection) => banger_guest::streams::join(&stream, &connection),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
