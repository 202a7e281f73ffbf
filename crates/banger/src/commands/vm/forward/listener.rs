//! What listens on this machine.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use banger_api::{Code, Endpoint, EndpointHost, Error, Result};

/// A socket that takes connections.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Listens there. Only this user reaches a Unix socket.
    ///
    /// # Errors
    /// `conflict` if the port or the path is taken, `invalid` if there is no such address or directory.
    pub(super) fn open(endpoint: &Endpoint) -> Result<Self> {
        match endpoint {
            Endpoint::Tcp(host, port) => {
                let host = match host {
                    EndpointHost::Localhost => Ipv4Addr::LOCALHOST.into(),
                    EndpointHost::Address(address) => *address,
                };
                listen_on(host, *port).map(Self::Tcp)
            }
            Endpoint::Unix(path) => listen_at(path).map(Self::Unix),
        }
    }

    /// Where it listens: the port that was given for 0.
    pub(super) fn endpoint(&self, wanted: &Endpoint) -> Endpoint {
        match (self, wanted) {
            (Self::Tcp(listener), Endpoint::Tcp(host, port)) => {
                let actual = listener.local_addr().map_or(*port, |it| it.port());
                Endpoint::Tcp(*host, actual)
            }
            _ => wanted.clone(),
        }
    }

    /// The next connection.
    pub(super) fn accept(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                // A client whose machine is gone is noticed.
                rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
                Ok(stream.into())
            }
            Self::Unix(listener) => Ok(listener.accept()?.0.into()),
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
            Error::new(Code::Invalid, format!("you may not listen on port {port}"))
                .cause("ports below 1024 are root's")
                .hint(format!("another one: {}:{port}", u32::from(port) + 8000))
        }
        ErrorKind::AddrNotAvailable => {
            Error::new(Code::Invalid, format!("this machine has no address {host}"))
                .hint("see its addresses: ip address")
        }
        _ => Error::new(Code::Host, format!("listen on {address}")).cause(cause.to_string()),
    })
}

fn listen_at(path: &str) -> Result<UnixListener> {
    let doing = || format!("listen on `{path}`");
    let us = rustix::process::geteuid().as_raw();
    let folder = Path::new(path).parent().unwrap_or(Path::new("/"));
    let folder_owner = fs::metadata(folder)
        .map_err(|cause| {
            Error::new(Code::Invalid, doing())
                .cause(format!("the directory `{}`: {cause}", folder.display()))
        })?
        .uid();
    if folder_owner != us {
        return Err(Error::new(Code::Invalid, doing())
            .cause(format!("the directory `{}` is not yours", folder.display()))
            .hint("use a directory of your own, such as $XDG_RUNTIME_DIR"));
    }
    if let Ok(found) = fs::symlink_metadata(path) {
        let is_ours = found.file_type().is_socket() && found.uid() == us;
        if !is_ours || UnixStream::connect(path).is_ok() {
            let cause = if is_ours {
                "something listens there"
            } else {
                "there is a file of that name, which is no socket of yours"
            };
            return Err(Error::new(Code::Conflict, doing()).cause(cause));
        }
        fs::remove_file(path)
            .map_err(|cause| Error::new(Code::Host, doing()).cause(cause.to_string()))?;
    }
    // The socket is this user's from the beginning.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    listener.map_err(|cause| Error::new(Code::Host, doing()).cause(cause.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

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
        Listener::open(&endpoint).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        let error = Listener::open(&endpoint).unwrap_err();
        assert_eq!(error.code, Code::Conflict);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        let missing = format!("{path}.d/s");
        let error = Listener::open(&Endpoint::Unix(missing)).unwrap_err();
        assert_eq!(error.code, Code::Invalid);
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
}
