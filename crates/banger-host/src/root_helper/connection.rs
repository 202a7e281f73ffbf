//! Connections to root, each opened on demand, and reopened when it breaks.
//!
//! Root answers the requests of one connection in order, and some take long: systemd makes a jail,
//! iptables waits for its lock. So each kind of request has a connection of its own, and a quick
//! request never waits for a slow one. Changes of one kind still happen in order.
//!
//! Every request is idempotent, so it is sent once more if the connection broke.

use std::io::Read as _;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, socketpair,
};

use crate::command::{PATH, find_program};
use crate::root::message::{Hello, PROTOCOL, Reply, Request, RootLook, error_of};
use crate::root::wire::{Received, Wire, understand};
use crate::root::{PROGRAMS, socket_path};
use crate::{Claim, Error, Kind, Result, RootOp};

/// How long root may take for one request, which may wait four times for the lock of iptables. It
/// also covers root's first greeting: systemd starts root's side when we connect, at boot perhaps
/// among a hundred others.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long root may take for requests that other work waits for.
const SHORT_PATIENCE: Duration = Duration::from_secs(10);

/// The number of bytes of sudo's standard error that are kept.
const MOST_WORDS: u64 = 2048;

/// A kind of request, with a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// Signals, to pause or end a VM.
    Signals,
    /// The repeated questions of the watch.
    Looks,
    /// The questions of `doctor` and of a start; some of them test an ability.
    Probes,
    /// TAPs, firewall, forwarding.
    Network,
    /// Snapshots, whose devices may be in use for some seconds.
    Disks,
    /// Jails, which systemd makes.
    Jails,
}

impl Lane {
    /// The number of kinds. Root accepts two more connections of one user.
    const COUNT: usize = 6;

    fn of(request: &Request) -> Self {
        match request {
            Request::SignalJailed { .. } => Self::Signals,
            Request::StartJailed(_) => Self::Jails,
            Request::Look(
                RootLook::FirewallHolds { .. }
                | RootLook::ForwardingHolds
                | RootLook::Snapshot { .. },
            ) => Self::Looks,
            Request::Look(_) | Request::Hello { .. } => Self::Probes,
            Request::Change(RootOp::MakeSnapshot { .. } | RootOp::RemoveSnapshot { .. }) => {
                Self::Disks
            }
            Request::Change(_) => Self::Network,
        }
    }

    fn patience(self) -> Duration {
        match self {
            Self::Signals | Self::Looks => SHORT_PATIENCE,
            Self::Probes | Self::Network | Self::Disks | Self::Jails => PATIENCE,
        }
    }
}

/// The connections.
#[derive(Debug)]
pub(super) struct Connection {
    claim: Claim,
    socket: PathBuf,
    described: String,
    open: [Mutex<Option<Wire>>; Lane::COUNT],
}

/// Why an exchange has no answer.
enum ExchangeError {
    /// The connection has ended; a new one may work.
    Gone,
    /// The connection works, but the answer is missing or invalid.
    Other(Error),
}

impl Connection {
    /// Connects to root, which must serve this claim.
    pub(super) fn open(claim: Claim) -> Result<Self> {
        let socket = socket_path(claim.uid);
        Self::at(claim, socket)
    }

    fn at(claim: Claim, socket: PathBuf) -> Result<Self> {
        let (wire, described) = reach(&claim, &socket, PATIENCE)?;
        let mut open: [Mutex<Option<Wire>>; Lane::COUNT] = Default::default();
        // The others are opened at their first request.
        if let Some(first) = open.get_mut(Lane::Probes as usize) {
            *first = Mutex::new(Some(wire));
        }
        Ok(Self {
            claim,
            socket,
            described,
            open,
        })
    }

    pub(super) fn claim(&self) -> &Claim {
        &self.claim
    }

    pub(super) fn described(&self) -> &str {
        &self.described
    }

    /// Sends a request, and waits for the answer.
    pub(super) fn ask(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<Reply> {
        let lane = Lane::of(request);
        let open = &self.open[lane as usize];
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..2 {
            let mut wire = match open.take() {
                Some(wire) => wire,
                None => reach(&self.claim, &self.socket, lane.patience())?.0,
            };
            match exchange(&mut wire, request, descriptors) {
                Ok(reply) => {
                    *open = Some(wire);
                    return match reply {
                        Reply::Error(layers) => Err(error_of(layers)),
                        other => Ok(other),
                    };
                }
                Err(ExchangeError::Gone) => {}
                // A late answer would be taken for that of the next request, so the connection is
                // closed.
                Err(ExchangeError::Other(error)) => return Err(error),
            }
        }
        Err(silence(&self.claim, "root closes every connection"))
    }
}

/// The error for an answer to another request.
pub(super) fn unexpected(reply: &Reply) -> Error {
    Error::new(
        Kind::Other,
        format!("root's answer belongs to another request: {reply:?}"),
    )
}

/// An error with a hint to the command that shows root's side.
fn silence(claim: &Claim, text: &str) -> Error {
    see_journal(claim, Error::new(Kind::Other, text))
}

fn see_journal(claim: &Claim, error: Error) -> Error {
    error.hint(format!(
        "journalctl --unit banger-root@{}.service",
        claim.uid
    ))
}

fn exchange(
    wire: &mut Wire,
    request: &Request,
    descriptors: &[BorrowedFd<'_>],
) -> std::result::Result<Reply, ExchangeError> {
    match wire.say(request, descriptors) {
        Ok(()) => {}
        Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => return Err(ExchangeError::Gone),
        Err(cause) => {
            return Err(ExchangeError::Other(Error::io(
                "send a request to root",
                cause.into(),
            )));
        }
    }
    match wire.receive() {
        Ok(Received::Message(bytes, _)) => understand(&bytes)
            .map_err(|error| ExchangeError::Other(error.within("read root's answer"))),
        Ok(Received::End) => Err(ExchangeError::Gone),
        Ok(Received::Nothing) => Err(ExchangeError::Other(Error::new(
            Kind::Busy,
            "root does not answer in time",
        ))),
        Ok(Received::Refused(why)) => Err(ExchangeError::Other(Error::new(Kind::Other, why))),
        Err(cause) => Err(ExchangeError::Other(Error::io(
            "read root's answer",
            cause.into(),
        ))),
    }
}

/// Connects to root, which must serve this claim, with this time-out for each answer. Returns how
/// it was reached, as text.
fn reach(claim: &Claim, socket: &Path, patience: Duration) -> Result<(Wire, String)> {
    let shown = "reach the root helper";
    let (mut wire, way, words) = dial(claim.uid, socket).map_err(|error| error.within(shown))?;
    wire.set_patience(patience, patience)?;
    let greeting = Request::Hello { protocol: PROTOCOL };
    let reply = match exchange(&mut wire, &greeting, &[]) {
        Ok(reply) => reply,
        Err(ExchangeError::Other(error)) => return Err(see_journal(claim, error).within(shown)),
        Err(ExchangeError::Gone) => return Err(gone(claim, wire, &words).within(shown)),
    };
    let hello = match reply {
        Reply::Hello(hello) => hello,
        Reply::Error(layers) => return Err(error_of(layers).within(shown)),
        other => return Err(unexpected(&other).within(shown)),
    };
    check(claim, &hello)?;
    Ok((wire, format!("banger-root {} {way}", hello.version)))
}

fn check(claim: &Claim, hello: &Hello) -> Result<()> {
    if hello.claim == *claim && hello.instance == claim.instance().digits() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Other,
        "root's grants have changed since the daemon started",
    )
    .hint("restart the daemon: banger daemon stop"))
}

