//! The address of a download.
//!
//! The user and password of an address, and its query, are used and never shown.

use std::fmt;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use banger_api::{Code, Error, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ureq::http::Uri;
use ureq::http::uri::{PathAndQuery, Scheme};

/// The address of a file: on this host, or on the web.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A file, by its absolute path.
    File(PathBuf),
    /// An `http` or `https` address.
    Web(WebAddress),
}

/// An `http` or `https` address.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct WebAddress {
    /// The address without its user and password.
    pub(super) uri: Uri,
    /// The `Authorization` header, if the address has a user.
    pub(super) login: Option<String>,
}

impl Address {
    /// Parses an address: `http://`, `https://`, `file://`, or a path, relative to `folder`.
    ///
    /// # Errors
    /// `invalid` for anything else.
    pub(crate) fn parse(text: &str, folder: &Path) -> Result<Self> {
        if text.is_empty() {
            return Err(invalid("the address is empty"));
        }
        if text.chars().any(|it| it.is_control()) {
            return Err(invalid("the address contains control characters"));
        }
        match scheme(text) {
            None => Ok(Self::File(folder.join(text))),
            Some("file") => file(text).map(Self::File),
            Some("http" | "https") => WebAddress::parse(text).map(Self::Web),
            Some(other) => Err(invalid(format!("unsupported address: `{other}:`"))
                .hint("use http://, https://, file:// or a path")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Web(address) => write!(f, "{address}"),
        }
    }
}

impl WebAddress {
    /// Parses an `http` or `https` address.
    ///
    /// # Errors
    /// `invalid` for anything else.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| invalid(format!("invalid web address: {why}"));
        // The fragment is never sent.
        let text = text.split('#').next().unwrap_or(text);
        let uri: Uri = text
            .parse()
            .map_err(|cause: ureq::http::uri::InvalidUri| wrong(&cause.to_string()))?;
        let mut parts = uri.into_parts();
        let authority = parts.authority.take().ok_or_else(|| wrong("no host"))?;
        let (login, host) = match authority.as_str().rsplit_once('@') {
            Some((user, host)) => (Some(basic(user)), host.to_owned()),
            None => (None, authority.to_string()),
        };
        let host = host.parse().map_err(|_| wrong("invalid host"))?;
        parts.authority = Some(host);
        let uri = Uri::from_parts(parts).map_err(|cause| wrong(&cause.to_string()))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(wrong("no host"));
        }
        Ok(Self { uri, login })
    }

    /// The same address with this `Authorization` header, which only its own server gets.
    pub(crate) fn authorized(self, login: Option<String>) -> Self {
        Self { login, ..self }
    }

    /// The `Authorization` header.
    pub(crate) fn login(&self) -> Option<&str> {
        self.login.as_deref()
    }

    /// The path, percent-encoded.
    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    /// The scheme, host and port, without user and password.
    pub(crate) fn server(&self) -> String {
        let scheme = self.uri.scheme_str().unwrap_or("http");
        format!("{scheme}://{}", self.authority())
    }

    /// The host and port, without user and password.
    pub(crate) fn authority(&self) -> &str {
        self.uri.authority().map_or("", |it| it.as_str())
    }

    /// Whether it is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let address: Option<std::net::IpAddr> = host.parse().ok();
        host == "localhost" || address.is_some_and(|it| it.is_loopback())
    }

    /// The target of a redirection. The login is passed on to the same server only.
    ///
    /// # Errors
    /// Why the redirection is not followed.
    pub(super) fn redirected(&self, location: &str) -> std::result::Result<Self, String> {
        let mut to = match scheme(location) {
            Some("http" | "https") => Self::parse(location).map_err(|it| it.message)?,
            Some(other) => {
                return Err(format!(
                    "it redirects to a `{other}:` address, which is not followed"
                ));
            }
            None => self.relative(location)?,
        };
        let server = |it: &Uri| (it.scheme().cloned(), it.authority().cloned());
        if to.login.is_none() && server(&to.uri) == server(&self.uri) {
            to.login.clone_from(&self.login);
        }
        Ok(to)
    }

    /// The target of a redirection, of which none leads from `https` to `http`.
    ///
    /// # Errors
    /// Why the redirection is not followed.
    pub(super) fn redirected_securely(&self, location: &str) -> std::result::Result<Self, String> {
        let to = self.redirected(location)?;
        if self.is_secure() && !to.is_secure() {
            return Err("it redirects from https to http, which is not followed".to_owned());
        }
        Ok(to)
    }

    /// Resolves a relative reference (RFC 3986, section 5.2).
    fn relative(&self, location: &str) -> std::result::Result<Self, String> {
        let wrong = || "it redirects to an invalid address".to_owned();
        let scheme = self.uri.scheme_str().unwrap_or("http");
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}:{location}")).map_err(|_| wrong());
        }
        let path = if location.starts_with('/') {
            location.to_owned()
        } else if location.starts_with('?') {
            format!("{}{location}", self.uri.path())
        } else {
            let above = self.uri.path().rsplit_once('/').map_or("", |it| it.0);
            format!("{above}/{location}")
        };
        let path = path.split('#').next().unwrap_or_default();
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = Some(path.parse::<PathAndQuery>().map_err(|_| wrong())?);
        let uri = Uri::from_parts(parts).map_err(|_| wrong())?;
        Ok(Self { uri, login: None })
    }

    /// Whether it is an `https` address.
    pub(crate) fn is_secure(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }

    /// The host, in lower case.
    pub(super) fn host(&self) -> String {
        self.uri.host().unwrap_or_default().to_ascii_lowercase()
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or("http");
        let host = self.uri.authority().map_or("", |it| it.as_str());
        write!(f, "{scheme}://{host}{}", self.uri.path())?;
        // The query of a signed address is a secret.
        self.uri.query().map_or(Ok(()), |_| f.write_str("?…"))
    }
}

