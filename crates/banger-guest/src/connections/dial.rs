//! Connects to a service of the guest.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use banger_guest::streams::Target;

/// How long a service may take to accept.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to a service, or returns the reason why it cannot.
pub(super) fn dial(target: &Target) -> Result<OwnedFd, String> {
    match target {
        Target::Unix(path) => match UnixStream::connect(path) {
            Ok(stream) => Ok(stream.into()),
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
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
