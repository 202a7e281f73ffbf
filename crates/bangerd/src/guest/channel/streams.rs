//! The daemon's side of streams: over QEMU's second serial port, which all streams share, or over
//! Firecracker's vsock, where each has a connection.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use banger_api::{Code, Error};
use banger_guest::protocol::encode;
use banger_guest::streams::{
    Doorbell, Mux, Open, OpenReply, StreamKind, TOKEN, VSOCK_PORT, read_line,
};

use super::hybrid::{Dial, DialError, DialProgress};
use super::{connect, wait};
use crate::error::Result;

/// The first pause between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The reason that a stream was not opened.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("connect to the hypervisor: {0}")]
    Absent(io::Error),
    /// The other end closed it: the guest's program restarts, or the machine ends.
    #[error("the guest closed the stream")]
    Ended,
    #[error(
        "the guest does not answer; it may still boot, or have been started by an older banger \
         without streams"
    )]
    Silent,
    #[error("the guest refused: {0}")]
    Refused(String),
    #[error("the guest's answer is not understood")]
    Garbage,
}

impl OpenError {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Ended | Self::Absent(_))
    }

    fn for_client(self) -> Error {
        let hint = "see how far it has booted: banger vm logs NAME; a VM that an older banger \
                    started has streams after: banger vm restart NAME";
        let is_of_boot = matches!(self, Self::Silent | Self::Ended);
        let is_refused = matches!(self, Self::Refused(_));
        let error = Error::new(Code::Guest, "open a stream to the guest").cause(self.to_string());
        if is_refused {
            error.hint("a VM gets the guest program of this banger by: banger vm restart NAME")
        } else if is_of_boot {
            error.hint(hint)
        } else {
            error
        }
    }
}

/// The conversations of the daemon over serial ports, by socket.
#[derive(Debug, Default)]
pub(crate) struct SerialStreams {
    ports: Mutex<BTreeMap<PathBuf, Arc<Doorbell>>>,
}

impl SerialStreams {
    /// Opens a stream over the port behind this socket.
    ///
    /// # Errors
    /// `guest` if the guest does not answer in time, or refuses.
    pub(crate) fn open(
        &self,
        socket: &Path,
        kind: StreamKind,
        first: &[u8],
        timeout: Duration,
    ) -> Result<UnixStream> {
        retry(Instant::now() + timeout, |deadline| {
            let doorbell = self.doorbell(socket).map_err(OpenError::Absent)?;
            let Some(stream) = doorbell.open().map_err(OpenError::Absent)? else {
                self.forget(socket, &doorbell);
                return Err(OpenError::Ended);
            };
            let greeted = greet(stream, kind, first, deadline);
            if matches!(greeted, Err(OpenError::Silent)) && !doorbell.is_welcomed() {
                // The next attempt starts a new conversation.
                doorbell.close();
                self.forget(socket, &doorbell);
            }
            greeted
        })
        .map_err(OpenError::for_client)
    }

    /// The conversation over a port, started if there is none.
    fn doorbell(&self, socket: &Path) -> io::Result<Arc<Doorbell>> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(doorbell) = ports.get(socket) {
            return Ok(Arc::clone(doorbell));
        }
        let port = connect(socket)?;
        port.set_nonblocking(true)?;
        let mut token = [0; TOKEN];
        rustix::rand::getrandom(&mut token, rustix::rand::GetRandomFlags::empty())?;
        let doorbell = Doorbell::new()?;
        let theirs = Arc::clone(&doorbell);
        std::thread::Builder::new()
            .name("streams".to_owned())
            .spawn(move || drop(Mux::of_daemon(port, token, theirs).run()))?;
        ports.insert(socket.to_owned(), Arc::clone(&doorbell));
        Ok(doorbell)
    }

    fn forget(&self, socket: &Path, gone: &Arc<Doorbell>) {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        if ports.get(socket).is_some_and(|it| Arc::ptr_eq(it, gone)) {
            ports.remove(socket);
        }
    }
}

/// Opens a stream over Firecracker's vsock.
///
/// # Errors
/// Those of [`SerialStreams::open`].
pub(crate) fn open_vsock(
    socket: &Path,
    kind: StreamKind,
    first: &[u8],
    timeout: Duration,
) -> Result<UnixStream> {
    retry(Instant::now() + timeout, |deadline| {
        let stream = Dial::new(socket, VSOCK_PORT)
            .and_then(|dial| dial.wait(deadline))
            .map_err(|cause| match cause {
                DialError::Absent(cause) => OpenError::Absent(cause),
                DialError::Refused | DialError::Silent => OpenError::Ended,
                DialError::Garbage(_) => OpenError::Garbage,
            })?;
        match stream {
            DialProgress::Through(stream) => greet(stream, kind, first, deadline),
            DialProgress::Waiting(_) => Err(OpenError::Silent),
        }
    })
    .map_err(OpenError::for_client)
}

fn retry<T>(
    deadline: Instant,
    mut attempt: impl FnMut(Instant) -> std::result::Result<T, OpenError>,
) -> std::result::Result<T, OpenError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt(deadline) {
            Err(cause) if cause.may_pass() && Instant::now() < deadline => {
                wait(&mut pause, deadline);
            }
            outcome => return outcome,
        }
    }
}

