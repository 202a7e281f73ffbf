//! Streams to a daemon on a server that forwards no sockets: each one runs `banger dial-stdio`
//! there.
//!
//! The typed client, its upgrades and the screen all connect to a socket's path. So this process
//! listens on a socket of its own, and connects each client to an ssh of its own.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use banger_api::{API_HEADER, API_VERSION, Code, Error, Result};

use super::Remote;
use super::master::Prompts;

/// Listens, and returns the socket's path. It serves until this process ends.
///
/// # Errors
/// If the socket cannot be created.
pub(super) fn start(remote: &Remote) -> Result<PathBuf> {
    static SERVED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let path = remote.files.own_socket();
    let mut served = SERVED.lock().unwrap_or_else(PoisonError::into_inner);
    if served.contains(&path) {
        return Ok(path);
    }
    remote.files.remove_stale_sockets();
    let trouble = |cause: std::io::Error| {
        Error::new(Code::Host, format!("listen on `{}`", path.display())).cause(cause.to_string())
    };
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(trouble)?;
    let remote = remote.clone();
    std::thread::Builder::new()
        .name("relay".to_owned())
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                let remote = remote.clone();
                // Without a thread the client sees the end of its connection.
                let _ = std::thread::Builder::new()
                    .name("relay".to_owned())
                    .spawn(move || join(&remote, stream));
            }
        })
        .map_err(trouble)?;
    served.insert(path.clone());
    Ok(path)
}

fn join(remote: &Remote, mut here: UnixStream) {
    let (process, there) = match remote.dial(Prompts::Refused) {
        Ok(dialled) => dialled,
        Err(error) => {
            // The client reads the error as if it were the daemon's.
            let body = serde_json::to_vec(&error).unwrap_or_default();
            let head = format!(
                "HTTP/1.1 503 Service Unavailable\r\n{API_HEADER}: {API_VERSION}\r\nconnection: close\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let _ = here.write_all(&[head.as_bytes(), &body].concat());
            // A client that is still sending would see a reset instead of the answer.
            let _ = here.shutdown(Shutdown::Write);
            let mut rest = [0; 4096];
            while here.read(&mut rest).is_ok_and(|read| read > 0) {}
            return;
        }
    };
    join_streams(here, there);
    process.end();
}

/// Copies both ways. The client's end of input is passed on, and the answer is still read
/// completely: a relay that ended with its input would lose it.
fn join_streams(here: UnixStream, there: UnixStream) {
    let (Ok(from_here), Ok(to_there)) = (here.try_clone(), there.try_clone()) else {
        return;
    };
    let input = std::thread::Builder::new().name("relay".to_owned());
    let input = input.spawn(move || copy(from_here, to_there));
    copy(there, here);
    drop(input);
}

/// Copies until the end, and passes that on.
fn copy(mut from: UnixStream, mut to: UnixStream) {
    let mut chunk = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut chunk) {
        if to.write_all(&chunk[..read]).is_err() {
            let _ = from.shutdown(Shutdown::Read);
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_comes_long_after_the_end_of_the_input_is_passed_on() {
        let (mut client, here) = UnixStream::pair().unwrap();
        let (mut daemon, there) = UnixStream::pair().unwrap();
        let joined = std::thread::spawn(move || join_streams(here, there));
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut question = String::new();
        daemon.read_to_string(&mut question).unwrap();
        assert_eq!(question, "question");
        let answer = vec![7; 1 << 20];
        let sent = answer.clone();
        let daemon = std::thread::spawn(move || {
            daemon.write_all(&sent).unwrap();
        });
        let mut read = Vec::new();
        client.read_to_end(&mut read).unwrap();
        assert!(read == answer);
        daemon.join().unwrap();
        joined.join().unwrap();
    }

    #[test]
    fn a_client_that_goes_away_ends_the_stream_there() {
        let (client, here) = UnixStream::pair().unwrap();
        let (mut daemon, there) = UnixStream::pair().unwrap();
        let joined = std::thread::spawn(move || join_streams(here, there));
        drop(client);
        let mut nothing = Vec::new();
        daemon.read_to_end(&mut nothing).unwrap();
        assert_eq!(nothing, b"");
        drop(daemon);
        joined.join().unwrap();
    }
}
