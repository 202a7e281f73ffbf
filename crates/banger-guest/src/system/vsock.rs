//! Sockets of the machine: with a hypervisor that has a vsock device and no virtio-serial port, the
//! daemon connects to us. Nothing here ever waits.
//!
//! Listening on a port below 1024 requires a privilege, so no ordinary user of the guest can
//! impersonate the agent. Only the host is accepted, because the guest's own programs can connect
//! too, once the kernel's loopback for vsock is loaded (vsock(7)).

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, acceptfrom_with, bind, listen, socket_with,
};

use super::raw::VsockAddress;

/// The directory where Linux lists the virtio devices.
const DEVICES: &str = "/sys/bus/virtio/devices";

/// The device type of a vsock: Virtual I/O Device (VIRTIO) 1.2, section 5.10.
const KIND: u32 = 19;

/// Any address of the guest, and the address of the host: vsock(7).
const ANY: u32 = u32::MAX;
pub(crate) const HOST: u32 = 2;

/// The maximum number of connections that wait to be accepted, and of those accepted in one round.
const BACKLOG: u8 = 8;

/// Whether this machine has a vsock device with a driver.
pub(crate) fn is_there() -> bool {
    is_among(Path::new(DEVICES))
}

fn is_among(devices: &Path) -> bool {
    let Ok(entries) = fs::read_dir(devices) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let text = fs::read_to_string(entry.path().join("device")).unwrap_or_default();
        let digits = text.trim_end().trim_start_matches("0x");
        u32::from_str_radix(digits, 16) == Ok(KIND)
    })
}

fn listening(port: u32, flags: SocketFlags) -> io::Result<OwnedFd> {
    let flags = flags | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::VSOCK, SocketType::STREAM, flags, None)?;
    bind(&socket, &VsockAddress { context: ANY, port })?;
    listen(&socket, i32::from(BACKLOG))?;
    Ok(socket)
}

/// A socket that listens on `port`, for a thread that may wait.
///
/// # Errors
/// If the kernel has no vsock, or another process listens there.
pub(crate) fn listen_on(port: u32) -> io::Result<OwnedFd> {
    listening(port, SocketFlags::empty())
}

/// Waits for a connection; `None` if it is from another context than `peer`.
///
/// # Errors
/// If the process has no descriptors left.
pub(crate) fn accept_from(socket: &OwnedFd, peer: u32) -> io::Result<Option<OwnedFd>> {
    let (connection, address) = acceptfrom_with(socket, SocketFlags::CLOEXEC)?;
    let context = address.and_then(VsockAddress::of).map(|it| it.context);
    Ok((context == Some(peer)).then_some(connection))
}

/// A socket that the peer can connect to, and its newest connection, which is the one that counts.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    peer: u32,
    connection: Option<File>,
}

impl Listener {
    /// Listens on `port` for connections from the context `peer`.
    ///
    /// # Errors
    /// If the kernel has no vsock, or another process listens there.
    pub(crate) fn new(port: u32, peer: u32) -> io::Result<Self> {
        Ok(Self {
            socket: listening(port, SocketFlags::NONBLOCK)?,
            peer,
            connection: None,
        })
    }

    /// Accepts the newest waiting connection; returns whether there was one. The previous one is
    /// closed, which its other end sees.
    pub(crate) fn accept(&mut self) -> bool {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let mut came = false;
        for _ in 0..BACKLOG {
            let Ok((connection, address)) = acceptfrom_with(&self.socket, flags) else {
                break;
            };
            let context = address.and_then(VsockAddress::of).map(|it| it.context);
            if context == Some(self.peer) {
                self.connection = Some(File::from(connection));
                came = true;
            }
        }
        came
    }

    /// Closes the connection, which its other end sees.
    pub(crate) fn close(&mut self) {
        self.connection = None;
    }

    /// The descriptor to poll for new connections.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The descriptor to poll for new bytes.
    pub(crate) fn connection(&self) -> Option<BorrowedFd<'_>> {
        self.connection.as_ref().map(File::as_fd)
    }

    /// Reads what is available; zero without a connection, or when its other end is closed.
    pub(crate) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.connection
            .as_ref()
            .map_or(Ok(0), |mut it| it.read(bytes))
    }

    /// Writes as much as possible now.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.connection
            .as_ref()
            .map_or(Ok(0), |mut it| it.write(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vsock_is_distinguished_from_other_devices() {
        let devices = tempfile::tempdir().unwrap();
        let add = |name: &str, kind: &str| {
            fs::create_dir(devices.path().join(name)).unwrap();
            fs::write(devices.path().join(name).join("device"), kind).unwrap();
        };
        add("virtio0", "0x0002\n");
        add("virtio1", "");
        assert!(!is_among(devices.path()));
        add("virtio2", "0x0013\n");
        assert!(is_among(devices.path()));
        assert!(!is_among(&devices.path().join("absent")));
    }
}
