//! The daemon's side of a DNS port that root keeps for its user.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::root::wire::{Received, Wire};
use crate::root::{RUN, port_path};
use crate::{Error, Kind, Result};

/// How long root may take to answer. systemd starts it when we connect.
const PATIENCE: Duration = Duration::from_secs(5);

/// The DNS port of a user, bound by root before anybody could log in.
#[derive(Debug)]
pub struct KeptPort {
    /// The port, for datagrams.
    pub udp: UdpSocket,
    /// The port, for connections.
    pub tcp: TcpListener,
    /// While this is open, root's side reads nothing from the port.
    pub held: OwnedFd,
}

impl KeptPort {
    /// The port that is kept for this user, or `None` where none is.
    ///
    /// # Errors
    /// When the keeper answers and hands over no port.
    pub fn of(uid: u32) -> Result<Option<Self>> {
        Self::at(&port_path(Path::new(RUN), uid))
    }

    pub(crate) fn at(path: &Path) -> Result<Option<Self>> {
        let describe = || format!("receive the DNS port from `{}`", path.display());
        let io = |cause: Errno| Error::io(describe(), cause.into());
        let flags = SocketFlags::CLOEXEC;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(io)?;
        let address = SocketAddrUnix::new(path).map_err(io)?;
        match connect(&socket, &address) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::CONNREFUSED) => return Ok(None),
            Err(cause) => return Err(io(cause)),
        }
        let held = rustix::io::fcntl_dupfd_cloexec(&socket, 3).map_err(io)?;
        let mut wire = Wire::new(socket);
        wire.set_patience(PATIENCE, PATIENCE)?;
        let wrong = |what: &str| Error::new(Kind::Other, what).within(describe());
        match wire.receive().map_err(io)? {
            Received::Message(_, sockets) => {
                let [udp, tcp] = <[OwnedFd; 2]>::try_from(sockets)
                    .map_err(|_| wrong("the message has no port"))?;
                Ok(Some(Self {
                    udp: udp.into(),
                    tcp: tcp.into(),
                    held,
                }))
            }
            Received::Refused(why) => Err(wrong(why)),
            Received::End => Err(wrong("it is not handed over")),
            Received::Nothing => Err(wrong("nothing comes")),
        }
    }

    /// The number of the port.
    ///
    /// # Errors
    /// None in practice.
    pub fn number(&self) -> Result<u16> {
        let address = self.udp.local_addr();
        let address = address.map_err(|cause| Error::io("examine the DNS port", cause))?;
        Ok(address.port())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::thread;

    use rustix::net::{bind, listen};

    use super::*;
    use crate::root::port::Port;

    /// A port as systemd hands it over, and the address that it is bound to.
    fn port(path: &Path) -> (Port, SocketAddr) {
        let asked_at = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        bind(&asked_at, &SocketAddrUnix::new(path).unwrap()).unwrap();
        listen(&asked_at, 4).unwrap();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = Port {
            asked_at,
            udp: udp.into(),
            tcp: tcp.into(),
        };
        (port, address)
    }

    #[test]
    fn the_port_goes_to_its_user_who_has_it_alone_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("port.sock");
        let (port, address) = port(&path);
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        thread::scope(|scope| {
            let keeper = scope.spawn(|| port.keep(Duration::from_millis(300)));
            let kept = KeptPort::at(&path).unwrap().unwrap();
            assert_eq!(kept.number().unwrap(), address.port());
            // The test holds the port for longer than the keeper's patience, and everything still
            // comes here.
            kept.udp
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            for number in 0..100_u8 {
                client.send_to(&[number], address).unwrap();
                let mut byte = [0; 8];
                assert_eq!(kept.udp.recv(&mut byte).unwrap(), 1, "{number}");
                assert_eq!(byte[0], number);
            }
            let next = KeptPort::at(&path).unwrap().unwrap();
            drop(kept);
            client.send_to(b"next", address).unwrap();
            let mut byte = [0; 8];
            assert_eq!(next.udp.recv(&mut byte).unwrap(), 4);
            assert!(!keeper.is_finished());
            drop(next);
            // Packets without a receiver are dropped; the keeper ends when none come.
            client.send_to(b"lost", address).unwrap();
            keeper.join().unwrap().unwrap();
        });
        let left = UdpSocket::from(port.udp);
        left.set_nonblocking(true).unwrap();
        assert!(
            left.recv(&mut [0; 8]).is_err(),
            "something was left to wake systemd"
        );
    }

    #[test]
    fn without_a_reservation_there_is_no_port() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("port.sock");
        assert!(KeptPort::at(&path).unwrap().is_none());
        drop(port(&path));
        assert!(
            KeptPort::at(&path).unwrap().is_none(),
            "a socket left behind"
        );
    }
}
