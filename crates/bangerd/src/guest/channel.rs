//! The channel to a guest's agent: a Unix socket in the machine's folder, with the hypervisor on
//! its other side. Behind it is the guest's serial port, or a vsock ([`hybrid`]).
//!
//! No connection is kept open between requests. The protocol resynchronises by itself, so the next
//! daemon is understood even after one that was killed in the middle of a frame.

mod hybrid;
mod socket_lock;
pub(crate) mod streams;

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use banger_api::{Code, Error};
use banger_guest::config::{NewName, Resolvers};
use banger_guest::protocol::{Answer, Ask, Conversation, ConversationError, Phase, VSOCK_PORT};

use super::{Guest, Ready};
use crate::error::{During, Result};
use hybrid::{Dial, DialError, DialProgress};
use socket_lock::SocketLock;

/// Timeout for a request that a healthy guest answers at once. A guest that has just become ready
/// is still busy, and has the rest of its start's timeout if that is longer.
const PROMPT: Duration = Duration::from_secs(5);

/// The difference of a guest's clock from which it is set.
const TOLERANCE: Duration = Duration::from_millis(500);

/// The interval at which a wait checks that the machine still runs.
const GLANCE: Duration = Duration::from_millis(500);

/// The first and the longest pause between two attempts to reach a guest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// A guest behind a real channel.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: PathBuf,
    way: Transport,
    /// The lock on the socket, for a vsock, from the first frame on.
    turn: Option<SocketLock>,
    dial: Option<Dial>,
    conversation: Option<Conversation>,
    /// The deadline of the start that waits for this guest.
    start_deadline: Option<Instant>,
}

/// The peer of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    /// The guest itself; data waits until it listens.
    Serial,
    /// The hypervisor, which connects to the guest if that listens.
    Vsock,
}

/// The reason that a request failed.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("{0}")]
    Absent(io::Error),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Conversation(#[from] ConversationError),
}

impl AskError {
    /// Whether the guest may listen soon: its agent is starting.
    fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Dial(DialError::Refused | DialError::Silent)
                | Self::Conversation(ConversationError::Closed)
        )
    }
}

impl Channel {
    /// The guest behind this socket of a serial port.
    #[must_use]
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self::over(socket, Transport::Serial)
    }

    /// The guest behind this socket of Firecracker's vsock.
    #[must_use]
    pub(crate) fn vsock(socket: PathBuf) -> Self {
        Self::over(socket, Transport::Vsock)
    }

    fn over(socket: PathBuf, way: Transport) -> Self {
        Self {
            socket,
            way,
            turn: None,
            dial: None,
            conversation: None,
            start_deadline: None,
        }
    }

    /// Timeout for a request that a guest answers at once.
    fn prompt(&self) -> Duration {
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        self.start_deadline
            .map_or(PROMPT, |it| PROMPT.max(left(it)))
    }

    /// Connects to the guest; `None` if it is not reached by `until`.
    fn open(&mut self, until: Instant) -> std::result::Result<Option<&mut Conversation>, AskError> {
        if self.conversation.is_none() {
            let stream = match self.way {
                Transport::Serial => connect(&self.socket).map_err(AskError::Absent)?,
                Transport::Vsock => {
                    if self.turn.is_none() {
                        self.turn = SocketLock::wait(&self.socket, until);
                    }
                    if self.turn.is_none() {
                        return Ok(None);
                    }
                    let dial = match self.dial.take() {
                        Some(dial) => dial,
                        None => Dial::new(&self.socket, VSOCK_PORT)?,
                    };
                    match dial.wait(until)? {
                        DialProgress::Through(stream) => stream,
                        DialProgress::Waiting(dial) => {
                            self.dial = Some(dial);
                            return Ok(None);
                        }
                    }
                }
            };
            let token = token().map_err(AskError::Absent)?;
            self.conversation = Some(Conversation::new(stream, &token));
        }
        Ok(self.conversation.as_mut())
    }

    fn ask(&mut self, ask: &Ask, timeout: Duration) -> Result<Answer> {
        let deadline = Instant::now() + timeout;
        let mut pause = FIRST_PAUSE;
        loop {
            let cause = match self.ask_once(ask, deadline) {
                Ok(answer) => return Ok(answer),
                Err(cause) => cause,
            };
            self.conversation = None;
            let again = self.way == Transport::Vsock && cause.may_pass();
            if !again || Instant::now() >= deadline {
                return Err(Error::new(Code::Guest, cause.to_string()));
            }
            wait(&mut pause, deadline);
        }
    }

    fn ask_once(&mut self, ask: &Ask, deadline: Instant) -> std::result::Result<Answer, AskError> {
        match self.open(deadline)? {
            Some(conversation) => Ok(conversation.ask(ask, deadline)?),
            None => Err(DialError::Silent.into()),
        }
    }
}