/// The error of a connection that ended before the greeting.
fn gone(claim: &Claim, wire: Wire, words: &Arc<ChildErrors>) -> Error {
    // Its end of the socket is closed, but it may still write the reason.
    drop(wire);
    match words.last_line() {
        Some(line) => Error::new(Kind::Denied, line)
            .within("`sudo -n` does not start it")
            .hint("with systemd no password is needed: banger system install"),
        None => silence(claim, "it ends without an answer"),
    }
}

/// A connected socket, how it was reached, and the standard error of the program that was started.
fn dial(uid: u32, path: &Path) -> Result<(Wire, String, Arc<ChildErrors>)> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let address = SocketAddrUnix::new(path)?;
    match connect(&socket, &address) {
        Ok(()) => {
            let way = format!("behind `{}`", path.display());
            Ok((Wire::new(socket), way, Arc::default()))
        }
        // Without systemd there is no listener.
        Err(Errno::NOENT | Errno::CONNREFUSED) => by_sudo(uid),
        Err(cause) => Err(Error::io(
            format!("connect to `{}`", path.display()),
            cause.into(),
        )),
    }
}

/// Starts the program with a socket as its standard input, if sudo allows it.
fn by_sudo(uid: u32) -> Result<(Wire, String, Arc<ChildErrors>)> {
    let program = PathBuf::from(PROGRAMS).join("banger-root");
    let sudo = find_program("sudo".as_ref());
    let (Some(sudo), true) = (sudo, program.is_file()) else {
        let text = format!(
            "nothing listens on `{}`, and there is no sudo to start `{}`",
            socket_path(uid).display(),
            program.display()
        );
        return Err(Error::new(Kind::Missing, text)
            .hint(format!("systemctl status banger-root@{uid}.socket")));
    };
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let words = start(sudo, program, uid, theirs)?;
    Ok((Wire::new(ours), "by `sudo -n`".to_owned(), words))
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is given a socket as its standard input, which `command::Command` has no way to"
)]
fn start(sudo: PathBuf, program: PathBuf, uid: u32, socket: OwnedFd) -> Result<Arc<ChildErrors>> {
    let mut child = Command::new(sudo)
        .arg("-n")
        .arg(program)
        .args(["serve", "--uid", &uid.to_string(), "--stdin"])
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .stdin(socket)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A ^C in our terminal must not reach it: it ends when we close our end.
        .process_group(0)
        .spawn()
        .map_err(|cause| Error::io("run `sudo -n`", cause))?;
    let words = Arc::new(ChildErrors::default());
    let shared_words = words.clone();
    thread::spawn(move || {
        if let Some(mut errors) = child.stderr.take() {
            let mut text = Vec::new();
            drop(errors.by_ref().take(MOST_WORDS).read_to_end(&mut text));
            shared_words.set(&text);
            // The program must never block on a full pipe.
            drop(std::io::copy(&mut errors, &mut std::io::sink()));
        }
        drop(child.wait());
    });
    Ok(words)
}

/// The standard error of a program, complete once it has ended.
#[derive(Debug, Default)]
struct ChildErrors {
    text: Mutex<Option<String>>,
    ended: std::sync::Condvar,
}

impl ChildErrors {
    fn set(&self, text: &[u8]) {
        let text = String::from_utf8_lossy(text).trim().to_owned();
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        self.ended.notify_all();
    }

    /// The last line; `None` if no program was started, or it does not end.
    fn last_line(self: &Arc<Self>) -> Option<String> {
        if Arc::strong_count(self) == 1 && self.is_empty() {
            return None;
        }
        let held = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = Duration::from_secs(2);
        let (text, _) = self
            .ended
            .wait_timeout_while(held, patience, |text| text.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        text.as_deref()
            .and_then(|it| it.lines().last())
            .map(str::to_owned)
            .filter(|it| !it.is_empty())
    }

    fn is_empty(&self) -> bool {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.is_none()
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
