//! Holds a user's DNS port while the user's daemon is not running.
//!
//! systemd binds the port before the first login. It starts this program at the first DNS query, or
//! when the user's daemon connects to a socket that only this user can open. The program passes the
//! port to the daemon, and runs while the daemon has it, because systemd would react to every query
//! otherwise. Queries without a daemon are dropped. The program runs as the user, without
//! capabilities.
//!
//! ```text
//! systemd ─ port, socket ─► banger-root keep-port ◄─ connect ─ bangerd
//!                                     └────────── port, open ────►
//! ```

use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, accept_with, recv, sockopt};

use super::log;
use super::wire::{self, Wire};
use crate::linux::sys;
use crate::{Error, Kind, Result};

/// The time until an idle program exits.
const IDLE: Duration = Duration::from_secs(10);

/// The maximum number of holders at once: a daemon, and its successor while it ends.
const MOST_HOLDERS: usize = 8;

/// The first descriptor that systemd passes; see sd_listen_fds(3).
const FIRST: RawFd = 3;

/// The number of descriptors that it passes: the socket, and the port for TCP and for UDP.
const HANDED: RawFd = 3;

/// The sockets that systemd has bound.
#[derive(Debug)]
pub(crate) struct Port {
    /// The socket where the user's daemon asks for the port.
    pub(crate) asked_at: OwnedFd,
    pub(crate) udp: OwnedFd,
    pub(crate) tcp: OwnedFd,
}

/// Serves the port that systemd has passed, until it is no longer needed.
///
/// # Errors
/// If systemd has passed no port.
pub fn keep_port() -> Result<()> {
    let handed = (FIRST..FIRST + HANDED).map(take).collect::<Result<_>>()?;
    Port::of(handed)?.keep(IDLE)
}

/// Takes over a descriptor that systemd has passed.
fn take(number: RawFd) -> Result<OwnedFd> {
    sys::take_handed(number).ok_or_else(|| not_by_hand("no socket is passed"))
}

fn not_by_hand(text: &str) -> Error {
    Error::new(Kind::Other, text).hint("this program is started by systemd, never by hand")
}

impl Port {
    /// Assigns the sockets by their types.
    fn of(sockets: Vec<OwnedFd>) -> Result<Self> {
        let (mut asked_at, mut udp, mut tcp) = (None, None, None);
        for socket in sockets {
            let kind = sockopt::socket_domain(&socket).and_then(|domain| {
                let kind = sockopt::socket_type(&socket)?;
                Ok((domain, kind))
            });
            let place = match kind {
                Ok((AddressFamily::UNIX, SocketType::SEQPACKET)) => &mut asked_at,
                Ok((AddressFamily::INET, SocketType::DGRAM)) => &mut udp,
                Ok((AddressFamily::INET, SocketType::STREAM)) => &mut tcp,
                _ => {
                    return Err(not_by_hand("a socket of another kind was passed"));
                }
            };
            *place = Some(socket);
        }
        match (asked_at, udp, tcp) {
            (Some(asked_at), Some(udp), Some(tcp)) => Ok(Self { asked_at, udp, tcp }),
            _ => Err(not_by_hand("not all of our sockets are handed over")),
        }
    }

    /// Passes the port to each client, and returns when all clients have gone and none has come for
    /// `idle`.
    pub(crate) fn keep(&self, idle: Duration) -> Result<()> {
        let patience =
            Timespec::try_from(idle).map_err(|cause| Error::new(Kind::Other, cause.to_string()))?;
        let mut holders: Vec<OwnedFd> = Vec::new();
        loop {
            let mut wanted = vec![PollFd::new(&self.asked_at, PollFlags::IN)];
            if holders.is_empty() {
                wanted.push(PollFd::new(&self.udp, PollFlags::IN));
                wanted.push(PollFd::new(&self.tcp, PollFlags::IN));
            }
            let others = wanted.len();
            wanted.extend(holders.iter().map(|it| PollFd::new(it, PollFlags::IN)));
            let patience = holders.is_empty().then_some(&patience);
            match poll(&mut wanted, patience) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(cause) => return Err(Error::io("wait for a client", cause.into())),
            }
            let ready: Vec<bool> = wanted.iter().map(|it| !it.revents().is_empty()).collect();
            // A holder sends nothing, so any event on its socket is its end.
            let mut ended = ready[others..].iter();
            holders.retain(|_| !ended.next().is_some_and(|it| *it));
            if ready[0] {
                holders.extend(self.hand_over(holders.len()));
            } else if others > 1 && ready[1..others].contains(&true) {
                self.throw_away();
            }
        }
    }

    /// Accepts a client, and passes the port to it if it is the port's user.
    fn hand_over(&self, holders: usize) -> Option<OwnedFd> {
        let asks = accept_with(&self.asked_at, SocketFlags::CLOEXEC).ok()?;
        let own = rustix::process::geteuid().as_raw();
        let peer = wire::peer(&asks).ok()?.uid();
        if peer != own || holders >= MOST_HOLDERS {
            log(&format!("the port is not handed to user {peer}"));
            return None;
        }
        let wire = Wire::new(asks.try_clone().ok()?);
        let patience = Duration::from_secs(1);
        wire.set_patience(patience, patience).ok()?;
        wire.say(&"port", &[self.udp.as_fd(), self.tcp.as_fd()])
            .ok()?;
        Some(asks)
    }

    /// Drops pending queries, for which systemd would start the program again at once.
    fn throw_away(&self) {
        let mut byte = [0; 1];
        while recv(&self.udp, &mut byte, RecvFlags::DONTWAIT | RecvFlags::TRUNC).is_ok() {}
        let flags = SocketFlags::CLOEXEC;
        // Drops one at a time, since the listener may be a blocking one.
        let waits = |socket: &OwnedFd| {
            let mut wanted = [PollFd::new(socket, PollFlags::IN)];
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            poll(&mut wanted, Some(&now)).is_ok_and(|ready| ready > 0)
        };
        while waits(&self.tcp) && accept_with(&self.tcp, flags).is_ok() {}
    }
}