/// The mark of one conversation's frames.
fn token() -> io::Result<String> {
    let mut token = [0; 16];
    rustix::rand::getrandom(&mut token, rustix::rand::GetRandomFlags::empty())?;
    Ok(token.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Connects to a socket with a path of any length: the socket is opened with O_PATH and addressed
/// through `/proc/self/fd`, because an address has at most 107 bytes (unix(7)). Does not follow
/// links, which the hypervisor's user may have made, and does not wait: a listener with a full
/// queue is an error.
pub(crate) fn connect(socket: &Path) -> io::Result<UnixStream> {
    use rustix::fs::{Mode, OFlags};
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::open(socket, flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(found.as_raw_fd().to_string());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&stream, &SocketAddrUnix::new(short)?)?;
    let stream = UnixStream::from(stream);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

impl Guest for Channel {
    fn wait_ready(&mut self, deadline: Instant, alive: &dyn Fn() -> bool) -> Result<Ready> {
        self.start_deadline = Some(deadline);
        let mut pause = FIRST_PAUSE;
        loop {
            let now = Instant::now();
            if !alive() {
                return Err(Error::new(Code::Guest, "the machine has ended"));
            }
            if now >= deadline {
                return Err(Error::new(Code::Guest, "the guest is not ready in time"));
            }
            let glance = deadline.min(now + GLANCE);
            let waited = match self.open(glance) {
                Ok(Some(conversation)) => conversation
                    .wait_phase(Phase::Ready, glance)
                    .map_err(AskError::from),
                Ok(None) => continue,
                Err(cause) => Err(cause),
            };
            match waited {
                Ok(_) => break,
                Err(AskError::Conversation(ConversationError::Silent(_))) => pause = FIRST_PAUSE,
                Err(AskError::Absent(_) | AskError::Dial(DialError::Absent(_))) => {
                    // The hypervisor has not made its socket yet, or is about to end.
                    wait_for_change(&self.socket, glance.min(now + FIRST_PAUSE));
                }
                Err(AskError::Conversation(_)) => {
                    self.conversation = None;
                    wait(&mut pause, glance);
                }
                Err(AskError::Dial(_)) => wait(&mut pause, glance),
            }
        }
        match self.ask(&Ask::Status, self.prompt()) {
            Ok(Answer::Status(status)) => Ok(Ready {
                warnings: status.warnings,
            }),
            Ok(_) | Err(_) => Ok(Ready::default()),
        }
    }

    fn sync(&mut self, timeout: Duration) -> Result<()> {
        self.ask(&Ask::Sync, timeout)
            .during("let the guest write its disks")
            .map(drop)
    }

    fn power_off(&mut self, timeout: Duration) -> Result<()> {
        self.ask(&Ask::Poweroff, timeout)
            .during("ask the guest to power off")
            .map(drop)
    }

    fn set_clock(&mut self, unix: Duration) -> Result<()> {
        let ask = Ask::SetClock {
            unix_nanos: u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX),
            tolerance_millis: u64::try_from(TOLERANCE.as_millis()).unwrap_or(u64::MAX),
        };
        self.ask(&ask, self.prompt())
            .during("set the guest's clock")
            .map(drop)
    }

    fn set_resolvers(&mut self, resolvers: &Resolvers) -> Result<()> {
        self.ask(&Ask::SetResolvers(resolvers.clone()), self.prompt())
            .map(drop)
    }

    fn rename(&mut self, name: &NewName) -> Result<()> {
        self.ask(&Ask::Rename(name.clone()), self.prompt())
            .map(drop)
    }
}

/// Pauses, with exponential backoff: the host cannot see whether a guest listens.
fn wait(pause: &mut Duration, until: Instant) {
    use rustix::event::{Timespec, poll};
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left.min(*pause)).ok();
    let _ = poll(&mut [], left.as_ref());
    *pause = (*pause * 2).min(LONGEST_PAUSE);
}

/// Waits for an event in the socket's folder, or for the timeout.
fn wait_for_change(socket: &Path, until: Instant) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::inotify;
    let Ok(watch) = inotify::init(inotify::CreateFlags::CLOEXEC) else {
        return;
    };
    let folder = socket.parent().unwrap_or(Path::new("/"));
    let events = inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    if inotify::add_watch(&watch, folder, events).is_err() {
        return;
    }
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).ok();
    let _ = poll(&mut [PollFd::new(&watch, PollFlags::IN)], left.as_ref());
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
