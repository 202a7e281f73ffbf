//! Root against hostile and friendly users.

mod files;
mod hostile;
mod jailed;
mod quota;
mod real;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::message::{PROTOCOL, Reply, Request};
use super::serve::converse;
use super::served::{ClaimedHost, FileOperations};
use super::wire::{Received, Wire, understand};
use crate::{Change, Claim, Error, GuestTap, Host, Kind, MacAddress, MachineId, RootOp};

/// The user who is served; no account for her is needed.
const USER: u32 = 64_001;

fn claim() -> Claim {
    Claim {
        uid: USER,
        user: "ada".to_owned(),
        state: "/home/ada/.local/state/banger".into(),
        subnet: "10.216.0.0/20".parse().unwrap(),
        dns_port: 42070,
    }
}

/// A machine of the user.
const MACHINE: MachineId = MachineId::from_bits(0x00c0_ffee);

/// The TAP of the user's machine.
fn tap() -> String {
    claim().instance().tap(MACHINE)
}

/// The snapshot of the user's machine.
fn snapshot() -> String {
    claim().instance().name(MACHINE)
}

fn table() -> String {
    claim().instance().table()
}

fn prefix() -> String {
    claim().instance().tap_prefix()
}

/// Runs a closure as another user, on a thread of its own.
fn as_user<T: Send>(uid: u32, what: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let running = scope.spawn(|| {
            let (uid, gid) = (
                rustix::process::Uid::from_raw(uid),
                rustix::process::Gid::from_raw(uid),
            );
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            what()
        });
        running.join().unwrap()
    })
}

fn pair() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

/// The user's end of a connection to root.
struct Client {
    wire: Wire,
}

impl Client {
    /// A connection that root serves on a thread, which has the namespaces of this one.
    fn of(served: &Arc<ClaimedHost>) -> Self {
        let (ours, theirs) = as_user(USER, pair);
        let served = served.clone();
        thread::spawn(move || converse(Wire::new(theirs), &served));
        Self {
            wire: Wire::new(ours),
        }
    }

    fn greeted(served: &Arc<ClaimedHost>) -> Self {
        let mut client = Self::of(served);
        let hello = client.ask(&Request::Hello { protocol: PROTOCOL });
        assert!(matches!(hello, Some(Reply::Hello(_))), "{hello:?}");
        client
    }

    fn ask(&mut self, request: &Request) -> Option<Reply> {
        self.wire.say(request, &[]).unwrap();
        self.hear()
    }

    /// Root's next message, or `None` if root has closed the connection.
    fn hear(&mut self) -> Option<Reply> {
        match self.wire.receive().unwrap() {
            Received::Message(bytes, _) => Some(understand(&bytes).unwrap()),
            Received::End => None,
            other => panic!("{other:?}"),
        }
    }

    fn must(&mut self, op: RootOp) -> Change {
        let shown = format!("{op:?}");
        match self.ask(&Request::Change(op)) {
            Some(Reply::Changed(change)) => change,
            other => panic!("{shown}: {other:?}"),
        }
    }
}

/// The MAC of the user's guest.
const MAC: MacAddress = MacAddress::from_bits(0x00c0_ffee);

/// A TAP of another instance.
fn another() -> GuestTap {
    GuestTap {
        machine: MACHINE,
        uid: 1,
        host_address: [10, 217, 0, 1].into(),
        guest_address: [10, 217, 0, 2].into(),
        mac: MAC,
        mtu: 1500,
    }
}

/// Whether the answer is an error of the kind `Denied`.
fn is_denied(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(layers) if layers[0].kind == Kind::Denied)
}

fn served(host: impl Host + 'static) -> Arc<ClaimedHost> {
    Arc::new(ClaimedHost::new(claim(), Box::new(host), OPERATIONS))
}

/// Operations that make nothing, and report that everything exists.
const OPERATIONS: FileOperations = FileOperations {
    snapshot: |_| Ok(Change::Made),
    jailed: |_| Err(Error::new(Kind::Other, "no jail is made in tests")),
};
