//! Connects to the daemon, and starts it if it is not running.
//!
//! If two clients start a daemon at once, one daemon locks the state directory; the other prints
//! `held` and exits, and its client waits for the first one's socket. An exiting daemon may still
//! hold the lock, so the client retries if nothing answers after `held`.

use std::ffi::OsString;
use std::io::{ErrorKind, Read as _};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ChildStdout;
use std::time::{Duration, Instant};

use banger_api::client::Client;
use banger_api::{Code, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::output::Output;
use crate::paths::Paths;
use crate::poll;
use crate::programs::{self, StartingDaemon};
use crate::progress::Wait;
use crate::systemd::{Systemd, UNIT};

/// Timeout for a started daemon's first line: it may have many VMs to adopt first.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout for an answer from another daemon that holds the lock.
const HELD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for that daemon before starting one again.
const HELD_RETRY: Duration = Duration::from_millis(500);

/// A client of the running daemon, if there is one.
///
/// # Errors
/// The socket exists, and cannot be connected to.
pub(crate) fn if_there(places: &Paths) -> Result<Option<Client>> {
    let socket = &places.location.socket;
    if places.remote.is_some() {
        // The session has connected, which starts the daemon there.
        return Client::new(socket).map(Some);
    }
    if answers(socket)? {
        Client::new(socket).map(Some)
    } else {
        Ok(None)
    }
}

/// A client of the daemon, which is started if it is not running.
///
/// # Errors
/// The daemon does not start, or another one holds the state directory and does not answer.
pub(crate) fn or_start(places: &Paths, output: Output) -> Result<Client> {
    if let Some(client) = if_there(places)? {
        return Ok(client);
    }
    let _wait = Wait::new(output, "start the daemon");
    let location = &places.location;
    let systemd = Systemd::new(places);
    if systemd.unit_serves(places) {
        // If the unit fails for a reason that also affects a direct start, that start reports it.
        let started = systemd.user_does(&["start", UNIT]);
        if started.is_ok() && answers_until(&location.socket, Instant::now() + HELD_TIMEOUT)? {
            return Client::new(&location.socket);
        }
        if let Err(error) = started {
            let why = error.causes.first().map_or("", String::as_str);
            output.warning(&format!(
                "{error}: {why}; starting the daemon without systemd"
            ));
        }
    }
    let program = programs::find_bangerd(places.search.as_deref())?;
    let deadline = Instant::now() + HELD_TIMEOUT;
    loop {
        let outcome = start(&program, places)?;
        let answer_by = match outcome {
            StartOutcome::Ready => deadline,
            StartOutcome::Held => deadline.min(Instant::now() + HELD_RETRY),
        };
        if answers_until(&location.socket, answer_by)? {
            return Client::new(&location.socket);
        }
        if Instant::now() >= deadline {
            return Err(Error::new(
                Code::NotReady,
                format!(
                    "a daemon holds `{}` and does not answer on `{}`",
                    location.state.display(),
                    location.socket.display()
                ),
            )
            .hint("if it was started with another socket, set BANGER_SOCKET")
            .hint("see its log: banger daemon logs"));
        }
    }
}

/// Whether a daemon listens on the socket.
fn answers(socket: &Path) -> Result<bool> {
    let Err(cause) = UnixStream::connect(socket) else {
        return Ok(true);
    };
    // If the path is impossible, the started daemon reports it.
    if matches!(
        cause.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::ConnectionRefused
    ) {
        return Ok(false);
    }
    let error = Error::new(Code::NotReady, format!("connect to `{}`", socket.display()))
        .cause(cause.to_string());
    Err(if cause.kind() == ErrorKind::PermissionDenied {
        error.hint("each user has their own daemon; check BANGER_SOCKET and --socket")
    } else {
        error.hint("check BANGER_SOCKET and --socket, BANGER_STATE and --state")
    })
}

/// Waits for a daemon on the socket; false at the deadline.
fn answers_until(socket: &Path, deadline: Instant) -> Result<bool> {
    loop {
        if answers(socket)? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        poll::pause(Duration::from_millis(10));
    }
}

/// The outcome of starting a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StartOutcome {
    /// It is ready.
    Ready,
    /// Another daemon holds the state directory.
    Held,
}

fn start(program: &Path, places: &Paths) -> Result<StartOutcome> {
    let mut daemon = programs::start_bangerd(program, &arguments(places), &places.of_a_daemon)?;
    let line = match daemon.child.stdout.take() {
        Some(pipe) => first_line(pipe, Instant::now() + START_TIMEOUT)?,
        None => String::new(),
    };
    match line.split_whitespace().next() {
        Some("ready") => Ok(StartOutcome::Ready),
        Some("held") => {
            // It exits by itself; this reaps it.
            let _ = daemon.child.wait();
            Ok(StartOutcome::Held)
        }
        _ => Err(start_error(daemon)),
    }
}

/// The daemon's arguments: the user's own options, and always the state directory and socket.
fn arguments(places: &Paths) -> Vec<OsString> {
    let mut arguments = Vec::new();
    let mut add = |option: &str, path: &Path| arguments.extend([option.into(), path.into()]);
    add("--state", &places.location.state);
    add("--socket", &places.location.socket);
    if let Some(config) = &places.options.config {
        add("--config", config);
    }
    if let Some(bundle) = &places.options.bundle {
        add("--bundle", bundle);
    }
    if places.sim {
        arguments.push("--sim".into());
    }
    arguments
}

/// Reads up to the first newline, or to the end.
fn first_line(mut pipe: ChildStdout, deadline: Instant) -> Result<String> {
    let mut line = Vec::new();
    let mut chunk = [0; 512];
    loop {
        if !is_readable(&pipe, deadline.saturating_duration_since(Instant::now())) {
            return Err(Error::new(
                Code::NotReady,
                format!("bangerd was not ready within {} s", START_TIMEOUT.as_secs()),
            )
            .hint("it may still be starting; see: banger daemon status"));
        }
        let read = match pipe.read(&mut chunk) {
            Ok(read) => read,
            Err(cause) if cause.kind() == ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        line.extend_from_slice(&chunk[..read]);
        if read == 0 || line.contains(&b'\n') {
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
    }
}

/// Waits until the descriptor is readable or at its end; false after the timeout.
pub(crate) fn is_readable(descriptor: &impl AsFd, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else {
            return false;
        };
        let mut one = [PollFd::new(descriptor, PollFlags::IN)];
        match rustix::event::poll(&mut one, Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            outcome => return outcome.is_ok_and(|ready| ready > 0),
        }
    }
}

/// The error of a daemon that exited without a first line: its last words on standard error.
fn start_error(mut daemon: StartingDaemon) -> Error {
    let status = daemon
        .child
        .wait()
        .map_or_else(|_| String::new(), |it| it.to_string());
    let length = daemon
        .stderr
        .metadata()
        .map_or(0, |it| it.len().min(64 << 10));
    let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
    let read = daemon.stderr.read_at(&mut text, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&text[..read]).trim().to_owned();
    let log = "see its log: banger daemon logs";
    // A panic message may surround the line with the error.
    let mut lines = text.lines().rev();
    if let Some(error) = lines.find_map(|line| serde_json::from_str::<Error>(line).ok()) {
        return error.within("start the daemon");
    }
    let cause = if text.is_empty() { status } else { text };
    Error::new(Code::NotReady, "start the daemon")
        .cause(cause)
        .hint(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_and_a_dead_socket_do_not_answer() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        assert!(!answers(&socket).unwrap());
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(answers(&socket).unwrap());
        drop(listener);
        assert!(!answers(&socket).unwrap());
    }
}
