//! The agent's calls to a job's supervisor: one message over its socket, with the client's stream,
//! and one byte back. Only root may connect.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// How long the other side may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The byte that acknowledges a call.
const OBEYED: u8 = b'+';

/// A call to a supervisor.
#[derive(Debug)]
pub(crate) enum Call {
    /// Serve this client.
    Attach(OwnedFd),
    /// Send this signal, by its number on x86-64, to the job's process group.
    Signal(u8),
}

/// Makes a call. An error means that no supervisor answers: the job has ended, or is lost.
pub(crate) fn call(socket: &Path, call: &Call) -> io::Result<()> {
    let mut connection = UnixStream::connect(socket)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let (bytes, stream);
    match call {
        Call::Attach(fd) => {
            bytes = [b'a', 0];
            stream = [fd.as_fd()];
            if !beside.push(SendAncillaryMessage::ScmRights(&stream)) {
                return Err(io::Error::other("there is no room for a descriptor"));
            }
        }
        Call::Signal(number) => bytes = [b's', *number],
    }
    sendmsg(
        &connection,
        &[IoSlice::new(&bytes)],
        &mut beside,
        SendFlags::NOSIGNAL,
    )?;
    let mut answer = [0];
    connection.read_exact(&mut answer)?;
    if answer == [OBEYED] {
        Ok(())
    } else {
        Err(io::Error::other("the supervisor refused"))
    }
}

/// Reads the call of an accepted connection.
pub(crate) fn read(connection: &UnixStream) -> io::Result<Call> {
    connection.set_nonblocking(false)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut bytes = [0; 2];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        connection,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut beside,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut stream = None;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message {
            stream = fds.next();
        }
    }
    match (received.bytes, bytes, stream) {
        (2, [b'a', _], Some(stream)) => Ok(Call::Attach(stream)),
        (2, [b's', number], None) => Ok(Call::Signal(number)),
        _ => Err(io::Error::other("the call is not understood")),
    }
}

/// Acknowledges a call.
pub(crate) fn obeyed(mut connection: &UnixStream) {
    // The agent may have ended.
    let _ = connection.write_all(&[OBEYED]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    #[test]
    fn a_stream_and_a_signal_are_handed_over() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let supervisor = thread::spawn(move || {
            let (connection, _) = listener.accept().unwrap();
            let Call::Attach(stream) = read(&connection).unwrap() else {
                panic!("it was an attach");
            };
            UnixStream::from(stream).write_all(b"hello").unwrap();
            obeyed(&connection);
            let (connection, _) = listener.accept().unwrap();
            assert!(matches!(read(&connection), Ok(Call::Signal(15))));
            obeyed(&connection);
            // The next call is closed without an answer.
            drop(listener.accept().unwrap());
        });
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        call(&socket, &Call::Attach(theirs.into())).unwrap();
        let mut hello = String::new();
        ours.read_to_string(&mut hello).unwrap();
        assert_eq!(hello, "hello");
        call(&socket, &Call::Signal(15)).unwrap();
        call(&socket, &Call::Signal(15)).unwrap_err();
        supervisor.join().unwrap();
        call(&socket, &Call::Signal(15)).unwrap_err();
    }
}
