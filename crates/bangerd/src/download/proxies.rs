//! The user's proxy settings, for networks that are reached through a proxy only.
//!
//! apt and curl read the same variables. They are passed to programs that download, and to no
//! others; no file of an image contains them.

use std::ffi::OsString;
use std::path::PathBuf;

use banger_host::command::Command;

use super::address::WebAddress;

/// The variables that apt-transport-http(1) and curl(1) read.
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

/// The user's proxy variables.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Proxies(Vec<(&'static str, OsString)>);

impl std::fmt::Debug for Proxies {
    /// Prints the names only: an address may contain a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Proxies {
    /// Reads an environment; an empty variable counts as unset.
    #[must_use]
    pub(crate) fn read(environment: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let variable = |name| {
            let value = environment(name)?.into_os_string();
            (!value.is_empty()).then_some((name, value))
        };
        Self(VARIABLES.into_iter().filter_map(variable).collect())
    }

    /// Adds the variables to a program's environment.
    pub(crate) fn with(&self, command: Command) -> Command {
        let add = |command: Command, (name, value): &(&str, OsString)| command.env(name, value);
        self.0.iter().fold(command, add)
    }

    /// The proxy for this address: its scheme's, or `all_proxy`. `None` if `no_proxy` lists the
    /// host or a domain above it, and for this machine: its loopback is another one for a proxy,
    /// which would read a login that is meant for nobody but this machine.
    pub(super) fn of(&self, address: &WebAddress) -> Option<&str> {
        if address.is_loopback() {
            return None;
        }
        let names = if address.is_secure() {
            ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
        } else {
            ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
        };
        let proxy = names.iter().find_map(|name| self.value(name))?;
        let exempt = ["no_proxy", "NO_PROXY"]
            .iter()
            .find_map(|name| self.value(name))
            .unwrap_or_default();
        let is_exempt = exempt
            .split([',', ' '])
            .any(|entry| matches(entry.trim(), &address.host()));
        (!is_exempt).then_some(proxy)
    }

    fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(it, _)| *it == name)?;
        found.1.to_str()
    }
}

/// Whether an entry of `no_proxy` matches a host, as in curl(1): the host itself, a domain above
/// it, or `*`.
fn matches(entry: &str, host: &str) -> bool {
    let domain = entry
        .trim_start_matches('*')
        .trim_start_matches('.')
        .to_ascii_lowercase();
    if domain.is_empty() {
        return entry == "*";
    }
    host.strip_suffix(&domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_the_proxy_variables_and_no_others() {
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

    #[test]
    fn an_address_has_the_proxy_of_its_scheme_unless_its_host_is_exempt() {
        let proxies = Proxies::read(|name| match name {
            "http_proxy" => Some("http://plain:3128".into()),
            "ALL_PROXY" => Some("http://all:3128".into()),
            "no_proxy" => Some("near, .internal.example,10.0.0.1".into()),
            _ => None,
        });
        let of = |text: &str| {
            let address = WebAddress::parse(text).unwrap();
            proxies.of(&address).map(str::to_owned)
        };
        let (plain, all) = (Some("http://plain:3128"), Some("http://all:3128"));
        for (address, proxy) in [
            ("http://deb.example/x", plain),
            ("https://deb.example/x", all),
            ("http://near:8080/x", None),
            ("http://a.internal.example/x", None),
            ("http://INTERNAL.example/x", None),
            ("http://notinternal.example/x", plain),
            ("http://10.0.0.1/x", None),
        ] {
            assert_eq!(of(address).as_deref(), proxy, "{address}");
        }
        // This machine has none, whatever `no_proxy` says.
        for address in [
            "http://localhost:5000/x",
            "http://LOCALHOST/x",
            "https://127.0.0.1:5000/x",
            "http://127.1.2.3/x",
            "http://[::1]:5000/x",
        ] {
            assert_eq!(of(address), None, "{address}");
        }
        assert_eq!(of("http://localhost.example/x").as_deref(), plain);
        assert!(matches("*", "host") && !matches("", "host") && !matches(".", "host"));
    }
}
