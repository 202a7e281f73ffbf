//! One question to a daemon over a stream, with a time limit: whether there is a daemon, its
//! version, and the path of its socket.
//!
//! The typed client waits for as long as the daemon works. This question is for streams whose other
//! end may be dead: a laptop that slept has a socket that accepts every request and never answers.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use banger_api::{API_HEADER, API_VERSION};
use serde::Deserialize;

/// The largest answer, in bytes.
const LARGEST: usize = 1 << 20;

/// The answer of a daemon of any version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The version of its API.
    pub(crate) api: u32,
    /// The path of its socket.
    pub(crate) socket: String,
}

#[derive(Deserialize)]
struct Daemon {
    socket: String,
}

/// Asks the daemon behind this socket.
///
/// # Errors
/// `TimedOut` if there is no answer in time; others if there is no daemon.
pub(crate) fn ask_socket(socket: &Path, patience: Duration) -> io::Result<Answer> {
    ask(&mut UnixStream::connect(socket)?, patience)
}

/// Asks the daemon behind this stream.
///
/// # Errors
/// `TimedOut` if there is no answer in time; others if the peer is not a daemon.
pub(crate) fn ask(stream: &mut UnixStream, patience: Duration) -> io::Result<Answer> {
    let deadline = Instant::now() + patience;
    let request = format!(
        "GET /v1/daemon HTTP/1.1\r\nhost: banger\r\n{API_HEADER}: {API_VERSION}\r\nconnection: close\r\n\r\n"
    );
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(request.as_bytes()).map_err(timed_out)?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(answer) = parse(&bytes) {
            return Ok(answer);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = stream.read(&mut chunk).map_err(timed_out)?;
        bytes.extend_from_slice(&chunk[..read]);
        if read == 0 || bytes.len() > LARGEST {
            return Err(ErrorKind::InvalidData.into());
        }
    }
}

/// A timed-out stream returns `WouldBlock`.
fn timed_out(cause: io::Error) -> io::Error {
    match cause.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => cause,
    }
}

/// The answer, once it is complete.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let api = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_ours = name.eq_ignore_ascii_case(API_HEADER);
        is_ours.then(|| value.trim().parse().ok())?
    })?;
    let daemon: Daemon = serde_json::from_slice(&bytes[end + 4..]).ok()?;
    Some(Answer {
        api,
        socket: daemon.socket,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "HTTP/1.1 200 OK\r\nBanger-Api: 7\r\n\r\n{\"socket\":\"/s\",\"pid\":1}";

    #[test]
    fn an_answer_that_comes_in_pieces_is_read_when_it_is_complete() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let writer = std::thread::spawn(move || {
            for piece in ANSWER.as_bytes().chunks(5) {
                theirs.write_all(piece).unwrap();
            }
            theirs
        });
        let answer = ask(&mut ours, Duration::from_secs(20)).unwrap();
        let expected = Answer {
            api: 7,
            socket: "/s".to_owned(),
        };
        assert_eq!(answer, expected);
        drop(writer.join());
    }

    #[test]
    fn silence_and_what_is_no_daemon_are_told_apart() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let error = ask(&mut ours, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(theirs);
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"SSH-2.0-x\r\n\r\n").unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let error = ask(&mut ours, Duration::from_secs(20)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
