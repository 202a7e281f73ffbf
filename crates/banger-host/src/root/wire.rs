//! Messages with descriptors over a Unix socket that preserves their boundaries (SOCK_SEQPACKET).
//!
//! A message arrives completely or not at all, so no peer can stall in the middle of one.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{UnixCredentials, getsockopt, sockopt::PeerCredentials};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::message::{LONGEST, MOST_DESCRIPTORS};
use crate::{Error, Kind, Result};

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// The peer of a Unix socket, as the kernel recorded it at the connect (`SO_PEERCRED`, unix(7)). Its PID is 0 if it
/// is outside this process's PID namespace, which `rustix` cannot represent.
pub(super) fn peer(socket: &impl AsFd) -> Result<UnixCredentials> {
    let peer = getsockopt(socket, PeerCredentials);
    Ok(peer.map_err(|cause| Errno::from_raw_os_error(cause as i32))?)
}

/// The outcome of a receive.
#[derive(Debug)]
pub(crate) enum Received {
    /// A message, with its descriptors.
    Message(Vec<u8>, Vec<OwnedFd>),
    /// An invalid message, with the reason; its descriptors are closed.
    Refused(&'static str),
    /// The end of the connection.
    End,
    /// No message within the time-out.
    Nothing,
}

impl Wire {
    /// A connection over this socket.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            // One byte more than the longest message, so that a longer one is noticed.
            buffer: vec![0; LONGEST + 1],
        }
    }

    /// The user of the peer, as the kernel recorded it at the connect.
    pub(crate) fn peer(&self) -> Result<u32> {
        peer(&self.socket).map(|it| it.uid())
    }

    /// The group of the peer, as the kernel recorded it at the connect.
    pub(crate) fn peer_group(&self) -> Result<u32> {
        peer(&self.socket).map(|it| it.gid())
    }

    /// Sets the time-outs for receiving a message and for sending one.
    pub(crate) fn set_patience(&self, receive: Duration, send: Duration) -> Result<()> {
        sockopt::set_socket_timeout(&self.socket, Timeout::Recv, Some(receive))?;
        sockopt::set_socket_timeout(&self.socket, Timeout::Send, Some(send))?;
        Ok(())
    }

    /// Sends a message.
    pub(crate) fn say(
        &self,
        what: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> rustix::io::Result<()> {
        let bytes = serde_json::to_vec(what).map_err(|_| Errno::INVAL)?;
        if bytes.len() > LONGEST {
            return Err(Errno::MSGSIZE);
        }
        self.send(&bytes, descriptors)
    }

    pub(crate) fn send(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> rustix::io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Errno::INVAL);
        }
        loop {
            let parts = [IoSlice::new(bytes)];
            match sendmsg(
                self.socket.as_fd(),
                &parts,
                &mut control,
                SendFlags::NOSIGNAL,
            ) {
                Err(Errno::INTR) => {}
                other => return other.map(drop),
            }
        }
    }

    /// Waits for a message.
    pub(crate) fn receive(&mut self) -> rustix::io::Result<Received> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            match recvmsg(
                self.socket.as_fd(),
                &mut parts,
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(Errno::CONNRESET | Errno::PIPE) => return Ok(Received::End),
                other => break other?,
            }
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(handed) = message {
                descriptors.extend(handed);
            }
        }
        // The kernel closes descriptors that do not fit, and sets this flag.
        if received.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() > MOST_DESCRIPTORS {
            return Ok(Received::Refused("it carries too many descriptors"));
        }
        if received.flags.contains(ReturnFlags::TRUNC) || received.bytes > LONGEST {
            return Ok(Received::Refused("it is longer than 64 KiB"));
        }
        if received.bytes == 0 {
            // An empty message cannot be told from the end of the stream, and counts as such.
            return Ok(Received::End);
        }
        Ok(Received::Message(
            self.buffer[..received.bytes].to_vec(),
            descriptors,
        ))
    }
}

/// The error for an unknown message, such as one of a later version.
pub(crate) const NOT_UNDERSTOOD: &str = "the message is not understood";

/// Parses a message.
pub(crate) fn understand<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|cause| {
        // The parser's message may quote the input, so it is escaped and shortened.
        let cause: String = cause.to_string().escape_debug().take(200).collect();
        Error::new(Kind::Other, cause).within(NOT_UNDERSTOOD)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    pub(crate) fn pair() -> (Wire, Wire) {
        let flags = SocketFlags::CLOEXEC;
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        (Wire::new(one), Wire::new(other))
    }

    fn open(number: usize) -> Vec<OwnedFd> {
        (0..number)
            .map(|_| std::fs::File::open("/dev/null").unwrap().into())
            .collect()
    }

    fn open_descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn a_message_comes_with_its_descriptors() {
        let (here, mut there) = pair();
        let files = open(MOST_DESCRIPTORS);
        let lent: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        here.say(&"hello", &lent).unwrap();
        let Received::Message(bytes, descriptors) = there.receive().unwrap() else {
            panic!("no message");
        };
        assert_eq!(understand::<String>(&bytes).unwrap(), "hello");
        assert_eq!(descriptors.len(), MOST_DESCRIPTORS);
        let flags = rustix::io::fcntl_getfd(&descriptors[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        drop(here);
        assert!(matches!(there.receive().unwrap(), Received::End));
    }

    #[test]
    fn what_is_too_long_or_carries_too_much_is_refused_and_closed() {
        let (here, mut there) = pair();
        here.send(&vec![b' '; LONGEST], &[]).unwrap();
        assert!(matches!(there.receive().unwrap(), Received::Message(..)));
        for length in [LONGEST + 1, 2 * LONGEST] {
            here.send(&vec![b' '; length], &[]).unwrap();
            assert!(
                matches!(there.receive().unwrap(), Received::Refused(_)),
                "{length}"
            );
        }
        let files = open(8);
        let lent: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        for _ in 0..100 {
            here.say(&"take these", &lent).unwrap();
            assert!(matches!(there.receive().unwrap(), Received::Refused(_)));
        }
        // Other tests open files at the same time, so the number is not exact.
        assert!(open_descriptors() < 300, "descriptors were left open");
    }

    #[test]
    fn silence_ends() {
        let (_here, mut there) = pair();
        let short = Duration::from_millis(10);
        there.set_patience(short, short).unwrap();
        assert!(matches!(there.receive().unwrap(), Received::Nothing));
    }
}
