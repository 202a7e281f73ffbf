//! What is forwarded to what, as a user types it.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs as _};
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

/// A port or socket of the VM, and what it reaches of this machine or its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReverseRule(Vec<String>);

impl ReverseRule {
    /// The rule. Names of this machine's network are known here, and the first address of one is
    /// taken.
    ///
    /// # Errors
    /// The name is not found.
    pub(crate) fn resolve(&self) -> Result<Rule, String> {
        self.with_host(|host, port| match is_name(host) {
            true => resolve(host, port),
            false => Ok(host.to_owned()),
        })
    }

    fn with_host(
        &self,
        find: impl Fn(&str, &str) -> Result<String, String>,
    ) -> Result<Rule, String> {
        let mut parts = self.0.clone();
        if let [_, .., host, port] = parts.as_mut_slice()
            && self.0.len() > 2
        {
            *host = find(host, port)?;
        }
        parts.join(":").parse()
    }
}

impl FromStr for ReverseRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule = Self(parts(text)?.into_iter().map(str::to_owned).collect());
        // Whether there is such a name is seen later.
        rule.with_host(|host, _| match is_name(host) {
            true => Ok("127.0.0.1".to_owned()),
            false => Ok(host.to_owned()),
        })?;
        Ok(rule)
    }
}

fn is_name(host: &str) -> bool {
    let is_part = |it: &str| {
        let is_letter = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'-';
        !it.is_empty() && it.bytes().all(is_letter)
    };
    let has_letter = host.bytes().any(|letter| letter.is_ascii_alphabetic());
    has_letter && host != "localhost" && host.split('.').all(is_part)
}

fn resolve(host: &str, port: &str) -> Result<String, String> {
    let port: u16 = port
        .parse()
        .map_err(|_| format!("`{port}` is not a port: a port is a number up to 65535"))?;
    let found = (host, port).to_socket_addrs();
    let mut found = found.map_err(|cause| format!("`{host}` is not found: {cause}"))?;
    match found.next().map(|it| it.ip()) {
        Some(IpAddr::V6(address)) => Ok(format!("[{address}]")),
        Some(IpAddr::V4(address)) => Ok(address.to_string()),
        None => Err(format!("`{host}` has no address")),
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
        Endpoint::Tcp(_, 0) => Err("0 is not a port of a VM".to_owned()),
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
    fn a_reverse_rule_has_the_vm_first() {
        for (text, expected) in [
            ("5432", "127.0.0.1:5432 localhost:5432"),
            ("5433:5432", "127.0.0.1:5433 localhost:5432"),
            ("0:5432", "127.0.0.1:0 localhost:5432"),
            ("/run/a.sock:/tmp/b.sock", "/run/a.sock /tmp/b.sock"),
            ("80:10.0.0.2:8080", "127.0.0.1:80 10.0.0.2:8080"),
            ("0.0.0.0:80:8080", "0.0.0.0:80 localhost:8080"),
            ("0.0.0.0:80:localhost:8080", "0.0.0.0:80 localhost:8080"),
        ] {
            let rule = text.parse::<ReverseRule>().unwrap().resolve().unwrap();
            assert_eq!(format!("{} {}", rule.listen, rule.target), expected);
        }
        for text in ["", "80:", "80:-:1", "80:db:x"] {
            text.parse::<ReverseRule>().unwrap_err();
        }
        let unknown: ReverseRule = "80:nobody.invalid:1".parse().unwrap();
        let reason = unknown.resolve().unwrap_err();
        assert!(reason.contains("`nobody.invalid` is not found"), "{reason}");
        for name in ["db", "db.example.org", "3com.net"] {
            assert!(is_name(name), "{name}");
        }
        for other in [
            "10.0.0.2",
            "[::1]",
            "/run/s",
            "8080",
            "localhost",
            "",
            "a..b",
        ] {
            assert!(!is_name(other), "{other}");
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