impl fmt::Debug for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The scheme before `://`, in lower case if it is a known one.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let known = ["http", "https", "file"];
    let is_scheme = |it: char| it.is_ascii_alphanumeric() || "+-.".contains(it);
    if !scheme.starts_with(|it: char| it.is_ascii_alphabetic()) || !scheme.chars().all(is_scheme) {
        return None;
    }
    Some(
        known
            .into_iter()
            .find(|it| it.eq_ignore_ascii_case(scheme))
            .unwrap_or(scheme),
    )
}

/// The path of a `file://` address (RFC 8089).
fn file(text: &str) -> Result<PathBuf> {
    let rest = text.split_once("://").map_or("", |it| it.1);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
        return Err(
            invalid(format!("`file://{host}/…` names a file of another host"))
                .hint("write three slashes before an absolute path: file:///srv/bundle.tar.gz"),
        );
    }
    let path = PathBuf::from(std::ffi::OsString::from_vec(percent_decode(path)));
    if path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0) {
        return Ok(path);
    }
    Err(invalid("a `file://` address has no path"))
}

/// The value of an `Authorization: Basic` header (RFC 7617).
pub(super) fn basic(user: &str) -> String {
    let mut login = percent_decode(user);
    if !user.contains(':') {
        login.push(b':');
    }
    format!("Basic {}", BASE64_STANDARD.encode(login))
}

/// Percent-decodes a text.
fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = text
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    plain
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address> {
        Address::parse(text, Path::new("/srv/manifests"))
    }

    fn web(text: &str) -> WebAddress {
        match parse(text).unwrap() {
            Address::Web(address) => address,
            Address::File(path) => panic!("{}", path.display()),
        }
    }

    #[test]
    fn paths_and_file_addresses_lead_to_files() {
        for (text, path) in [
            ("bundle.tar.gz", "/srv/manifests/bundle.tar.gz"),
            ("../b c.tar", "/srv/manifests/../b c.tar"),
            ("/var/b.tar", "/var/b.tar"),
            ("file:///var/b%20c%zz.tar", "/var/b c%zz.tar"),
            ("FILE://localhost/b", "/b"),
        ] {
            assert_eq!(parse(text).unwrap(), Address::File(path.into()), "{text}");
        }
    }

    #[test]
    fn unsupported_addresses_are_rejected_with_the_reason() {
        for (text, expected) in [
            ("", "empty"),
            ("http://", "invalid web address"),
            ("http://:80/", "invalid web address"),
            ("https:///x", "invalid web address"),
            ("http://a b/", "invalid web address"),
            ("http://a/\n", "control characters"),
            ("ftp://a/b", "`ftp:`"),
            ("file://server/b", "another host"),
            ("file://", "no path"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn secrets_are_used_and_not_shown() {
        let address = web("https://ada:s%40cret@host.example:8443/a?token=secret#x");
        assert_eq!(address.to_string(), "https://host.example:8443/a?…");
        assert_eq!(format!("{address:?}"), address.to_string());
        assert_eq!(address.login.as_deref(), Some("Basic YWRhOnNAY3JldA=="));
        assert_eq!(
            address.uri.to_string(),
            "https://host.example:8443/a?token=secret"
        );
        assert_eq!(
            web("http://ada@h/").login.as_deref(),
            Some("Basic YWRhOg==")
        );
    }

    #[test]
    fn a_redirection_is_followed_on_the_web_and_takes_the_login_to_its_own_server_only() {
        let from = web("https://ada:secret@host/a/b?c");
        for (location, to, keeps) in [
            ("https://host/x", "https://host/x", true),
            ("/x?y", "https://host/x?…", true),
            ("x#y", "https://host/a/x", true),
            ("?z", "https://host/a/b?…", true),
            ("//other/x", "https://other/x", false),
            ("http://host/x", "http://host/x", false),
            ("https://host:8443/x", "https://host:8443/x", false),
        ] {
            let found = from.redirected(location).unwrap();
            assert_eq!(found.to_string(), to);
            assert_eq!(found.login.is_some(), keeps, "{location}");
        }
        for location in ["file:///etc/shadow", "FILE:///etc/shadow", "ftp://a/b"] {
            let why = from.redirected(location).unwrap_err();
            assert!(why.contains("is not followed"), "{why}");
        }
    }

    #[test]
    fn a_text_without_a_digest_is_not_followed_from_https_to_http() {
        let secure = web("https://host/a");
        for location in ["http://host/x", "http://127.0.0.1/x", "HTTP://other/x"] {
            let why = secure.redirected_securely(location).unwrap_err();
            assert!(why.contains("from https to http"), "{why}");
        }
        for location in ["/x", "//other/x", "https://other/x"] {
            secure.redirected_securely(location).unwrap();
        }
        let plain = web("http://host/a");
        for location in ["http://other/x", "https://other/x"] {
            plain.redirected_securely(location).unwrap();
        }
    }
}
