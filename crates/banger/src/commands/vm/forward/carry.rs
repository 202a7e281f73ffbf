//! Carries the connections of a listener of this process.

use std::fs::File;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use banger_api::client::{Client, ConnectStream};
use banger_api::listener::Listener;
use banger_api::{Code, Endpoint, Error, Result, VmRef};

use crate::commands::dial_stdio::copy;
use crate::output::Output;
use crate::poll;
use crate::remote::{Prompts, Remote};
use crate::session::is_broken;

/// The pause after a connection that could not be accepted, such as without free descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Where connections go.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) vm: VmRef,
    pub(super) target: Endpoint,
    pub(super) socket: PathBuf,
    pub(super) remote: Option<Remote>,
    pub(super) output: Output,
    /// The last failure, which is reported once.
    pub(super) last_failure: Mutex<Option<String>>,
}

impl Route {
    /// Takes connections until this process ends.
    pub(super) fn serve(self: &Arc<Self>, listener: &Listener) {
        loop {
            let Ok(client) = listener.accept() else {
                poll::pause(PAUSE);
                continue;
            };
            let route = Arc::clone(self);
            // Without a thread the client sees its connection end.
            let _ = Builder::new()
                .name("connection".to_owned())
                .spawn(move || route.carry(client));
        }
    }

    fn carry(&self, client: OwnedFd) {
        match self.ask(|daemon| daemon.connect(&self.vm, &self.target)) {
            Ok(stream) => {
                *self.last_failure() = None;
                join(client, stream);
            }
            Err(error) => {
                // As a port that nobody listens on, as far as that is possible.
                let _ = rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO));
                drop(client);
                self.warn(&error.to_string());
            }
        }
    }

    /// Reports a failure, once.
    pub(super) fn warn(&self, text: &str) {
        if self.last_failure().replace(text.to_owned()).as_deref() != Some(text) {
            self.output.warning(text);
        }
    }

    pub(super) fn last_failure(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.last_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the daemon for a connection.
    pub(super) fn ask(
        &self,
        wish: impl Fn(&Client) -> Result<ConnectStream>,
    ) -> Result<ConnectStream> {
        let asked = Client::new(&self.socket).and_then(|daemon| wish(&daemon));
        match (asked, &self.remote) {
            // A laptop that slept has lost its connection.
            (Err(error), Some(remote)) if is_broken(&error) => {
                let socket = remote.connect(Prompts::Refused)?;
                wish(&Client::new(&socket)?)
            }
            (outcome, _) => outcome,
        }
    }
}

/// Copies both ways. The end of one direction is passed on, and the other one goes on.
pub(super) fn join(client: OwnedFd, stream: ConnectStream) {
    let guest = OwnedFd::from(stream.socket);
    let (Ok(from_client), Ok(to_guest)) = (client.try_clone(), guest.try_clone()) else {
        return;
    };
    let upward = Builder::new().name("connection".to_owned()).spawn(move || {
        pass(from_client, to_guest);
    });
    let mut early = &stream.early[..];
    let mut to_client = File::from(client);
    let _ = copy(&mut early, &mut to_client);
    pass(guest, to_client.into());
    drop(upward);
}

/// Copies to the end, and passes that on.
fn pass(from: OwnedFd, to: OwnedFd) {
    let (mut from, mut to) = (File::from(from), File::from(to));
    let _ = copy(&mut from, &mut to);
    let _ = rustix::net::shutdown(to.as_fd(), rustix::net::Shutdown::Write);
    let _ = rustix::net::shutdown(from.as_fd(), rustix::net::Shutdown::Read);
}

/// What standard input and output are joined to.
pub(crate) fn join_stdio(stream: ConnectStream) -> Result<()> {
    let trouble = |cause: std::io::Error| {
        Error::new(Code::Host, "join standard input and output").cause(cause.to_string())
    };
    let duplicate = |fd: rustix::fd::BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
    let mut input = duplicate(rustix::stdio::stdin()).map_err(trouble)?;
    let mut output = duplicate(rustix::stdio::stdout()).map_err(trouble)?;
    let mut guest = stream.socket;
    let mut to_guest = guest.try_clone().map_err(trouble)?;
    Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            let _ = copy(&mut input, &mut to_guest);
            let _ = to_guest.shutdown(Shutdown::Write);
        })
        .map_err(trouble)?;
    let copied = copy(&mut &stream.early[..], &mut output);
    copied
        .and_then(|()| copy(&mut guest, &mut output))
        .map_err(trouble)
}
