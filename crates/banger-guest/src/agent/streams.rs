//! Accepts the daemon's streams, over QEMU's second serial port or over a vsock.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use banger_guest::streams::{
    MOST_STREAMS, Mux, Open, OpenReply, PORT_NAME, StreamKind, VSOCK_PORT, read_line,
};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;

use super::{listening, usage};
use crate::system::{enter, port, vsock, wait};
use crate::{connections, copy, exec, job};

/// The pause before a missing port, or one without a daemon, is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// The pause before a port that another of our processes has open is tried again.
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// How long a stream may take to name its kind.
const PATIENCE: Duration = Duration::from_secs(10);

/// Accepts streams on threads of its own.
pub(crate) fn serve_beside() {
    thread::spawn(serve);
}

/// Accepts streams until this process is ended.
pub(crate) fn serve() {
    loop {
        let served = if let Some(path) = port::find(Path::new(port::PORTS), PORT_NAME) {
            serve_port(&path)
        } else if vsock::is_there() && port::find(Path::new(port::PORTS), port_of_agent()).is_none()
        {
            serve_vsock()
        } else {
            Ok(())
        };
        let is_taken = |cause: &io::Error| {
            [ErrorKind::ResourceBusy, ErrorKind::AddrInUse].contains(&cause.kind())
        };
        let is_taken = served.as_ref().is_err_and(is_taken);
        wait::ready(&mut [], if is_taken { LONG_PAUSE } else { PAUSE });
    }
}

/// A machine with the agent's serial port has no streams over a vsock.
fn port_of_agent() -> &'static str {
    banger_guest::protocol::PORT_NAME
}

/// Carries the streams of each daemon that opens the port; returns an error if it cannot be opened.
fn serve_port(path: &Path) -> io::Result<()> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(flags);
    let mut port = options.open(path)?;
    loop {
        // A port without a daemon is always ready to poll, so this loop sleeps instead.
        while is_deserted(&port) {
            wait::ready(&mut [], PAUSE / 8);
        }
        port = Mux::of_guest(port, |stream| attend(stream.into())).run();
    }
}

fn is_deserted(port: &std::fs::File) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(port.as_fd(), PollFlags::IN)];
    wait::ready(&mut fds, Duration::ZERO);
    fds[0].revents().contains(PollFlags::HUP)
}

/// Accepts the daemon's connections; returns an error if it cannot listen.
fn serve_vsock() -> io::Result<()> {
    let listener = vsock::listen_on(VSOCK_PORT)?;
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        match vsock::accept_from(&listener, vsock::HOST) {
            Ok(Some(connection)) if open.load(Ordering::SeqCst) < MOST_STREAMS => {
                let (count, begun) = (Arc::clone(&open), Arc::clone(&open));
                begun.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    greet(connection);
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
            Ok(_) => {}
            Err(_) => wait::ready(&mut [], PAUSE),
        }
    }
}

fn attend(stream: OwnedFd) {
    thread::spawn(move || greet(stream));
}

/// Reads the kind of the stream, and serves it.
fn greet(stream: OwnedFd) {
    // A vsock behaves like any other stream socket here.
    let mut stream = UnixStream::from(stream);
    let _ = stream.set_nonblocking(false);
    let Ok(head) = read_line(&stream, Instant::now() + PATIENCE) else {
        return;
    };
    let kind = serde_json::from_slice::<Open>(&head)
        .ok()
        .and_then(|open| serde_json::from_value::<StreamKind>(open.open).ok());
    let reply = match kind {
        Some(kind) => OpenReply::Opened(kind),
        None => OpenReply::Refused("this guest program has no streams of this kind".to_owned()),
    };
    if stream
        .write_all(&banger_guest::protocol::encode(&reply))
        .is_err()
    {
        return;
    }
    match kind {
        Some(StreamKind::Exec) => run_session(exec::ROLE, stream),
        Some(StreamKind::Copy) => run_session(copy::ROLE, stream),
        Some(StreamKind::Detach) => run_supervisor(stream),
        Some(StreamKind::Jobs) => {
            let _ = job::list(&mut stream);
        }
        Some(StreamKind::Job) => {
            let line = read_line(&stream, Instant::now() + PATIENCE);
            let _ = line.and_then(|line| job::ask(&mut stream, &line));
        }
        Some(StreamKind::Attach) => {
            let line = read_line(&stream, Instant::now() + PATIENCE);
            let _ = line.and_then(|line| job::attach(stream, &line));
        }
        Some(StreamKind::Ports) => {
            let _ = stream.write_all(&json(&listening::all()));
        }
        Some(StreamKind::Usage) => {
            let _ = stream.write_all(&json(&usage::usage()));
        }
        Some(kind @ (StreamKind::Connect | StreamKind::Listen | StreamKind::Accept)) => {
            // If there is no process, the daemon sees the end of the stream.
            let _ = connections::hand_over(&stream, kind);
        }
        None => {}
    }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    banger_guest::protocol::encode(value)
}

/// Runs a session process beside each command and each copy, outside of the agent's limits, so that
/// the two do not disturb each other.
fn run_session(role: &str, stream: UnixStream) {
    if let Ok(mut child) = start_beside(role, stream) {
        let _ = child.wait();
    }
}

/// Starts a job's supervisor, which outlives the stream.
fn run_supervisor(stream: UnixStream) {
    if let Ok(mut child) = start_beside(job::ROLE, stream) {
        thread::spawn(move || child.wait());
    }
}

/// Starts this program in another role, with the stream as its standard input.
fn start_beside(role: &str, stream: UnixStream) -> io::Result<Child> {
    enter::ourselves()
        .arg(role)
        .stdin(Stdio::from(OwnedFd::from(stream)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
