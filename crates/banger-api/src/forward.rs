//! Connections to a guest: what they reach.

use std::fmt;
use std::io::{self, BufRead, Read as _};
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The protocol of a connection to a guest, in the header `upgrade`.
pub const UPGRADE: &str = "banger-connect";

/// The longest path of a Unix socket, in bytes (unix(7), without its last NUL).
pub const LONGEST_SOCKET_PATH: usize = 107;

/// The longest line of a guest that listens, in bytes.
const LONGEST_LINE: u64 = 4096;

/// The host of a TCP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointHost {
    /// Loopback: 127.0.0.1, then ::1.
    Localhost,
    /// An address.
    Address(IpAddr),
}

/// One end of a connection: `localhost:80`, `10.0.0.2:80`, `[::1]:80`, or the path of a Unix
/// socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Endpoint {
    /// A TCP port.
    Tcp(EndpointHost, u16),
    /// A Unix socket: an absolute path.
    Unix(String),
}

impl FromStr for EndpointHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "localhost" {
            return Ok(Self::Localhost);
        }
        let inner = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        match inner.unwrap_or(text).parse() {
            Ok(address) => Ok(Self::Address(address)),
            Err(_) => Err(format!("`{text}` is neither an IP address nor `localhost`")),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            if text.len() > LONGEST_SOCKET_PATH {
                return Err(format!(
                    "`{text}` is longer than the {LONGEST_SOCKET_PATH} bytes that the path of a \
                     socket may have"
                ));
            }
            if text.chars().any(char::is_control) {
                return Err("the path of a socket has a control character".to_owned());
            }
            return Ok(Self::Unix(text.to_owned()));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host.parse()?, port),
            None => (EndpointHost::Localhost, text),
        };
        let is_number = port.bytes().all(|it| it.is_ascii_digit());
        let is_number = is_number && (port == "0" || !port.starts_with('0'));
        match port.parse() {
            Ok(port) if is_number => Ok(Self::Tcp(host, port)),
            _ => Err(format!(
                "`{port}` is not a port: a port is a number up to 65535"
            )),
        }
    }
}

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

impl fmt::Display for EndpointHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost => f.write_str("localhost"),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

/// What a connection to a guest reaches there: exactly one of both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectQuery {
    /// A TCP port, alone for one of loopback, or `ADDRESS:PORT`.
    pub tcp: Option<String>,
    /// The path of a Unix socket.
    pub unix: Option<String>,
}

impl ConnectQuery {
    /// The endpoint that it names.
    ///
    /// # Errors
    /// It names none, or two, or what is no endpoint.
    pub fn endpoint(&self) -> Result<Endpoint, String> {
        match (&self.tcp, &self.unix) {
            (Some(tcp), None) if !tcp.starts_with('/') => match tcp.parse()? {
                Endpoint::Tcp(_, 0) => Err("port 0 cannot be connected to".to_owned()),
                endpoint => Ok(endpoint),
            },
            (None, Some(path)) if path.starts_with('/') => path.parse(),
            (None, Some(path)) => Err(format!("`{path}` is not an absolute path")),
            _ => Err("the query names one of `tcp=PORT` and `unix=/PATH`".to_owned()),
        }
    }
}

impl ConnectQuery {
    /// The endpoint that it names, at which a guest is to listen: port 0 is any free one.
    ///
    /// # Errors
    /// It names none, or two, or what is no endpoint.
    pub fn place(&self) -> Result<Endpoint, String> {
        match &self.tcp {
            Some(tcp) if self.unix.is_none() && !tcp.starts_with('/') => tcp.parse(),
            _ => self.endpoint(),
        }
    }
}

/// Which of the connections that a guest has told of is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptQuery {
    /// Its number.
    pub connection: u64,
}

/// A line of a guest that listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenLine {
    /// It listens, on this port; 0 for a Unix socket.
    Listening(u16),
    /// It does not, for this reason, in words.
    Refused(String),
    /// Somebody has connected, and waits to be accepted by this number.
    Connection(u64),
}