/// Sends the kind of the stream and what comes first in it, and reads the answer.
fn greet(
    mut stream: UnixStream,
    kind: StreamKind,
    first: &[u8],
    deadline: Instant,
) -> std::result::Result<UnixStream, OpenError> {
    let open = serde_json::to_value(kind).map_err(|_| OpenError::Garbage)?;
    let ended = |cause: io::Error| match cause.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => OpenError::Silent,
        _ => OpenError::Ended,
    };
    let head = [&encode(&Open { open }), first].concat();
    // The buffer of a new socket has room for this.
    stream.write_all(&head).map_err(ended)?;
    let head = read_line(&stream, deadline).map_err(|cause| match cause.kind() {
        ErrorKind::InvalidData => OpenError::Garbage,
        _ => ended(cause),
    })?;
    match serde_json::from_slice(&head) {
        Ok(OpenReply::Opened(opened)) if opened == kind => Ok(stream),
        Ok(OpenReply::Refused(reason)) => {
            let plain = reason.chars().filter(|letter| !letter.is_control());
            Err(OpenError::Refused(plain.take(300).collect()))
        }
        Ok(OpenReply::Opened(_)) | Err(_) => Err(OpenError::Garbage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::os::unix::net::UnixListener;
    use std::thread;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A guest whose program answers each stream with `reply`, behind a hypervisor's socket.
    fn guest(socket: &Path, reply: &'static str) -> thread::JoinHandle<()> {
        let listener = UnixListener::bind(socket).unwrap();
        thread::spawn(move || {
            // The second daemon is the last one.
            for _ in 0..2 {
                let (port, _) = listener.accept().unwrap();
                port.set_nonblocking(true).unwrap();
                Mux::of_guest(port, move |mut stream| {
                    thread::spawn(move || {
                        let mut head = [0; 64];
                        let _ = stream.read(&mut head);
                        let _ = stream.write_all(reply.as_bytes());
                        let _ = io::copy(&mut stream.try_clone().unwrap(), &mut stream);
                    });
                })
                .run();
            }
        })
    }

    fn echo(stream: &mut UnixStream, text: &[u8]) {
        stream.write_all(text).unwrap();
        let mut got = vec![0; text.len()];
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_exact(&mut got).unwrap();
        assert_eq!(got, text);
    }

    #[test]
    fn streams_share_a_port_and_a_new_daemon_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("streams.sock");
        let guest = guest(&socket, "{\"opened\":\"exec\"}\nmore");
        for _ in 0..2 {
            let streams = SerialStreams::default();
            let open = || {
                streams
                    .open(&socket, StreamKind::Exec, &[], PATIENCE)
                    .unwrap()
            };
            let (mut first, mut second) = (open(), open());
            for stream in [&mut first, &mut second] {
                let mut more = [0; 4];
                stream.read_exact(&mut more).unwrap();
                assert_eq!(&more, b"more");
                echo(stream, b"a\0b");
            }
            let doorbell = streams.doorbell(&socket).unwrap();
            doorbell.close();
            assert_eq!(first.read(&mut [0]).unwrap(), 0);
        }
        guest.join().unwrap();
    }

    #[test]
    fn what_a_guest_says_instead_is_an_error_in_words() {
        for (reply, expected) in [
            ("{\"refused\":\"no\\u0007\"}\n", "the guest refused: no"),
            ("{\"opened\":\"ports\"}\n", "not understood"),
            ("nonsense\n", "not understood"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let socket = folder.path().join("streams.sock");
            let _guest = guest(&socket, reply);
            let streams = SerialStreams::default();
            let error = streams
                .open(&socket, StreamKind::Exec, &[], PATIENCE)
                .unwrap_err();
            assert!(error.report().contains(expected), "{error:?}");
        }
    }

    #[test]
    fn what_comes_first_in_a_stream_does_not_wait_for_the_guests_word() {
        let (here, there) = UnixStream::pair().unwrap();
        let guest = thread::spawn(move || {
            let mut lines = BufReader::new(there);
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            lines.read_line(&mut line).unwrap();
            lines
                .get_mut()
                .write_all(b"{\"opened\":\"connect\"}\n")
                .unwrap();
            line
        });
        let deadline = Instant::now() + PATIENCE;
        let opened = greet(
            here,
            StreamKind::Connect,
            b"{\"unix\":\"/run/s\"}\n",
            deadline,
        );
        opened.unwrap();
        let lines = guest.join().unwrap();
        assert_eq!(lines, "{\"open\":\"connect\"}\n{\"unix\":\"/run/s\"}\n");
    }

    #[test]
    fn a_guest_that_says_nothing_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("streams.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let streams = SerialStreams::default();
        for _ in 0..2 {
            let timeout = Duration::from_millis(50);
            let error = streams
                .open(&socket, StreamKind::Usage, &[], timeout)
                .unwrap_err();
            assert!(error.report().contains("does not answer"), "{error:?}");
            // Each attempt has a connection of its own.
            listener.accept().unwrap();
        }
    }
}
