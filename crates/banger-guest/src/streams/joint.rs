//! Copies bytes between two sockets, both ways, on one thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

/// The maximum number of bytes in transit in each direction.
const CHUNK: usize = 32 << 10;

/// One direction.
struct Direction<'f> {
    from: BorrowedFd<'f>,
    to: BorrowedFd<'f>,
    bytes: Vec<u8>,
    /// The offset of the part that is not written yet.
    at: usize,
    /// The source has ended.
    ended: bool,
    /// The end was passed on, or the destination accepts nothing more.
    over: bool,
}

impl<'f> Direction<'f> {
    fn new(from: BorrowedFd<'f>, to: BorrowedFd<'f>) -> Self {
        Self {
            from,
            to,
            bytes: Vec::new(),
            at: 0,
            ended: false,
            over: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn wants_input(&self) -> bool {
        !self.over && !self.ended && self.is_empty()
    }

    fn wants_output(&self) -> bool {
        !self.over && !self.is_empty()
    }

    /// Reads what is available, and writes what fits.
    fn advance(&mut self) {
        if self.wants_input() {
            self.bytes.resize(CHUNK, 0);
            self.at = 0;
            let read = rustix::io::read(self.from, &mut self.bytes[..]);
            let is_later = read.is_err_and(is_later);
            let count = read.unwrap_or(0);
            self.ended = count == 0 && !is_later;
            self.bytes.truncate(count);
        }
        while self.wants_output() {
            match rustix::io::write(self.to, &self.bytes[self.at..]) {
                Ok(count @ 1..) => self.at += count,
                Err(cause) if is_later(cause) => return,
                // The destination accepts nothing, so nothing more is read either.
                Ok(_) | Err(_) => {
                    self.give_up();
                    let _ = shutdown(self.from, Shutdown::Read);
                }
            }
        }
        if self.ended && self.is_empty() && !self.over {
            self.over = true;
            let _ = shutdown(self.to, Shutdown::Write);
        }
    }

    fn give_up(&mut self) {
        self.over = true;
        self.bytes.clear();
        self.at = 0;
    }
}

fn is_later(cause: Errno) -> bool {
    matches!(cause, Errno::AGAIN | Errno::INTR)
}

/// Copies both ways. The end of one direction is passed on, and the other one continues. Returns
/// when both have ended; a side that hangs up ends both.
///
/// # Errors
/// If the sockets cannot be set up or polled.
pub fn join(one: impl AsFd, other: impl AsFd) -> io::Result<()> {
    let (one, other) = (one.as_fd(), other.as_fd());
    for socket in [one, other] {
        rustix::io::ioctl_fionbio(socket, true)?;
    }
    let mut there = Direction::new(one, other);
    let mut back = Direction::new(other, one);
    // A side that has hung up is always ready, so it is polled only while it may have more to read.
    let mut gone = [false; 2];
    while !(there.over && back.over) {
        let wanted = |from: &Direction<'_>, to: &Direction<'_>| {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, from.wants_input());
            events.set(PollFlags::OUT, to.wants_output());
            events
        };
        let of_one = wanted(&there, &back);
        let of_other = wanted(&back, &there);
        let mut fds = Vec::with_capacity(2);
        if !gone[0] || !of_one.is_empty() {
            fds.push(PollFd::from_borrowed_fd(one, of_one));
        }
        let has_one = !fds.is_empty();
        if !gone[1] || !of_other.is_empty() {
            fds.push(PollFd::from_borrowed_fd(other, of_other));
        }
        match poll(&mut fds, None) {
            Err(cause) if cause != Errno::INTR => return Err(cause.into()),
            _ => {}
        }
        let hung_up = |fd: Option<&PollFd<'_>>| {
            let events = fd.map_or(PollFlags::empty(), PollFd::revents);
            events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
        };
        gone[0] |= has_one && hung_up(fds.first());
        gone[1] |= hung_up(fds.get(usize::from(has_one)));
        // The last bytes of a side that has hung up are still passed on.
        if gone[0] {
            back.give_up();
        }
        if gone[1] {
            there.give_up();
        }
        there.advance();
        back.advance();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::thread::{JoinHandle, spawn};
    use std::time::Duration;

    const PATIENCE: Option<Duration> = Some(Duration::from_secs(30));

    fn tcp_pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    /// A client over TCP, and a service behind a joint.
    fn joined() -> (TcpStream, UnixStream, JoinHandle<()>) {
        let (client, near) = tcp_pair();
        let (far, service) = UnixStream::pair().unwrap();
        client.set_read_timeout(PATIENCE).unwrap();
        service.set_read_timeout(PATIENCE).unwrap();
        (client, service, spawn(move || join(&near, &far).unwrap()))
    }

    #[test]
    fn an_answer_comes_after_the_end_of_the_question() {
        let (mut client, mut service, joint) = joined();
        let question = vec![7; 3 << 20];
        let sent = question.clone();
        let asks = spawn(move || {
            client.write_all(&sent).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            answer
        });
        let mut read = Vec::new();
        service.read_to_end(&mut read).unwrap();
        assert!(read == question);
        service.write_all(&question).unwrap();
        drop(service);
        assert!(asks.join().unwrap() == question);
        joint.join().unwrap();
    }

    #[test]
    fn a_service_that_ends_first_still_hears_the_client() {
        let (mut client, mut service, joint) = joined();
        service.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        client.write_all(b"more").unwrap();
        drop(client);
        let mut read = String::new();
        service.read_to_string(&mut read).unwrap();
        assert_eq!(read, "more");
        drop(service);
        joint.join().unwrap();
    }

    #[test]
    fn a_service_that_is_gone_ends_it_with_its_last_words() {
        let (mut client, mut service, joint) = joined();
        service.write_all(b"bye").unwrap();
        drop(service);
        let mut read = String::new();
        client.read_to_string(&mut read).unwrap();
        assert_eq!(read, "bye");
        // The client has not closed its side.
        joint.join().unwrap();
    }

    #[test]
    fn a_client_that_is_gone_ends_it_though_the_service_says_nothing() {
        let (client, near) = UnixStream::pair().unwrap();
        let (far, mut service) = tcp_pair();
        let joint = spawn(move || join(&near, &far).unwrap());
        drop(client);
        joint.join().unwrap();
        assert_eq!(service.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_reader_that_stalls_delays_only_its_direction() {
        let (mut client, mut service, joint) = joined();
        // Nobody reads the output of the service.
        let mut talks = service.try_clone().unwrap();
        let talking = spawn(move || talks.write_all(&vec![1; 32 << 20]).is_err());
        client.write_all(b"hello").unwrap();
        let mut got = [0; 5];
        service.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello");
        drop((client, service));
        assert!(talking.join().unwrap());
        joint.join().unwrap();
    }
}
