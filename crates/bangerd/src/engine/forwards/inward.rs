//! A port or a socket of the host that reaches a service of a guest.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Weak;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use banger_api::listener::Listener;
use banger_api::{Code, Endpoint, Error, Forward, VmId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::{Engine, lock};
use crate::error::Result;

/// The stack of a thread, in bytes.
const STACK: usize = 256 << 10;

/// The pause after a connection that could not be accepted, such as without free descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener, and the thread that takes its connections. Dropping it closes the port; connections
/// stay.
#[derive(Debug)]
pub(super) struct OpenPort {
    /// Its other end tells the thread to stop.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// Where connections go.
#[derive(Debug, Clone)]
struct Way {
    engine: Weak<Engine>,
    vm: VmId,
    target: Endpoint,
}

impl OpenPort {
    /// Listens; with it comes where.
    pub(super) fn open(
        engine: &Weak<Engine>,
        vm: VmId,
        forward: &Forward,
    ) -> Result<(Self, Endpoint)> {
        let listener = Listener::open(&forward.listen)?;
        let listen = listener.endpoint(&forward.listen);
        let way = Way {
            engine: engine.clone(),
            vm,
            target: forward.target.clone(),
        };
        let started = start(listener, way).map_err(|cause| {
            Error::new(Code::Host, format!("listen on {listen}")).cause(cause.to_string())
        })?;
        Ok((started, listen))
    }
}

impl Drop for OpenPort {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The thread only accepts, so it ends at once, and the port is free then.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn start(listener: Listener, way: Way) -> io::Result<OpenPort> {
    rustix::io::ioctl_fionbio(&listener, true)?;
    let (stop, stopped) = UnixStream::pair()?;
    let thread = Builder::new()
        .name("forward".to_owned())
        .stack_size(STACK)
        .spawn(move || way.serve(&listener, &stopped))?;
    Ok(OpenPort {
        stop: Some(stop),
        thread: Some(thread),
    })
}

impl Way {
    fn serve(&self, listener: &Listener, stopped: &UnixStream) {
        let pause = Timespec::try_from(PAUSE).ok();
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(stopped.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
            ];
            let _ = poll(&mut fds, None);
            if !fds[0].revents().is_empty() {
                return;
            }
            match listener.accept() {
                Ok(client) => self.begin(client),
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => {}
                Err(_) => drop(poll(&mut fds[..1], pause.as_ref())),
            }
        }
    }

    fn begin(&self, client: OwnedFd) {
        let way = self.clone();
        // Without a thread the client sees its connection end.
        let _ = Builder::new()
            .name("connection".to_owned())
            .stack_size(STACK)
            .spawn(move || way.carry(client));
    }

    fn carry(self, client: OwnedFd) {
        // An engine that ends is not kept by a connection.
        let connected = self.engine.upgrade().map(|engine| {
            let slot = lock(&engine.vms).get(&self.vm).cloned();
            slot.map(|slot| engine.connect_to(&slot.vm(), &self.target))
        });
        match connected.flatten() {
            Some(Ok(connection)) => connection.join(&client),
            Some(Err(error)) => {
                tracing::debug!(vm = %self.vm, error = error.report(), "a forwarded connection");
                reset(client);
            }
            None => reset(client),
        }
    }
}

/// Closes a connection as a port that nobody listens at, as far as that is possible.
fn reset(client: OwnedFd) {
    let _ = rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO));
    drop(client);
}
