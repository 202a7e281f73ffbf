//! The lines of streams that carry connections: a line of JSON each way, and then bytes.
//!
//! ```text
//! connect   daemon  {"tcp":{"host":"localhost","port":80}}⏎   or   {"unix":"/run/docker.sock"}⏎
//!           guest   "connected"⏎   or   {"refused":"nothing listens on port 80"}⏎
//!           bytes both ways; the end of one direction leaves the other open
//!
//! listen    daemon  {"tcp":{"host":"127.0.0.1","port":5432}}⏎
//!           guest   {"listening":5432}⏎, then {"connection":1}⏎ for each new connection
//!
//! accept    daemon  {"accept":1}⏎
//!           guest   "connected"⏎, and bytes
//! ```
//!
//! The daemon opens every stream, so the guest never chooses what a connection reaches on the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The name that stands for both loopback addresses.
pub const LOCALHOST: &str = "localhost";

/// The longest path of a Unix socket, in bytes (unix(7), without its last NUL).
pub const LONGEST_SOCKET_PATH: usize = 107;

/// The maximum number of connections of a listener that the daemon has not accepted yet.
pub const MOST_PENDING: usize = 64;

/// The address of a connection in the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A TCP port.
    Tcp {
        /// An IP address, or [`LOCALHOST`].
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket: an absolute path.
    Unix(String),
}

impl Target {
    /// The addresses of a TCP port, in the order in which they are tried; none for a Unix socket.
    ///
    /// # Errors
    /// If the host is a name that only a resolver of the guest knows.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let Self::Tcp { host, port } = self else {
            return Ok(Vec::new());
        };
        let hosts = if host == LOCALHOST {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        } else {
            let host: Result<IpAddr, _> = host.parse();
            vec![host.map_err(|_| "the host is neither an IP address nor `localhost`".to_owned())?]
        };
        let addresses = hosts.into_iter().map(|host: IpAddr| (host, *port).into());
        Ok(addresses.collect())
    }
}

/// The guest's line in a stream for one connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectReply {
    /// The connection is open; bytes follow, both ways.
    Connected,
    /// The connection failed, for this reason.
    Refused(String),
}

/// A line of the guest in a stream that listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenLine {
    /// The guest listens, on this port; 0 for a Unix socket.
    Listening(u16),
    /// The guest does not listen, for this reason.
    Refused(String),
    /// A client has connected; a stream of the kind accept takes the connection by this number.
    Connection(u64),
}

/// The daemon's line in a stream that accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// The connection's number.
    pub accept: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tcp(host: &str, port: u16) -> Target {
        let host = host.to_owned();
        Target::Tcp { host, port }
    }

    #[test]
    fn lines_are_as_described() {
        let json = |value: &Target| serde_json::to_string(value).unwrap();
        assert_eq!(
            json(&tcp("localhost", 80)),
            r#"{"tcp":{"host":"localhost","port":80}}"#
        );
        assert_eq!(json(&Target::Unix("/s".to_owned())), r#"{"unix":"/s"}"#);
        let reply = serde_json::to_string(&ConnectReply::Connected).unwrap();
        assert_eq!(reply, r#""connected""#);
        let line = serde_json::to_string(&ListenLine::Connection(7)).unwrap();
        assert_eq!(line, r#"{"connection":7}"#);
        let accept = serde_json::to_string(&Accept { accept: 7 }).unwrap();
        assert_eq!(accept, r#"{"accept":7}"#);
    }

    #[test]
    fn localhost_is_both_loopback_addresses_and_names_are_refused() {
        let texts = |target: Target| {
            let addresses = target.addresses()?;
            Ok::<_, String>(
                addresses
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(
            texts(tcp("localhost", 80)).unwrap(),
            ["127.0.0.1:80", "[::1]:80"]
        );
        assert_eq!(texts(tcp("::1", 80)).unwrap(), ["[::1]:80"]);
        assert!(texts(tcp("db.internal", 80)).is_err());
        assert_eq!(texts(Target::Unix("/s".to_owned())).unwrap(), [""; 0]);
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = serde_json::from_slice::<Target>(&bytes);
            let _ = serde_json::from_slice::<ConnectReply>(&bytes);
            let _ = serde_json::from_slice::<ListenLine>(&bytes);
        }

        #[test]
        fn a_target_comes_back_as_it_was(host in "[a-z0-9.:]{1,40}", port: u16, path in "/[ -~]{0,80}") {
            for target in [tcp(&host, port), Target::Unix(path)] {
                let json = serde_json::to_vec(&target).unwrap();
                prop_assert_eq!(serde_json::from_slice::<Target>(&json).unwrap(), target);
            }
        }
    }
}
