//! The guest's end of the channel: a virtio-serial port, which is there or not, and at whose other
//! end somebody listens or not. Nothing here ever waits.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use banger_guest::protocol::{Asked, Identity, PORT_NAME, Session, Standing};
use rustix::fs::OFlags;

use crate::boot_record::SESSION;

/// Where Linux lists the ports.
const PORTS: &str = "/sys/class/virtio-ports";

/// An open port with the conversation over it.
#[derive(Debug)]
pub(crate) struct Port {
    file: File,
    session: Session,
    remembered: Option<String>,
}

fn find(ports: &Path) -> Option<PathBuf> {
    for entry in fs::read_dir(ports).ok()?.flatten() {
        let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if name.trim_end() == PORT_NAME {
            return Some(Path::new("/dev").join(entry.file_name()));
        }
    }
    None
}

/// What of this guest does not change.
fn identity() -> Identity {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Identity {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: boot_id.trim_end().to_owned(),
    }
}

impl Port {
    /// Opens the port, if it is there and nobody else has it open, and goes on with the
    /// conversation of the process before us, if there was one. With a standing, says so.
    pub(crate) fn open(standing: Option<Standing>) -> Option<Self> {
        let path = find(Path::new(PORTS))?;
        let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).ok()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(path)
            .ok()?;
        let mut session = Session::new(identity());
        let remembered = fs::read_to_string(SESSION).ok();
        if let Some(token) = &remembered {
            session.adopt(token, standing);
        }
        Some(Self {
            file,
            session,
            remembered,
        })
    }

    /// The conversation.
    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// What to poll.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Takes what has come, and sends what waits, as far as both go now.
    pub(crate) fn attend(&mut self, standing: Standing) -> Vec<Asked> {
        let mut asked = Vec::new();
        let mut bytes = [0; 4096];
        // Nothing there is `WouldBlock`, and nobody at the other end reads as the end of a file.
        while let Ok(count @ 1..) = self.file.read(&mut bytes) {
            asked.extend(self.session.receive(&bytes[..count], standing));
        }
        self.flush();
        self.remember();
        asked
    }

    /// Sends what waits, as far as it goes now.
    pub(crate) fn flush(&mut self) {
        while !self.session.waiting().is_empty() {
            match self.file.write(self.session.waiting()) {
                Ok(0) | Err(_) => return,
                Ok(count) => self.session.sent(count),
            }
        }
    }

    /// Nobody is at the other end any more.
    pub(crate) fn hung_up(&mut self) {
        self.session.disconnect();
        self.remember();
    }

    /// Keeps the token for the process that comes after us.
    fn remember(&mut self) {
        let token = self.session.token();
        if token == self.remembered.as_deref() {
            return;
        }
        // Whoever comes after us without the token is greeted anew by the daemon.
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
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_by_its_name() {
        let ports = tempfile::tempdir().unwrap();
        for (port, name) in [
            ("vport1p1", "org.qemu.guest_agent.0\n"),
            ("vport2p1", "banger.agent\n"),
        ] {
            fs::create_dir(ports.path().join(port)).unwrap();
            fs::write(ports.path().join(port).join("name"), name).unwrap();
        }
        assert_eq!(find(ports.path()), Some("/dev/vport2p1".into()));
        assert_eq!(find(&ports.path().join("vport1p1")), None);
        assert_eq!(find(Path::new("/nonexistent")), None);
    }
}
