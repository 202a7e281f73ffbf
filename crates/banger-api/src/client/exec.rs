//! Connections that the daemon hands over: to a command in a guest, to a port of it, to a console.

use std::os::unix::net::UnixStream;

use hyper::Method;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;

use super::{Client, broken, verbs};
use crate::exec::UPGRADE;
use crate::{Code, Endpoint, Error, JobRef, Result, VmRef, console, forward, lifeline};

/// A connection that the caller takes over; [`crate::exec`] and [`crate::console`] describe its
/// frames.
#[derive(Debug)]
pub struct ExecStream {
    /// The socket, in blocking mode.
    pub socket: UnixStream,
    /// Bytes that have been read from it already.
    pub early: Vec<u8>,
}

/// A connection to a port or a socket of a guest: bytes both ways.
#[derive(Debug)]
pub struct ConnectStream {
    /// The socket, in blocking mode.
    pub socket: UnixStream,
    /// Bytes that have been read from it already.
    pub early: Vec<u8>,
}

impl Client {
    /// Opens a connection for one command in a running guest. Dropping it ends the command.
    ///
    /// # Errors
    /// The daemon's error, such as `conflict` if the VM does not run.
    pub fn exec(&self, vm: &VmRef) -> Result<ExecStream> {
        self.take_over(&verbs::path(vm, "/exec"), UPGRADE)
    }

    /// Opens a connection that starts one job in a running guest.
    ///
    /// # Errors
    /// Those of [`Client::exec`]; `guest` if the guest's program does not support jobs.
    pub fn detach(&self, vm: &VmRef) -> Result<ExecStream> {
        self.take_over(&verbs::path(vm, "/detach"), UPGRADE)
    }

    /// Opens a connection to a job's output and input. Dropping it does not affect the job.
    ///
    /// # Errors
    /// Those of [`Client::detach`].
    pub fn attach(&self, vm: &VmRef, job: &JobRef) -> Result<ExecStream> {
        let path = verbs::path(vm, &format!("/jobs/{job}/attach"));
        self.take_over(&path, UPGRADE)
    }

    /// Opens a connection to a port or a socket of a running guest.
    ///
    /// # Errors
    /// The daemon's error, such as `conflict` if the VM does not run, or `guest` if nothing
    /// listens.
    pub fn connect(&self, vm: &VmRef, to: &Endpoint) -> Result<ConnectStream> {
        let path = format!("{}{}", verbs::path(vm, "/connect"), to.query());
        let ExecStream { socket, early } = self.take_over(&path, forward::UPGRADE)?;
        Ok(ConnectStream { socket, early })
    }

    /// Has a running guest listen for as long as the connection is there, which carries the guest's
    /// lines ([`crate::ListenLine`]).
    ///
    /// # Errors
    /// The daemon's error, such as `conflict` if the VM does not run.
    pub fn listen(&self, vm: &VmRef, place: &Endpoint) -> Result<ConnectStream> {
        let path = format!("{}{}", verbs::path(vm, "/listen"), place.query());
        let ExecStream { socket, early } = self.take_over(&path, forward::UPGRADE)?;
        Ok(ConnectStream { socket, early })
    }

    /// Accepts a connection that a guest has told of.
    ///
    /// # Errors
    /// The daemon's error, such as `guest` if it is gone.
    pub fn accept(&self, vm: &VmRef, connection: u64) -> Result<ConnectStream> {
        let path = verbs::path(vm, &format!("/accept?connection={connection}"));
        let ExecStream { socket, early } = self.take_over(&path, forward::UPGRADE)?;
        Ok(ConnectStream { socket, early })
    }

    /// Opens a connection to the console of a running VM, to type to it or only to read. One client
    /// at a time may type.
    ///
    /// # Errors
    /// The daemon's error, such as `conflict` if the VM does not run, and `busy` if another client
    /// types.
    pub fn console(&self, vm: &VmRef, types: bool) -> Result<ExecStream> {
        let path = verbs::path(vm, &format!("/console?input={types}"));
        self.take_over(&path, console::UPGRADE)
    }

    /// Opens a connection for one copy to or from a running guest. Dropping it ends the copy.
    ///
    /// # Errors
    /// Those of [`Client::detach`].
    pub fn copy(&self, vm: &VmRef) -> Result<ExecStream> {
        self.take_over(&verbs::path(vm, "/copy"), UPGRADE)
    }

    /// Holds the lifeline of a temporary VM until the socket is closed.
    ///
    /// # Errors
    /// The daemon's error, such as `conflict` if the VM is not temporary.
    pub fn lifeline(&self, vm: &VmRef) -> Result<UnixStream> {
        let path = verbs::path(vm, "/lifeline");
        Ok(self.take_over(&path, lifeline::UPGRADE)?.socket)
    }

    /// Requests a connection with this protocol, and takes it over.
    fn take_over(&self, path: &str, protocol: &str) -> Result<ExecStream> {
        let failed =
            |cause: String| Error::new(Code::Internal, "take the connection over").cause(cause);
        self.runtime.block_on(async {
            let sent = self.send_with(Method::GET, path, Bytes::new(), Some(protocol));
            let (answer, _) = sent.await?;
            let upgraded = hyper::upgrade::on(answer).await.map_err(broken)?;
            let parts = upgraded
                .downcast::<TokioIo<tokio::net::UnixStream>>()
                .map_err(|_| failed("it is not a socket".to_owned()))?;
            let socket = parts.io.into_inner().into_std();
            let socket = socket.and_then(|socket| {
                socket.set_nonblocking(false)?;
                Ok(socket)
            });
            let socket = socket.map_err(|cause| failed(cause.to_string()))?;
            Ok(ExecStream {
                socket,
                early: parts.read_buf.to_vec(),
            })
        })
    }
}
