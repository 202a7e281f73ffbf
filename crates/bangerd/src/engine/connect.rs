//! Connections to ports and sockets of guests, and from them, over streams of the guest program:
//! they need neither SSH nor a network in the guest.
//!
//! All streams of a VM share a limit (`MOST_STREAMS`), so connections may use only a part of it:
//! however many there are, commands still run.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use banger_api::{Code, Endpoint, EndpointHost, Error, VmId, VmName, VmRef};
use banger_guest::protocol::encode;
use banger_guest::streams::{
    Accept, ConnectReply, LOCALHOST, MOST_STREAMS, StreamKind, Target, join, read_line,
};

use super::{Engine, lock};
use crate::error::Result;
use crate::vm::Vm;

/// The number of simultaneous connections of a VM: three quarters of its streams.
const MOST_CONNECTIONS: usize = MOST_STREAMS / 4 * 3;

/// Timeout for a guest to take the stream.
const PATIENCE: Duration = Duration::from_secs(10);

/// Timeout for a service of the guest to accept: longer than the guest's own.
const DIAL_PATIENCE: Duration = Duration::from_secs(35);

/// The stack of a thread that copies, in bytes.
const STACK: usize = 256 << 10;

/// The number of open connections of each VM.
pub(super) type OpenConnections = Arc<Mutex<BTreeMap<VmId, usize>>>;

/// The permit for one of a VM's connections, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    open: OpenConnections,
    vm: VmId,
}

impl Permit {
    fn take(open: &OpenConnections, vm: VmId) -> Option<Self> {
        let mut counts = lock(open);
        let count = counts.entry(vm).or_default();
        if *count >= MOST_CONNECTIONS {
            return None;
        }
        *count += 1;
        let open = Arc::clone(open);
        Some(Self { open, vm })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = lock(&self.open);
        if let Some(count) = counts.get_mut(&self.vm) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.vm);
            }
        }
    }
}

/// A connection to a service of a guest.
#[derive(Debug)]
pub struct Connection {
    guest: UnixStream,
    _permit: Permit,
}

impl Connection {
    fn new(guest: UnixStream, permit: Permit) -> Self {
        Self {
            guest,
            _permit: permit,
        }
    }

    /// The stream to the guest.
    pub(super) fn guest(&self) -> &UnixStream {
        &self.guest
    }

    /// Copies both ways until both directions have ended or a side is gone.
    pub(super) fn join(self, client: impl AsFd) {
        let _ = join(client, &self.guest);
    }

    /// Copies both ways between a client and the service, on a thread of its own, until both
    /// directions have ended or a side has hung up. `early` is what the client has sent already;
    /// `ended` runs at the end.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn carry(
        mut self,
        client: UnixStream,
        early: Vec<u8>,
        ended: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let work = move || {
            if self.guest.write_all(&early).is_ok() {
                let _ = join(&client, &self.guest);
            }
            drop((self, client));
            ended();
        };
        std::thread::Builder::new()
            .name("connection".to_owned())
            .stack_size(STACK)
            .spawn(work)
            .map(drop)
    }
}

impl Engine {
    /// Connects to a port or a socket of a guest.
    ///
    /// # Errors
    /// `conflict` if the VM does not run, `busy` if it has too many connections, `guest` if the
    /// guest does not answer or nothing listens there.
    pub fn connect(&self, wanted: &VmRef, to: &Endpoint) -> Result<Connection> {
        let vm = self.find(wanted)?.vm();
        self.connect_to(&vm, to)
    }

    pub(super) fn connect_to(&self, vm: &Vm, to: &Endpoint) -> Result<Connection> {
        let permit = self.permit(vm)?;
        let ask = encode(&target(to));
        let guest = self.open_stream(vm, StreamKind::Connect, &ask, PATIENCE)?;
        let failed = |cause: String| {
            Error::new(Code::Guest, format!("connect to {}", place(&vm.name, to))).cause(cause)
        };
        match reply(&guest).map_err(failed)? {
            ConnectReply::Connected => Ok(Connection::new(guest, permit)),
            ConnectReply::Refused(reason) => Err(failed(plain(&reason))
                .hint(format!("see what listens: banger vm ports {}", vm.name))),
        }
    }

    /// Has a guest listen, for as long as the connection is there; it carries the guest's lines
    /// ([`banger_api::ListenLine`]).
    ///
    /// # Errors
    /// As [`Engine::connect`].
    pub fn listen(&self, wanted: &VmRef, at: &Endpoint) -> Result<Connection> {
        let vm = self.find(wanted)?.vm();
        self.listen_in(&vm, at)
    }

