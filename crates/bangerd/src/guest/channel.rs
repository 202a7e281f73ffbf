//! The channel to a guest's agent: a Unix socket in the machine's folder, with the hypervisor on
//! its other side.
//!
//! Nothing is kept open between asks. The conversation resynchronises by itself, so a daemon that
//! was killed in the middle of a word is followed by one that is understood.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use banger_api::{Code, Error};
use banger_guest::config::Resolvers;
use banger_guest::protocol::{Answer, Ask, Conversation, ConversationError, Phase};

use super::{Guest, Ready};
use crate::error::{During, Result};

/// How long an ask that a healthy guest answers at once may take.
const PROMPT: Duration = Duration::from_secs(5);

/// How far a guest's clock may be off before it is set.
const TOLERANCE: Duration = Duration::from_millis(500);

/// How long to wait at a time before looking whether the machine still runs.
const GLANCE: Duration = Duration::from_millis(500);

/// A guest behind a real channel.
#[derive(Debug)]
pub struct Channel {
    socket: PathBuf,
    conversation: Option<Conversation>,
}

impl Channel {
    /// The guest behind this socket.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            conversation: None,
        }
    }

    fn open(&mut self) -> io::Result<&mut Conversation> {
        if self.conversation.is_none() {
            let stream = connect(&self.socket)?;
            let mut token = [0; 16];
            rustix::rand::getrandom(&mut token, rustix::rand::GetRandomFlags::empty())?;
            let token: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
            self.conversation = Some(Conversation::new(stream, &token));
        }
        self.conversation
            .as_mut()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
    }

    fn ask(&mut self, ask: &Ask, timeout: Duration) -> Result<Answer> {
        let deadline = Instant::now() + timeout;
        let conversation = self
            .open()
            .map_err(|cause| Error::new(Code::Guest, cause.to_string()))
            .during("open the guest's channel")?;
        conversation.ask(ask, deadline).map_err(|cause| {
            self.conversation = None;
            Error::new(Code::Guest, cause.to_string())
        })
    }
}

/// Connects to a socket whatever the length of its path: the folder is opened, and the socket
/// reached through `/proc/self/fd`, because an address takes 107 bytes and no more (unix(7)).
pub(crate) fn connect(socket: &Path) -> io::Result<UnixStream> {
    let folder = std::fs::File::open(socket.parent().unwrap_or(Path::new("/")))?;
    let name = socket.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd")
        .join(folder.as_raw_fd().to_string())
        .join(name);
    UnixStream::connect(short)
}

impl Guest for Channel {
    fn wait_ready(&mut self, deadline: Instant, alive: &dyn Fn() -> bool) -> Result<Ready> {
        loop {
            let now = Instant::now();
            if !alive() {
                return Err(Error::new(Code::Guest, "the machine has ended"));
            }
            if now >= deadline {
                return Err(Error::new(Code::Guest, "the guest is not ready in time"));
            }
            let glance = deadline.min(now + GLANCE);
            let waited = match self.open() {
                Ok(conversation) => conversation.wait_phase(Phase::Ready, glance),
                Err(cause) => Err(ConversationError::Stream(cause)),
            };
            match waited {
                Ok(_) => break,
                Err(ConversationError::Silent(_)) => {}
                Err(_) => {
                    // The hypervisor has not made its socket yet, or is about to end.
                    self.conversation = None;
                    wait_for_change(&self.socket, glance.min(now + Duration::from_millis(20)));
                }
            }
        }
        match self.ask(&Ask::Status, PROMPT) {
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
        self.ask(&ask, PROMPT)
            .during("set the guest's clock")
            .map(drop)
    }

    fn set_resolvers(&mut self, resolvers: &[IpAddr]) -> Result<()> {
        let resolvers = Resolvers {
            servers: resolvers.to_vec(),
            search: Vec::new(),
        };
        self.ask(&Ask::SetResolvers(resolvers), PROMPT).map(drop)
    }
}

/// Waits until something happens in the socket's folder, or the time is up.
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
