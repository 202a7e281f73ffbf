//! Listens for a service of the host (`banger vm forward -R`), and reports each connection to the
//! daemon.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use banger_guest::protocol::encode;
use banger_guest::streams::{ListenLine, MOST_PENDING, Target};
use rustix::event::{PollFd, PollFlags};

use crate::system::wait;

/// How long a connection waits for the daemon.
const PATIENCE: Duration = Duration::from_secs(10);

/// The interval at which expired connections are removed.
const LOOK: Duration = Duration::from_secs(2);

/// Connections that the daemon knows of and has not accepted yet.
#[derive(Debug, Default)]
pub(super) struct PendingConnections {
    last: AtomicU64,
    waiting: Mutex<BTreeMap<u64, (OwnedFd, Instant)>>,
}

impl PendingConnections {
    /// Removes and returns the connection with this number.
    pub(super) fn take(&self, number: u64) -> Option<OwnedFd> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&number).map(|it| it.0)
    }

    /// Adds a connection, and returns its number; `None` if too many wait.
    fn add(&self, connection: OwnedFd) -> Option<u64> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST_PENDING {
            return None;
        }
        let number = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        waiting.insert(number, (connection, Instant::now()));
        Some(number)
    }

    fn expire(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, (_, since)| since.elapsed() < PATIENCE);
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, String),
}

impl Listener {
    fn open(target: &Target) -> Result<Self, String> {
        let listener = match target {
            Target::Tcp { port, .. } => {
                let addresses = target.addresses()?;
                let listener = TcpListener::bind(&addresses[..1.min(addresses.len())]);
                let listener = listener.map_err(|cause| match cause.kind() {
                    io::ErrorKind::AddrInUse => {
                        format!("port {port} of the guest is in use")
                    }
                    _ => cause.to_string(),
                })?;
                Self::Tcp(listener)
            }
            Target::Unix(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path).map_err(|cause| cause.to_string())?;
                let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
                Self::Unix(listener, path.clone())
            }
        };
        let is_set = match &listener {
            Self::Tcp(it) => it.set_nonblocking(true),
            Self::Unix(it, _) => it.set_nonblocking(true),
        };
        is_set.map_err(|cause| cause.to_string())?;
        Ok(listener)
    }

    fn port(&self) -> u16 {
        match self {
            Self::Tcp(it) => it.local_addr().map_or(0, |address| address.port()),
            Self::Unix(..) => 0,
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(it) => it.as_fd(),
            Self::Unix(it, _) => it.as_fd(),
        }
    }

    fn accept(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(it) => it.accept().map(|(stream, _)| {
                let _ = stream.set_nodelay(true);
                stream.into()
            }),
            Self::Unix(it, _) => it.accept().map(|(stream, _)| stream.into()),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes a socket without a listener.
fn remove_stale(path: &str) -> Result<(), String> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let answers = || UnixStream::connect(path).is_ok();
    if !found.file_type().is_socket() || answers() {
        return Err(format!("`{path}` exists in the guest"));
    }
    fs::remove_file(path).map_err(|cause| cause.to_string())
}

/// Listens until the daemon closes the stream.
pub(super) fn serve(
    mut stream: UnixStream,
    target: &Target,
    pending: &PendingConnections,
) -> io::Result<()> {
    let listener = match Listener::open(target) {
        Ok(listener) => listener,
        Err(reason) => return stream.write_all(&encode(&ListenLine::Refused(reason))),
    };
    stream.write_all(&encode(&ListenLine::Listening(listener.port())))?;
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(listener.fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN),
        ];
        wait::ready(&mut fds, LOOK);
        let (comes, ends) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
        // The daemon sends nothing more, so any event is the end.
        if ends && !matches!(stream.read(&mut [0; 64]), Ok(1..)) {
            return Ok(());
        }
        pending.expire();
        if comes
            && let Ok(connection) = listener.accept()
            && let Some(number) = pending.add(connection)
        {
            stream.write_all(&encode(&ListenLine::Connection(number)))?;
        }
    }
}