    pub(super) fn listen_in(&self, vm: &Vm, at: &Endpoint) -> Result<Connection> {
        let permit = self.permit(vm)?;
        let ask = encode(&target(at));
        let guest = self.open_stream(vm, StreamKind::Listen, &ask, PATIENCE)?;
        Ok(Connection::new(guest, permit))
    }

    /// Accepts a connection that a guest has told of.
    ///
    /// # Errors
    /// As [`Engine::connect`]; `guest` if the connection is gone.
    pub fn accept(&self, wanted: &VmRef, connection: u64) -> Result<Connection> {
        let vm = self.find(wanted)?.vm();
        self.accept_from(&vm, self.permit(&vm)?, connection)
    }

    pub(super) fn accept_from(
        &self,
        vm: &Vm,
        permit: Permit,
        connection: u64,
    ) -> Result<Connection> {
        let ask = encode(&Accept { accept: connection });
        let guest = self.open_stream(vm, StreamKind::Accept, &ask, PATIENCE)?;
        let failed = |cause: String| {
            Error::new(Code::Guest, format!("accept a connection of `{}`", vm.name)).cause(cause)
        };
        match reply(&guest).map_err(failed)? {
            ConnectReply::Connected => Ok(Connection::new(guest, permit)),
            ConnectReply::Refused(reason) => Err(failed(plain(&reason))),
        }
    }

    /// The right to one more connection of this VM.
    pub(super) fn permit(&self, vm: &Vm) -> Result<Permit> {
        Permit::take(&self.connections, vm.id).ok_or_else(|| {
            Error::new(
                Code::Busy,
                format!("`{}` has {MOST_CONNECTIONS} connections already", vm.name),
            )
            .hint("close some of them")
        })
    }
}

/// The guest's line about what it was asked for.
fn reply(guest: &UnixStream) -> std::result::Result<ConnectReply, String> {
    let reply = read_line(guest, Instant::now() + DIAL_PATIENCE);
    let reply = reply.map_err(|cause| format!("the guest's answer: {cause}"))?;
    serde_json::from_slice(&reply).map_err(|_| "the guest's answer is not understood".to_owned())
}

/// A guest's words, in one line.
pub(super) fn plain(reason: &str) -> String {
    let letters = reason.chars().filter(|letter| !letter.is_control());
    letters.take(300).collect()
}

/// The description of a VM's endpoint, for people.
fn place(vm: &VmName, endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp(EndpointHost::Localhost, port) => format!("port {port} of `{vm}`"),
        Endpoint::Tcp(EndpointHost::Address(_), _) | Endpoint::Unix(_) => {
            format!("`{endpoint}` in `{vm}`")
        }
    }
}

/// The endpoint in the guest's protocol.
fn target(endpoint: &Endpoint) -> Target {
    match endpoint {
        Endpoint::Tcp(host, port) => Target::Tcp {
            host: match host {
                EndpointHost::Localhost => LOCALHOST.to_owned(),
                EndpointHost::Address(address) => address.to_string(),
            },
            port: *port,
        },
        Endpoint::Unix(path) => Target::Unix(path.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_streams_for_commands() {
        let open = OpenConnections::default();
        let vm: VmId = "aa12bb34".parse().unwrap();
        let mut taken: Vec<_> = std::iter::from_fn(|| Permit::take(&open, vm)).collect();
        assert_eq!(taken.len(), 192);
        let other: VmId = "bb12bb34".parse().unwrap();
        assert!(Permit::take(&open, other).is_some());
        taken.pop();
        assert!(Permit::take(&open, vm).is_some());
        drop(taken);
        assert!(lock(&open).is_empty());
    }

    #[test]
    fn an_endpoint_is_the_guests_target() {
        for (text, json) in [
            ("80", r#"{"tcp":{"host":"localhost","port":80}}"#),
            ("[::1]:80", r#"{"tcp":{"host":"::1","port":80}}"#),
            ("/run/s", r#"{"unix":"/run/s"}"#),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(serde_json::to_string(&target(&endpoint)).unwrap(), json);
        }
        assert_eq!(
            banger_api::forward::LONGEST_SOCKET_PATH,
            banger_guest::streams::LONGEST_SOCKET_PATH
        );
    }
}
