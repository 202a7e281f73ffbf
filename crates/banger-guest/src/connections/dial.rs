//! Connects to a service of the guest.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use banger_guest::streams::Target;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

/// How long a service may take to accept.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one attempt on loopback takes. The kernel drops what asks for a place in a full queue,
/// and asks again after one second, three, seven: a new attempt is there sooner, when a server that
/// accepts slowly has room again.
const ATTEMPT: Duration = Duration::from_secs(1);

/// Connects to a service, or returns the reason why it cannot.
pub(super) fn dial(target: &Target) -> Result<OwnedFd, String> {
    match target {
        Target::Unix(path) => match connect_unix(path) {
            Ok(stream) => Ok(stream),
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => {
                Err(format!("`{path}` does not accept"))
            }
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                Err(format!("there is no socket `{path}`"))
            }
            Err(cause) if cause.kind() == ErrorKind::ConnectionRefused => {
                Err(format!("nothing listens on `{path}`"))
            }
            Err(cause) => Err(cause.to_string()),
        },
        Target::Tcp { port, .. } => {
            let mut last = None;
            for address in target.addresses()? {
                match connect(address) {
                    Ok(stream) => return Ok(stream.into()),
                    // The error of the first address says more than that of a missing IPv6.
                    Err(cause) => last = Some(last.unwrap_or(cause)),
                }
            }
            Err(match last {
                Some(cause) if cause.kind() == ErrorKind::ConnectionRefused => {
                    format!("nothing listens on port {port}")
                }
                Some(cause) => cause.to_string(),
                None => "the target has no address".to_owned(),
            })
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let deadline = Instant::now() + PATIENCE;
    let attempt = if address.ip().is_loopback() {
        ATTEMPT
    } else {
        PATIENCE
    };
    loop {
        match TcpStream::connect_timeout(&address, attempt) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(cause) if cause.kind() == ErrorKind::TimedOut && Instant::now() < deadline => {}
            Err(cause) => return Err(cause),
        }
    }
}

/// A full queue is waited for, but not without end.
fn connect_unix(path: &str) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    set_socket_timeout(&socket, Timeout::Send, None)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::{scope, spawn};

    #[test]
    fn a_server_with_a_short_queue_gets_all_its_clients() {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        rustix::net::listen(&socket, 1).unwrap();
        let listener = TcpListener::from(socket);
        let port = listener.local_addr().unwrap().port();
        let target = Target::Tcp {
            host: "localhost".to_owned(),
            port,
        };
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        // It may also get what a client has given up for a new attempt, so it serves to the end.
        let server = spawn(move || {
            while !ends.load(Ordering::SeqCst) {
                // Slower than its clients come.
                crate::system::wait::ready(&mut [], Duration::from_millis(50));
                drop(listener.accept().unwrap());
            }
        });
        let connected = scope(|scope| {
            let clients: Vec<_> = (0..12).map(|_| scope.spawn(|| dial(&target))).collect();
            let ends = clients.into_iter().map(|it| it.join().unwrap());
            ends.collect::<Vec<_>>()
        });
        assert!(connected.iter().all(Result::is_ok), "{connected:?}");
        is_over.store(true, Ordering::SeqCst);
        // It waits for one more.
        let _ = dial(&target);
        server.join().unwrap();
        assert!(dial(&target).unwrap_err().contains("nothing listens"));
    }
}
