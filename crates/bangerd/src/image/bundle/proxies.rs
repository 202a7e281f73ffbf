//! The way out of a network that has one through a proxy only.
//!
//! apt and what it calls read these variables. They are given to what downloads, and to nothing
//! else; no file of the image has them.

use std::ffi::OsString;
use std::path::PathBuf;

use banger_host::command::Command;

/// As apt-transport-http(1) and curl(1) read them.
const VARIABLES: [&str; 10] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "ftp_proxy",
    "FTP_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// The user's proxies.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<(&'static str, OsString)>);

impl std::fmt::Debug for Proxies {
    /// The names only: an address may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Proxies {
    /// The proxies of an environment; one that is set and empty counts as not set.
    #[must_use]
    pub fn read(environment: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let variable = |name| {
            let value = environment(name)?.into_os_string();
            (!value.is_empty()).then_some((name, value))
        };
        Self(VARIABLES.into_iter().filter_map(variable).collect())
    }

    /// Lets a program use them.
    pub(super) fn with(&self, command: Command) -> Command {
        let given = |command: Command, (name, value): &(&str, OsString)| command.env(name, value);
        self.0.iter().fold(command, given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_downloads_has_the_users_proxies_and_no_more_of_them() {
        let proxies = Proxies::read(|name| match name {
            "http_proxy" => Some("http://ada:secret@proxy.example:3128".into()),
            "HTTPS_PROXY" | "HOME" => Some("/x".into()),
            "no_proxy" => Some("".into()),
            _ => None,
        });
        let output = proxies.with(Command::new("env")).run().unwrap().text();
        let mut lines: Vec<_> = output.lines().collect();
        lines.sort_unstable();
        let known = ["LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"];
        let given = [
            "HTTPS_PROXY=/x",
            "http_proxy=http://ada:secret@proxy.example:3128",
        ];
        assert_eq!(lines, [given[0], known[0], known[1], given[1]]);
        assert!(!format!("{proxies:?}").contains("secret"));
    }
}
