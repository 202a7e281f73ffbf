//! Another machine, as a user writes it: `user@server`, `server:2222`, or `ssh://user@server:2222`.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use banger_api::{Code, Error};

/// The destination of an ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    user: Option<String>,
    server: String,
    port: Option<u16>,
}

impl Destination {
    /// The arguments of ssh for it, without options of banger's: the user's own configuration of
    /// ssh provides the rest.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some(user) = &self.user {
            arguments.extend(["-l".into(), user.into()]);
        }
        if let Some(port) = self.port {
            arguments.extend(["-p".into(), port.to_string().into()]);
        }
        arguments.extend(["--".into(), (&self.server).into()]);
        arguments
    }

    /// The command that a person types to log in there.
    pub(crate) fn command(&self) -> String {
        let port = self.port.map(|it| format!("-p {it} ")).unwrap_or_default();
        let user = self.user.as_ref().map(|it| format!("{it}@"));
        format!("ssh {port}{}{}", user.unwrap_or_default(), self.server)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.server.contains(':') {
            write!(f, "[{}]", self.server)?;
        } else {
            f.write_str(&self.server)?;
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for Destination {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| {
            Error::new(
                Code::Invalid,
                format!("`{}` is not a host: {why}", text.escape_default()),
            )
            .hint("write user@server, server:PORT or ssh://user@server:PORT")
        };
        let rest = match text.split_once("://") {
            Some(("ssh", rest)) => rest.strip_suffix('/').unwrap_or(rest),
            Some(_) => return Err(wrong("banger reaches other machines by ssh only")),
            None => text,
        };
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        let (server, port) = match place.strip_prefix('[').and_then(|it| it.split_once(']')) {
            Some((server, "")) => (server, None),
            Some((server, port)) => (server, Some(port.strip_prefix(':').unwrap_or(port))),
            // More than one colon is an IPv6 address.
            None => match place.split_once(':') {
                Some((server, port)) if !port.contains(':') => (server, Some(port)),
                _ => (place, None),
            },
        };
        let is_word = |word: &str| {
            let legal = |c: char| c.is_ascii_graphic() && !"'\"`\\$;&|<>(){}*?![]#/".contains(c);
            !word.is_empty() && !word.starts_with('-') && word.chars().all(legal)
        };
        if !is_word(server) {
            return Err(wrong(
                "the server's name is empty or has unusual characters",
            ));
        }
        if user.is_some_and(|user| !is_word(user)) {
            return Err(wrong("the user's name is empty or has unusual characters"));
        }
        let port = port.map(|port| match port.parse() {
            Ok(0) | Err(_) => Err(wrong("its port is not a number from 1 to 65535")),
            Ok(port) => Ok(port),
        });
        Ok(Self {
            user: user.map(str::to_owned),
            server: server.to_owned(),
            port: port.transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> String {
        let destination: Destination = text.parse().unwrap();
        let words = destination.arguments();
        assert_eq!(destination.to_string().parse(), Ok(destination));
        words.join(std::ffi::OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn a_destination_is_what_ssh_takes() {
        for (text, expected) in [
            ("lab", "-- lab"),
            ("ada@lab", "-l ada -- lab"),
            ("ada@lab:2222", "-l ada -p 2222 -- lab"),
            (
                "ssh://ada@lab.example:2222/",
                "-l ada -p 2222 -- lab.example",
            ),
            ("ada@[fe80::1]:22", "-l ada -p 22 -- fe80::1"),
            ("fe80::1", "-- fe80::1"),
            ("ada@corp@lab", "-l ada@corp -- lab"),
        ] {
            assert_eq!(arguments(text), expected, "{text}");
        }
    }

    #[test]
    fn nothing_of_it_is_an_option_or_a_command_for_ssh() {
        for text in [
            "",
            "-oProxyCommand=x",
            "ada@-oProxyCommand=x",
            "ada@",
            "@lab",
            "lab:0",
            "lab:65536",
            "lab:ssh",
            "https://lab",
            "lab lab",
            "lab;reboot",
            "ssh://lab/path",
            "-l@lab",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}
