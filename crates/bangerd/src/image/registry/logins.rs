//! The user's logins: those that `docker login` has written into `config.json`.
//!
//! Only what the file itself contains is used. A credential helper is a program, which is not run.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

/// The longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// The logins of `config.json`, by host.
#[derive(Clone, Default)]
pub(crate) struct Logins {
    by_host: BTreeMap<String, String>,
    has_helper: bool,
}

impl std::fmt::Debug for Logins {
    /// Prints the hosts only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.by_host.keys()).finish()
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct File {
    auths: BTreeMap<String, Entry>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: String,
}

impl Logins {
    /// Reads docker's file, if there is one: in the folder of `DOCKER_CONFIG`, or in `~/.docker`.
    #[must_use]
    pub(crate) fn read(environment: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let set = |name| environment(name).filter(|it| !it.as_os_str().is_empty());
        let folder = set("DOCKER_CONFIG").or_else(|| Some(set("HOME")?.join(".docker")));
        let file = folder.map(|it| it.join("config.json"));
        file.and_then(|it| Self::of_file(&it)).unwrap_or_default()
    }

    fn of_file(path: &Path) -> Option<Self> {
        let mut text = Vec::new();
        let file = std::fs::File::open(path).ok()?;
        file.take(LONGEST).read_to_end(&mut text).ok()?;
        let file: File = serde_json::from_slice(&text).ok()?;
        let logins = file.auths.into_iter().filter_map(|(address, entry)| {
            // `user:password`; an entry without it is one of a helper's.
            let login = BASE64_STANDARD.decode(entry.auth.trim()).ok()?;
            let (user, password) = std::str::from_utf8(&login).ok()?.split_once(':')?;
            let is_whole = !user.is_empty() && !password.is_empty();
            is_whole.then(|| {
                (
                    host(&address),
                    format!("Basic {}", BASE64_STANDARD.encode(&login)),
                )
            })
        });
        Some(Self {
            by_host: logins.collect(),
            has_helper: !file.creds_store.is_empty() || !file.cred_helpers.is_empty(),
        })
    }

    /// The `Authorization` header for this host and port.
    pub(super) fn of(&self, authority: &str) -> Option<&str> {
        self.by_host.get(authority).map(String::as_str)
    }

    /// Whether there may be logins that are not read.
    pub(super) fn has_helper(&self) -> bool {
        self.has_helper
    }
}

/// The host and port of an entry: older versions of docker have written whole addresses.
fn host(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |it| it.1);
    rest.split('/')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Logins {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        let path = folder.path().to_owned();
        Logins::read(|name| (name == "DOCKER_CONFIG").then(|| path.clone()))
    }

    #[test]
    fn a_login_is_found_by_its_host_and_never_printed() {
        let auth = BASE64_STANDARD.encode("ada:se:cret");
        let logins = read(&format!(
            r#"{{"auths": {{"https://Mine.example:5000/v1/": {{"auth": "{auth}"}}, "other.example": {{}}}}}}"#
        ));
        let expected = format!("Basic {auth}");
        assert_eq!(logins.of("mine.example:5000"), Some(expected.as_str()));
        assert_eq!(logins.of("mine.example"), None);
        assert_eq!(logins.of("other.example"), None);
        assert!(!logins.has_helper());
        assert_eq!(format!("{logins:?}"), r#"["mine.example:5000"]"#);
    }

    #[test]
    fn helpers_are_noticed_and_a_damaged_file_has_no_logins() {
        assert!(read(r#"{"credsStore": "pass"}"#).has_helper());
        assert!(read(r#"{"credHelpers": {"a.example": "x"}}"#).has_helper());
        for text in [
            "",
            "[]",
            r#"{"auths": 1}"#,
            r#"{"auths": {"a": {"auth": "?"}}}"#,
        ] {
            assert_eq!(read(text).of("a"), None, "{text}");
        }
    }
}
