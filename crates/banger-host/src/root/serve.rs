//! The listening side: authenticates clients, and limits their time and number.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};

use super::log;
use super::message::{Reply, Request, layers_of};
use super::served::ClaimedHost;
use super::wire::{Received, Wire, understand};
use crate::{Error, Kind, Result};

/// The maximum number of open connections; a daemon has one for each kind of request.
pub(crate) const MOST_CONNECTIONS: usize = 8;

/// How long a connection may be silent, and how long the program runs without connections.
const IDLE: Duration = Duration::from_secs(120);

/// How long a client may take to read an answer.
const SENDING: Duration = Duration::from_secs(10);

/// The number of refusals on one connection that are logged.
const MOST_LOGGED: usize = 16;

/// The kind of socket on standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A listening socket, which systemd passes.
    Listener,
    /// One connection.
    Connection,
}

/// Serves the connections on standard input, until none has come for a while.
pub(super) fn serve(served: ClaimedHost, input: Input) -> Result<()> {
    let socket = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|cause| Error::io("use the standard input", cause))?;
    let listens = sockopt::socket_acceptconn(&socket).map_err(|_| {
        Error::new(Kind::Other, "the standard input is not a socket")
            .hint("this program is started by systemd or by bangerd, never by hand")
    })?;
    match (input, listens) {
        (Input::Listener, true) => listen(&socket, &Arc::new(served)),
        (Input::Connection, false) => {
            converse(Wire::new(socket), &served);
            Ok(())
        }
        (Input::Listener, false) => Err(Error::new(
            Kind::Other,
            "the standard input is not a listening socket; `--stdin` serves a connection",
        )),
        (Input::Connection, true) => Err(Error::new(
            Kind::Other,
            "the standard input is a listening socket; `--stdin` serves one connection",
        )),
    }
}

/// Accepts connections, and serves each on a thread of its own.
pub(super) fn listen(listener: &OwnedFd, served: &Arc<ClaimedHost>) -> Result<()> {
    let open = Arc::new(AtomicUsize::new(0));
    let mut strangers = BTreeSet::new();
    loop {
        if !comes(listener)? {
            if open.load(Ordering::Acquire) == 0 {
                return Ok(());
            }
            continue;
        }
        let socket = match accept_with(listener, SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            // No client came, or it has gone already.
            Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => continue,
            Err(cause) => return Err(Error::io("take a connection", cause.into())),
        };
        let wire = Wire::new(socket);
        let Ok(peer) = wire.peer() else { continue };
        if peer != served.uid() {
            // The bound keeps users from filling the set.
            if strangers.len() < MOST_LOGGED && strangers.insert(peer) {
                log(&format!("refused user {peer}"));
            }
            continue;
        }
        if open.load(Ordering::Acquire) >= MOST_CONNECTIONS {
            refuse(&wire, Kind::Busy, "too many connections are open");
            continue;
        }
        open.fetch_add(1, Ordering::AcqRel);
        let place = ConnectionPermit(open.clone());
        let served = served.clone();
        let started = thread::Builder::new()
            .name("connection".to_owned())
            .spawn(move || {
                let _place = place;
                converse(wire, &served);
            });
        if let Err(cause) = started {
            log(&format!("no thread for a connection: {cause}"));
        }
    }
}

/// The permit of an open connection. It counts until it is dropped, even if the thread panics.
struct ConnectionPermit(Arc<AtomicUsize>);

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Waits for a connection, at most [`IDLE`]; returns whether one came.
fn comes(listener: &OwnedFd) -> Result<bool> {
    let patience = Timespec {
        tv_sec: IDLE.as_secs().cast_signed(),
        tv_nsec: 0,
    };
    loop {
        let mut wanted = [PollFd::new(listener, PollFlags::IN)];
        match poll(&mut wanted, Some(&patience)) {
            Err(Errno::INTR) => {}
            other => return Ok(other? > 0),
        }
    }
}

fn refuse(wire: &Wire, kind: Kind, text: &str) {
    // A client that sends nothing yet does not wait for this answer either, so the time-out is
    // short.
    drop(wire.set_patience(SENDING, Duration::from_secs(1)));
    let _ = wire.say(&Reply::Error(layers_of(&Error::new(kind, text))), &[]);
}

/// Serves one connection until it ends, or is silent for too long.
pub(super) fn converse(mut wire: Wire, served: &ClaimedHost) {
    if wire.peer().ok() != Some(served.uid()) {
        log("rejected a connection of another user");
        return;
    }
    let Ok(group) = wire.peer_group() else { return };
    if wire.set_patience(IDLE, SENDING).is_err() {
        return;
    }
    let mut greeted = false;
    let mut logged = 0;
    loop {
        let (bytes, descriptors) = match wire.receive() {
            Ok(Received::Message(bytes, descriptors)) => (bytes, descriptors),
            Ok(Received::Refused(why)) => {
                // The lost part of the message is unknown, so later messages are not trusted
                // either.
                refuse(&wire, Kind::Denied, why);
                log(&format!("refused a message: {why}"));
                return;
            }
            Ok(Received::End | Received::Nothing) | Err(_) => return,
        };
        let reply = match understand::<Request>(&bytes) {
            Ok(request) => {
                let described = describe(&request);
                let reply = served.answer(request, &descriptors, group, &mut greeted);
                note(described, &reply, &mut logged);
                reply
            }
            Err(error) => {
                let reply = Reply::Error(layers_of(&error));
                note(Some("a message".to_owned()), &reply, &mut logged);
                reply
            }
        };
        if wire.say(&reply, &[]).is_err() {
            return;
        }
    }
}

/// The log entry of a request; `None` if the request changes nothing.
fn describe(request: &Request) -> Option<String> {
    match request {
        Request::Change(op) => serde_json::to_string(op).ok(),
        Request::StartJailed(jailed) => serde_json::to_string(jailed)
            .ok()
            .map(|it| format!("jailed {it}")),
        Request::SignalJailed { process, signal } => {
            Some(format!("signal {signal:?} to process {}", process.pid))
        }
        Request::Hello { .. } | Request::Look(_) => None,
    }
}

/// Logs every change, and refusals up to [`MOST_LOGGED`].
fn note(request: Option<String>, reply: &Reply, logged: &mut usize) {
    let Some(request) = request else { return };
    let request: String = request.chars().take(200).collect();
    match reply {
        Reply::Changed(crate::Change::Made) | Reply::Started(_) => log(&format!("made {request}")),
        Reply::Error(layers) if *logged < MOST_LOGGED => {
            *logged += 1;
            let words: Vec<&str> = layers.iter().map(|it| it.message.as_str()).collect();
            log(&format!("refused {request}: {}", words.join(": ")));
        }
        Reply::Hello(_)
        | Reply::Changed(_)
        | Reply::Holds(_)
        | Reply::Found(_)
        | Reply::Snapshot(_)
        | Reply::Error(_) => {}
    }
}
