//! What takes the connections of a forward, and what they reach, on the machine of this process: a
//! command's or the daemon's.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use crate::{Code, Endpoint, EndpointHost, Error, Result};

/// The connections of a Unix socket that wait to be accepted.
const BACKLOG: i32 = 128;

/// How long a service of this machine may take to accept.
const PATIENCE: Duration = Duration::from_secs(10);

/// A socket that takes connections.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix socket, whose file is removed with it.
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket. Dropping it removes the file, unless another one is there by now.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            identity: (found.dev(), found.ino()),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|it| (it.dev(), it.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// Listens there. Only this user reaches a Unix socket.
    ///
    /// # Errors
    /// `conflict` if the port or the path is taken, or if there is no such address or
    /// directory.
    pub fn open(endpoint: &Endpoint) -> Result<Self> {
        match endpoint {
            Endpoint::Tcp(host, port) => {
                let host = match host {
                    EndpointHost::Localhost => Ipv4Addr::LOCALHOST.into(),
                    EndpointHost::Address(address) => *address,
                };
                listen_on(host, *port).map(Self::Tcp)
            }
            Endpoint::Unix(path) => listen_at(path),
        }
    }

    /// Where it listens: the port that was given for 0.
    #[must_use]
    pub fn endpoint(&self, wanted: &Endpoint) -> Endpoint {
        match (self, wanted) {
            (Self::Tcp(listener), Endpoint::Tcp(host, port)) => {
                let actual = listener.local_addr().map_or(*port, |it| it.port());
                Endpoint::Tcp(*host, actual)
            }
            _ => wanted.clone(),
        }
    }

    /// The next connection.
    ///
    /// # Errors
    /// There is none, or no room for it.
    pub fn accept(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                // A client whose machine is gone is noticed.
                rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
                Ok(stream.into())
            }
            Self::Unix(listener, _) => Ok(listener.accept()?.0.into()),
        }
    }
}

fn listen_on(host: IpAddr, port: u16) -> Result<TcpListener> {
    let address = SocketAddr::from((host, port));
    TcpListener::bind(address).map_err(|cause| match cause.kind() {
        ErrorKind::AddrInUse => Error::new(Code::Conflict, format!("{address} is in use"))
            .hint(format!("see by what: ss -ltnp 'sport = :{port}'"))
            .hint("have a free port chosen: 0:PORT"),
        ErrorKind::PermissionDenied => {
            Error::new(Code::Conflict, format!("you may not listen on port {port}"))
                .cause("ports below 1024 are root's")
                .hint(format!("another one: {}:{port}", u32::from(port) + 8000))
        }
        ErrorKind::AddrNotAvailable => Error::new(
            Code::Conflict,
            format!("this machine has no address {host}"),
        )
        .hint("see its addresses: ip address"),
        _ => Error::new(Code::Host, format!("listen on {address}")).cause(cause.to_string()),
    })
}

fn listen_at(path: &str) -> Result<Listener> {
    let doing = || format!("listen on `{path}`");
    let us = rustix::process::geteuid().as_raw();
    let folder = Path::new(path).parent().unwrap_or(Path::new("/"));
    let folder_owner = fs::metadata(folder)
        .map_err(|cause| {
            Error::new(Code::Conflict, doing())
                .cause(format!("the directory `{}`: {cause}", folder.display()))
        })?
        .uid();
    if folder_owner != us {
        return Err(Error::new(Code::Conflict, doing())
            .cause(format!("the directory `{}` is not yours", folder.display()))
            .hint("use a directory of your own, such as $XDG_RUNTIME_DIR"));
    }
    if let Ok(found) = fs::symlink_metadata(path) {
        let is_ours = found.file_type().is_socket() && found.uid() == us;
        if !is_ours || is_listened_at(path) {
            let cause = if is_ours {
                "something listens there"
            } else {
                "there is a file of that name, which is not a socket of yours"
            };
            return Err(Error::new(Code::Conflict, doing()).cause(cause));
        }
        fs::remove_file(path)
            .map_err(|cause| Error::new(Code::Host, doing()).cause(cause.to_string()))?;
    }
    bind(Path::new(path)).map_err(|cause| match cause.kind() {
        ErrorKind::AddrInUse => {
            Error::new(Code::Conflict, doing()).cause("something listens there")
        }
        _ => Error::new(Code::Host, doing()).cause(cause.to_string()),
    })
}

