//! The guest's end of the channel: a virtio-serial port, or a vsock if there is none. The device
//! may be missing, and its other end may be closed. Nothing here ever waits.
//!
//! A serial port is one permanent stream, so the conversation over it continues from process to
//! process. A vsock has connections that end: a new one is a new conversation, and the newest one
//! counts, because a daemon that was killed may have left another behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use banger_guest::protocol::{GuestStatus, Identity, PORT_NAME, PendingAsk, Session, VSOCK_PORT};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;

use super::vsock::{self, Listener};
use crate::boot_record::SESSION;

/// The directory where Linux lists the ports.
pub(crate) const PORTS: &str = "/sys/class/virtio-ports";

/// The number of reads in one round, so that a daemon that sends without pause delays nothing else.
const MOST_READS: usize = 16;

/// An open channel with the conversation over it.
#[derive(Debug)]
pub(crate) struct Port {
    line: Line,
    session: Session,
    remembered: Option<String>,
}

/// The line of the conversation.
#[derive(Debug)]
enum Line {
    Serial(File),
    Vsock(Listener),
}

impl Line {
    /// Opens the channel of this machine, unless another process has it open.
    fn open() -> Option<Self> {
        let Some(path) = find(Path::new(PORTS), PORT_NAME) else {
            let listener = vsock::is_there().then(|| Listener::new(VSOCK_PORT, vsock::HOST));
            return listener?.ok().map(Self::Vsock);
        };
        let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).ok()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(path)
            .ok()?;
        Some(Self::Serial(file))
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Serial(file) => file.read(bytes),
            Self::Vsock(listener) => listener.read(bytes),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Serial(file) => file.write(bytes),
            Self::Vsock(listener) => listener.write(bytes),
        }
    }
}

fn is_later(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// The device of the port with this name.
pub(crate) fn find(ports: &Path, wanted: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(ports).ok()?.flatten() {
        let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if name.trim_end() == wanted {
            return Some(Path::new("/dev").join(entry.file_name()));
        }
    }
    None
}

/// The constant properties of this guest.
fn identity() -> Identity {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Identity {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: boot_id.trim_end().to_owned(),
    }
}

impl Port {
    /// Opens the channel, if it exists and no other process has it open. Over a serial port, it
    /// continues the conversation of the previous process, if there was one, and sends a welcome if
    /// `standing` is given.
    pub(crate) fn open(standing: Option<GuestStatus>) -> Option<Self> {
        let line = Line::open()?;
        let mut port = Self::over(line);
        if matches!(port.line, Line::Serial(_)) {
            port.remembered = fs::read_to_string(SESSION).ok();
        }
        if let Some(token) = &port.remembered {
            port.session.adopt(token, standing);
        }
        Some(port)
    }

    fn over(line: Line) -> Self {
        Self {
            line,
            session: Session::new(identity()),
            remembered: None,
        }
    }

    /// The conversation.
    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The descriptors and events to poll.
    pub(crate) fn polled(&self) -> Vec<PollFd<'_>> {
        let waits = !self.session.waiting().is_empty();
        let events = if waits {
            PollFlags::IN | PollFlags::OUT
        } else {
            PollFlags::IN
        };
        match &self.line {
            Line::Serial(file) => vec![PollFd::from_borrowed_fd(file.as_fd(), events)],
            Line::Vsock(listener) => {
                let coming = PollFd::from_borrowed_fd(listener.fd(), PollFlags::IN);
                let connection = listener.connection().into_iter();
                let connection = connection.map(|fd| PollFd::from_borrowed_fd(fd, events));
                std::iter::once(coming).chain(connection).collect()
            }
        }
    }

    /// Whether the poll shows that the port's other end is closed. Such a port is always ready, so
    /// polling it again does not wait. A vsock's listener is never in this state; a connection that
    /// has ended is, and [`Port::attend`] closes it.
    pub(crate) fn is_deserted(first: PollFlags) -> bool {
        // A port with a closed other end is readable, too (for its end of file), so only HUP
        // counts.
        first.contains(PollFlags::HUP)
    }

    /// Reads and writes as much as possible now; returns the new asks.
    pub(crate) fn attend(&mut self, standing: GuestStatus) -> Vec<PendingAsk> {
        if let Line::Vsock(listener) = &mut self.line
            && listener.accept()
        {
            self.session.disconnect();
        }
        let mut asked = Vec::new();
        let mut bytes = [0; 4096];
        for _ in 0..MOST_READS {
            match self.line.read(&mut bytes) {
                Ok(count @ 1..) => asked.extend(self.session.receive(&bytes[..count], standing)),
                Err(cause) if is_later(&cause) => break,
                Ok(0) | Err(_) => {
                    self.ended();
                    break;
                }
            }
        }
        self.flush();
        self.remember();
        asked
    }

    /// Handles the end of a read. For a serial port it means only that the other end is closed now,
    /// and the poll reports the same.
    fn ended(&mut self) {
        if let Line::Vsock(listener) = &mut self.line {
            listener.close();
            self.session.disconnect();
        }
    }

    /// Writes as much as possible now.
    pub(crate) fn flush(&mut self) {
        while !self.session.waiting().is_empty() {
            match self.line.write(self.session.waiting()) {
                Ok(0) | Err(_) => return,
                Ok(count) => self.session.sent(count),
            }
        }
    }

    /// Handles that the other end is closed.
    pub(crate) fn hung_up(&mut self) {
        self.session.disconnect();
        self.remember();
    }

    /// Stores the token for the next process on a serial port.
    fn remember(&mut self) {
        let token = self.session.token();
        if matches!(self.line, Line::Vsock(_)) || token == self.remembered.as_deref() {
            return;
        }
        // Without the token, the daemon greets the next process again.
        let _ = match token {
            Some(token) => fs::write(SESSION, token),
            None => match fs::remove_file(SESSION) {
                Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause),
                _ => Ok(()),
            },
        };
        self.remembered = token.map(str::to_owned);
    }
}

#[cfg(test)]
mod tests;
