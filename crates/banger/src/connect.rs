//! Finding the daemon, and starting it when it is not there.
//!
//! Two clients may do so at once: both start a daemon, one of the daemons gets the lock on the
//! state directory, and the other says `held` and ends. Its client waits for the first one's
//! socket. A daemon that is just ending may hold the lock too, so a client that was told `held`
//! and hears nothing tries again.

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
use crate::programs::{self, Started};
use crate::progress::Wait;
use crate::systemd::{Systemd, UNIT};

/// How long a daemon has to say how it stands: it may have many VMs to adopt first.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long another daemon, that has the lock, has to answer.
const HELD_DEADLINE: Duration = Duration::from_secs(10);
/// How long we listen for that one before we try to start one again.
const HELD_PATIENCE: Duration = Duration::from_millis(500);

/// A client of the daemon if one answers.
///
/// # Errors
/// When the socket cannot be reached though something is there.
pub(crate) fn if_there(places: &Paths) -> Result<Option<Client>> {
    let socket = &places.location.socket;
    if answers(socket)? {
        Client::new(socket).map(Some)
    } else {
        Ok(None)
    }
}

/// A client of the daemon, which is started when none answers.
///
/// # Errors
/// Why the daemon does not start, or that another one holds the state directory and is silent.
pub(crate) fn or_start(places: &Paths, output: Output) -> Result<Client> {
    if let Some(client) = if_there(places)? {
        return Ok(client);
    }
    let _wait = Wait::new(output, "start the daemon");
    let location = &places.location;
    let systemd = Systemd::new(places);
    if systemd.unit_serves(places) {
        // What keeps the unit from starting keeps us from it too, and is then told by the daemon.
        let started = systemd.user_does(&["start", UNIT]);
        if started.is_ok() && answers_until(&location.socket, Instant::now() + HELD_DEADLINE)? {
            return Client::new(&location.socket);
        }
        if let Err(error) = started {
            let why = error.causes.first().map_or("", String::as_str);
            output.warning(&format!(
                "{error}: {why}; the daemon is started without systemd"
            ));
        }
    }
    let program = programs::find_bangerd(places.search.as_deref())?;
    let deadline = Instant::now() + HELD_DEADLINE;
    loop {
        let stands = start(&program, places)?;
        let patience = match stands {
            StartOutcome::Ready => deadline,
            StartOutcome::Held => deadline.min(Instant::now() + HELD_PATIENCE),
        };
        if answers_until(&location.socket, patience)? {
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
            .hint("was it started with another socket? set BANGER_SOCKET to that one")
            .hint("see what it says: banger daemon logs"));
        }
    }
}

/// Whether somebody answers on the socket.
fn answers(socket: &Path) -> Result<bool> {
    let Err(cause) = UnixStream::connect(socket) else {
        return Ok(true);
    };
    // Where the directory cannot be either, the daemon that is started says why.
    if matches!(
        cause.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::ConnectionRefused
    ) {
        return Ok(false);
    }
    let error = Error::new(Code::NotReady, format!("connect to `{}`", socket.display()))
        .cause(cause.to_string());
    Err(if cause.kind() == ErrorKind::PermissionDenied {
        error.hint("each user has a daemon of their own; look at BANGER_SOCKET and --socket")
    } else {
        error.hint("look at BANGER_SOCKET and --socket, and at BANGER_STATE and --state")
    })
}

/// Whether somebody answers before the deadline.
fn answers_until(socket: &Path, deadline: Instant) -> Result<bool> {
    loop {
        if answers(socket)? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a socket that is not there gives nothing to wait on"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// How a daemon stands that was just started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StartOutcome {
    /// It answers.
    Ready,
    /// Another one has the state directory.
    Held,
}

fn start(program: &Path, places: &Paths) -> Result<StartOutcome> {
    let mut started = programs::start_bangerd(program, &arguments(places), &places.of_a_daemon)?;
    let line = match started.child.stdout.take() {
        Some(pipe) => first_line(pipe, Instant::now() + START_DEADLINE)?,
        None => String::new(),
    };
    match line.split_whitespace().next() {
        Some("ready") => Ok(StartOutcome::Ready),
        Some("held") => {
            // It ends by itself; this takes it out of the process table.
            let _ = started.child.wait();
            Ok(StartOutcome::Held)
        }
        _ => Err(complaint(started)),
    }
}

/// The daemon is told what we were told, and the socket that we look for in any case.
fn arguments(places: &Paths) -> Vec<OsString> {
    let mut arguments = Vec::new();
    let mut add = |option: &str, path: &Path| arguments.extend([option.into(), path.into()]);
    add("--state", &places.location.state);
    add("--socket", &places.location.socket);
    if let Some(config) = &places.wishes.config {
        add("--config", config);
    }
    if let Some(bundle) = &places.wishes.bundle {
        add("--bundle", bundle);
    }
    if places.sim {
        arguments.push("--sim".into());
    }
    arguments
}

/// Reads until a newline or the end.
fn first_line(mut pipe: ChildStdout, deadline: Instant) -> Result<String> {
    let mut line = Vec::new();
    let mut piece = [0; 512];
    loop {
        if !is_readable(&pipe, deadline.saturating_duration_since(Instant::now())) {
            return Err(Error::new(
                Code::NotReady,
                format!(
                    "bangerd did not get ready within {} s",
                    START_DEADLINE.as_secs()
                ),
            )
            .hint("it may still come up; see what it says: banger daemon status"));
        }
        let read = match pipe.read(&mut piece) {
            Ok(read) => read,
            Err(cause) if cause.kind() == ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        line.extend_from_slice(&piece[..read]);
        if read == 0 || line.contains(&b'\n') {
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
    }
}

/// Waits until there is something to read, or the end of it; false at the deadline.
pub(crate) fn is_readable(descriptor: &impl AsFd, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(timeout) = Timespec::try_from(left) else {
            return false;
        };
        let mut one = [PollFd::new(descriptor, PollFlags::IN)];
        match rustix::event::poll(&mut one, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            outcome => return outcome.is_ok_and(|ready| ready > 0),
        }
    }
}

/// What the daemon said on standard error before it ended without a word.
fn complaint(mut started: Started) -> Error {
    let status = started
        .child
        .wait()
        .map_or_else(|_| String::new(), |it| it.to_string());
    let length = started
        .complaints
        .metadata()
        .map_or(0, |it| it.len().min(64 << 10));
    let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
    let read = started.complaints.read_at(&mut text, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&text[..read]).trim().to_owned();
    let log = "see what it says: banger daemon logs";
    // What a thread that panics writes may stand around it.
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
    fn nobody_answers_where_there_is_no_socket_or_a_dead_one() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        assert!(!answers(&socket).unwrap());
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(answers(&socket).unwrap());
        drop(listener);
        assert!(!answers(&socket).unwrap());
    }
}