/// Whether a process listens on a Unix socket. The queue of one that accepts nothing may be full: the
/// kernel refuses to wait then (connect(2), `EAGAIN`).
fn is_listened_at(path: &str) -> bool {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let connected = SocketAddrUnix::new(path).and_then(|address| {
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&socket, &address)
    });
    matches!(connected, Ok(()) | Err(Errno::AGAIN))
}

fn bind(path: &Path) -> io::Result<Listener> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let file = SocketFile::of(path)?;
    // No client connects before `listen`, so the mode applies from the beginning.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(Listener::Unix(socket.into(), file))
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener, _) => listener.as_fd(),
        }
    }
}

/// Connects to a service of this machine.
///
/// # Errors
/// Nothing listens there, or it does not accept in time.
pub fn dial(endpoint: &Endpoint) -> io::Result<OwnedFd> {
    let addresses = match endpoint {
        Endpoint::Unix(path) => return dial_unix(path, PATIENCE),
        Endpoint::Tcp(EndpointHost::Address(address), port) => {
            vec![SocketAddr::from((*address, *port))]
        }
        Endpoint::Tcp(EndpointHost::Localhost, port) => vec![
            (Ipv4Addr::LOCALHOST, *port).into(),
            (Ipv6Addr::LOCALHOST, *port).into(),
        ],
    };
    let mut first = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream.into());
            }
            // The first address's failure says more than that of a missing IPv6.
            Err(cause) => first = first.or(Some(cause)),
        }
    }
    Err(first.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into()))
}

/// A full queue is waited for.
fn dial_unix(path: &str, patience: Duration) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    set_socket_timeout(&socket, Timeout::Send, None)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s").display().to_string();
        let endpoint = Endpoint::Unix(path.clone());
        let first = Listener::open(&endpoint).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = Listener::open(&endpoint).unwrap_err();
        assert!(error.causes[0].contains("something listens"), "{error}");
        drop(first);
        assert!(!Path::new(&path).exists());
        // What a process leaves that was killed.
        drop(UnixListener::bind(&path).unwrap());
        let second = Listener::open(&endpoint).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        let error = Listener::open(&endpoint).unwrap_err();
        assert_eq!(error.code, Code::Conflict);
        drop(second);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        let missing = format!("{path}.d/s");
        let error = Listener::open(&Endpoint::Unix(missing)).unwrap_err();
        assert_eq!(error.code, Code::Conflict);
    }

    /// A program that hangs accepts nothing, and its queue fills up.
    #[test]
    fn a_socket_whose_queue_is_full_is_taken_and_delays_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&socket, 0).unwrap();
        let endpoint = Endpoint::Unix(path.display().to_string());
        for _ in 0..20 {
            let error = Listener::open(&endpoint).unwrap_err();
            assert!(error.causes[0].contains("something listens"), "{error}");
        }
        let cause = dial_unix(path.to_str().unwrap(), Duration::from_millis(1)).unwrap_err();
        assert_eq!(cause.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn what_keeps_a_port_from_being_listened_on_is_told() {
        let free: Endpoint = "127.0.0.1:0".parse().unwrap();
        let first = Listener::open(&free).unwrap();
        let taken = first.endpoint(&free);
        let error = Listener::open(&taken).unwrap_err();
        assert!(error.message.ends_with("is in use"), "{error}");
        let error = Listener::open(&"192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert!(error.message.contains("no address 192.0.2.1"), "{error}");
    }

    #[test]
    fn a_service_of_this_machine_is_reached() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in [
            EndpointHost::Localhost,
            EndpointHost::Address([127, 0, 0, 1].into()),
        ] {
            dial(&Endpoint::Tcp(host, port)).unwrap();
        }
        drop(listener);
        let cause = dial(&Endpoint::Tcp(EndpointHost::Localhost, port)).unwrap_err();
        assert_eq!(cause.kind(), ErrorKind::ConnectionRefused);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s").display().to_string();
        dial(&Endpoint::Unix(path)).unwrap_err();
    }
}