/// Reads the next line of a guest that listens; `None` at the end.
///
/// # Errors
/// It is none, or too long.
pub fn read_listen_line(from: &mut impl BufRead) -> io::Result<Option<ListenLine>> {
    let mut line = Vec::new();
    from.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the guest's line is cut off or too long",
        ));
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

impl Endpoint {
    /// The query that names it.
    #[must_use]
    pub fn query(&self) -> String {
        let (key, text) = match self {
            Self::Tcp(..) => ("tcp", self.to_string()),
            Self::Unix(path) => ("unix", path.clone()),
        };
        let mut query = format!("?{key}=");
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
                query.push(byte.into());
            } else {
                query += &format!("%{byte:02X}");
            }
        }
        query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        text.parse::<Endpoint>().map(|it| it.to_string())
    }

    #[test]
    fn endpoints_are_read_and_shown() {
        for (text, shown) in [
            ("80", "localhost:80"),
            ("localhost:80", "localhost:80"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:8080", "[::1]:8080"),
            ("/run/docker.sock", "/run/docker.sock"),
        ] {
            assert_eq!(read(text).unwrap(), shown);
            let json = serde_json::to_string(&text.parse::<Endpoint>().unwrap()).unwrap();
            assert_eq!(json, format!("{shown:?}"));
            assert!(serde_json::from_str::<Endpoint>(&json).is_ok());
        }
        for text in [
            "", "x", "65536", "-1", "+1", "080", "00", "db:80", ":80", "1.2.3.4:", "/a\nb",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read(&format!("/{}", "x".repeat(107))).is_err());
    }

    #[test]
    fn a_query_names_one_endpoint() {
        let query = |tcp: Option<&str>, unix: Option<&str>| ConnectQuery {
            tcp: tcp.map(str::to_owned),
            unix: unix.map(str::to_owned),
        };
        assert!(query(Some("80"), None).endpoint().is_ok());
        assert!(query(None, Some("/s")).endpoint().is_ok());
        for wrong in [
            query(None, None),
            query(Some("80"), Some("/s")),
            query(Some("/s"), None),
            query(Some("0"), None),
            query(None, Some("s")),
        ] {
            assert!(wrong.endpoint().is_err(), "{wrong:?}");
        }
        let path: Endpoint = "/run/a b&c".parse().unwrap();
        assert_eq!(path.query(), "?unix=/run/a%20b%26c");
        let port: Endpoint = "[::1]:80".parse().unwrap();
        assert_eq!(port.query(), "?tcp=%5B::1%5D:80");
    }

    #[test]
    fn a_place_to_listen_may_be_any_port() {
        let query = |tcp: Option<&str>, unix: Option<&str>| ConnectQuery {
            tcp: tcp.map(str::to_owned),
            unix: unix.map(str::to_owned),
        };
        let any = query(Some("0"), None).place().unwrap();
        assert_eq!(any.to_string(), "localhost:0");
        query(None, Some("/s")).place().unwrap();
        query(Some("0"), Some("/s")).place().unwrap_err();
        query(Some("/s"), None).place().unwrap_err();
    }

    #[test]
    fn the_lines_of_a_guest_are_bounded() {
        let read = |bytes: &[u8]| {
            let (mut from, mut lines) = (bytes, Vec::new());
            while let Some(line) = read_listen_line(&mut from).map_err(|it| it.kind())? {
                lines.push(line);
            }
            Ok::<_, io::ErrorKind>(lines)
        };
        assert_eq!(
            read(b"{\"listening\":80}\n{\"connection\":7}\n{\"refused\":\"no\"}\n").unwrap(),
            [
                ListenLine::Listening(80),
                ListenLine::Connection(7),
                ListenLine::Refused("no".to_owned())
            ]
        );
        assert!(read(b"").unwrap().is_empty());
        for wrong in [
            &b"{\"connection\":7}"[..],
            b"\n",
            b"{\"connection\":-1}\n",
            b"{\"connect\":\"127.0.0.1:22\"}\n",
            b"\xff\n",
            &[b'x'; 10_000],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
