//! Reads a line of a stream whose later bytes belong to somebody else.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::LONGEST_HEAD;

/// Reads a line of at most [`LONGEST_HEAD`] bytes, and returns it without its newline. The bytes after
/// it stay in the socket: they are looked at before they are taken, because a system call for each byte
/// costs more than everything else that opens a stream.
///
/// # Errors
/// `TimedOut` at the deadline, `UnexpectedEof` at the end, `InvalidData` if the line is too long.
pub fn read_line(stream: impl AsFd, deadline: Instant) -> io::Result<Vec<u8>> {
    let stream = stream.as_fd();
    let mut line = Vec::new();
    let mut bytes = [0; LONGEST_HEAD];
    loop {
        wait(stream, deadline)?;
        let seen = match recv(stream, &mut bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok((_, seen)) => seen,
            Err(Errno::AGAIN | Errno::INTR) => continue,
            Err(cause) => return Err(cause.into()),
        };
        let end = bytes[..seen].iter().position(|byte| *byte == b'\n');
        let wanted = end.map_or(seen, |end| end + 1);
        // Nobody else reads here, so all of it is still there.
        let (_, taken) = recv(stream, &mut bytes[..wanted], RecvFlags::DONTWAIT)?;
        line.extend_from_slice(&bytes[..taken]);
        if line.last() == Some(&b'\n') {
            line.pop();
            return within(line);
        }
        line = within(line)?;
    }
}

fn within(line: Vec<u8>) -> io::Result<Vec<u8>> {
    if line.len() > LONGEST_HEAD {
        return Err(io::Error::new(ErrorKind::InvalidData, "a line is too long"));
    }
    Ok(line)
}

/// Waits until there is something to read.
fn wait(stream: BorrowedFd<'_>, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(&stream, PollFlags::IN)], Some(&timeout)) {
        // The caller sees what is there, if anything.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(cause) => Err(cause.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[test]
    fn what_follows_a_line_stays_in_the_socket() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"one\n\ntwo\nrest\nof it").unwrap();
        drop(theirs.shutdown(std::net::Shutdown::Write));
        for expected in ["one", "", "two"] {
            assert_eq!(read_line(&ours, later()).unwrap(), expected.as_bytes());
        }
        let mut rest = String::new();
        ours.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "rest\nof it");
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let writer = std::thread::spawn(move || {
            for piece in [b"a".as_slice(), b"b", b"c\nd"] {
                theirs.write_all(piece).unwrap();
                std::thread::yield_now();
            }
            theirs
        });
        assert_eq!(read_line(&ours, later()).unwrap(), b"abc");
        writer.join().unwrap();
    }

    #[test]
    fn the_end_the_length_and_the_time_are_bounded() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let kind = |deadline| read_line(&ours, deadline).unwrap_err().kind();
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(kind(soon), ErrorKind::TimedOut);
        theirs.write_all(&[b'x'; LONGEST_HEAD]).unwrap();
        theirs.write_all(b"\n").unwrap();
        assert_eq!(read_line(&ours, later()).unwrap().len(), LONGEST_HEAD);
        theirs.write_all(&[b'x'; LONGEST_HEAD + 1]).unwrap();
        assert_eq!(kind(later()), ErrorKind::InvalidData);
        theirs.write_all(b"half").unwrap();
        drop(theirs);
        assert_eq!(kind(later()), ErrorKind::UnexpectedEof);
    }
}
