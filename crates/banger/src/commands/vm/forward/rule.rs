//! What is forwarded to what, as a user types it.

use std::net::Ipv4Addr;
use std::str::FromStr;

use banger_api::{Endpoint, EndpointHost};

/// A port or socket of this machine, and what it reaches in the VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) listen: Endpoint,
    pub(crate) target: Endpoint,
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.ends_with("/udp") {
            return Err("only TCP and Unix sockets are forwarded, not UDP".to_owned());
        }
        let parts = parts(text.strip_suffix("/tcp").unwrap_or(text))?;
        let is_host = |part: &str| !part.starts_with('/') && part.parse::<u16>().is_err();
        let (listen, target) = match parts.as_slice() {
            [port] if !port.starts_with('/') => {
                (listen_endpoint(None, port)?, target_endpoint(None, port)?)
            }
            [listen, target] => (
                listen_endpoint(None, listen)?,
                target_endpoint(None, target)?,
            ),
            [bind, port, target] if is_host(bind) => (
                listen_endpoint(Some(bind), port)?,
                target_endpoint(None, target)?,
            ),
            [listen, host, port] => (
                listen_endpoint(None, listen)?,
                target_endpoint(Some(host), port)?,
            ),
            [bind, port, host, target] => (
                listen_endpoint(Some(bind), port)?,
                target_endpoint(Some(host), target)?,
            ),
            _ => {
                return Err(format!(
                    "`{text}` is none of PORT, PORT:PORT, ADDRESS:PORT:PORT and /SOCKET:/SOCKET"
                ));
            }
        };
        Ok(Self { listen, target })
    }
}

/// The parts between colons; those of an address in brackets are none.
fn parts(text: &str) -> Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let from = match rest.strip_prefix('[') {
            Some(_) => rest
                .find(']')
                .ok_or_else(|| format!("`{rest}` has no closing bracket"))?,
            None => 0,
        };
        match rest[from..].find(':') {
            Some(at) => {
                parts.push(&rest[..from + at]);
                rest = &rest[from + at + 1..];
            }
            None => {
                parts.push(rest);
                return Ok(parts);
            }
        }
    }
}

fn listen_endpoint(host: Option<&str>, port: &str) -> Result<Endpoint, String> {
    let endpoint = endpoint(host, port)?;
    Ok(match endpoint {
        Endpoint::Tcp(EndpointHost::Localhost, port) => {
            Endpoint::Tcp(EndpointHost::Address(Ipv4Addr::LOCALHOST.into()), port)
        }
        other => other,
    })
}

fn target_endpoint(host: Option<&str>, port: &str) -> Result<Endpoint, String> {
    match endpoint(host, port)? {
        Endpoint::Tcp(_, 0) => Err("0 is no port of a VM".to_owned()),
        endpoint => Ok(endpoint),
    }
}

fn endpoint(host: Option<&str>, port: &str) -> Result<Endpoint, String> {
    match host {
        Some(_) if port.starts_with('/') => Err(format!("`{port}` has no address before it")),
        Some(host) => format!("{host}:{port}").parse(),
        None => port.parse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Result<String, String> {
        let rule: Rule = text.parse()?;
        Ok(format!("{} {}", rule.listen, rule.target))
    }

    #[test]
    fn each_form_is_read() {
        for (text, expected) in [
            ("8080", "127.0.0.1:8080 localhost:8080"),
            ("8080:80", "127.0.0.1:8080 localhost:80"),
            ("8080:80/tcp", "127.0.0.1:8080 localhost:80"),
            ("0:80", "127.0.0.1:0 localhost:80"),
            ("0.0.0.0:8080:80", "0.0.0.0:8080 localhost:80"),
            ("localhost:8080:80", "127.0.0.1:8080 localhost:80"),
            ("[::1]:8080:80", "[::1]:8080 localhost:80"),
            ("8080:10.0.0.2:80", "127.0.0.1:8080 10.0.0.2:80"),
            ("127.0.0.2:8080:[::1]:80", "127.0.0.2:8080 [::1]:80"),
            ("/tmp/s:/run/docker.sock", "/tmp/s /run/docker.sock"),
            ("8080:/run/docker.sock", "127.0.0.1:8080 /run/docker.sock"),
            ("/tmp/s:80", "/tmp/s localhost:80"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_words_are_refused() {
        for text in [
            "",
            ":",
            "x",
            "8080:",
            ":80",
            "8080:0",
            "0",
            "70000",
            "80:53/udp",
            "/tmp/s",
            "8080:db:80",
            "[::1:80:80",
            "1:2:3:4:5",
            "0.0.0.0:/tmp/s:80",
        ] {
            assert!(shown(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r"[0-9a-z\[\]:./]{0,40}") {
            let _ = shown(&text);
        }

        #[test]
        fn what_is_shown_means_the_same(listen: u16, target in 1_u16..) {
            let text = format!("127.0.0.1:{listen}:localhost:{target}");
            let expected = format!("127.0.0.1:{listen} localhost:{target}");
            prop_assert_eq!(shown(&text).unwrap(), expected);
        }
    }
}
