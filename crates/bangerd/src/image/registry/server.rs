//! Where a registry is, and as whom it is asked.

use banger_api::{Code, Error};

use super::logins::Logins;
use super::reference::{self, ImageReference};
use crate::download::{Address, WebAddress};
use crate::error::{During, Result};

/// A registry, for one image.
#[derive(Clone)]
pub(super) struct Registry {
    /// Scheme, host and port.
    server: WebAddress,
    /// The path of the image at this registry.
    pub(super) repository: String,
    /// The user's login, as an `Authorization` header.
    login: Option<String>,
    /// Why there is no login although there may be one.
    lacks: Option<&'static str>,
}

impl std::fmt::Debug for Registry {
    /// Without the login.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.server, self.repository)
    }
}

/// The registry of the configuration: of names without a host, and the one that may be asked over
/// plain `http`.
struct Configured {
    address: WebAddress,
    prefix: String,
}

impl Configured {
    fn parse(text: &str) -> Result<Self> {
        let of = "`mirrors.docker` of the configuration";
        let invalid = |what: &str| Error::new(Code::Invalid, what.to_owned()).within(of);
        let Address::Web(address) = Address::parse(text, "/".as_ref()).during(of)? else {
            return Err(invalid("a registry is not a file")
                .hint("write its address: mirrors = { docker = \"https://HOST\" }"));
        };
        let prefix = address.path().trim_matches('/');
        let prefix = match prefix.strip_prefix("v2") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_start_matches('/'),
            _ => prefix,
        };
        if !prefix.is_empty() && !reference::is_repository(prefix) {
            return Err(invalid("its path is not one of a registry"));
        }
        if text.contains(['?', '#']) {
            return Err(invalid("an address of a registry has no query"));
        }
        let prefix = prefix.to_owned();
        Ok(Self { address, prefix })
    }
}

impl Registry {
    /// The registry of this image.
    ///
    /// # Errors
    /// `not-ready` if the name has no host, and the configuration names no registry.
    pub(super) fn of(
        reference: &ImageReference,
        configured: Option<&str>,
        logins: &Logins,
    ) -> Result<Self> {
        let configured = configured.map(Configured::parse).transpose()?;
        let path = &reference.repository;
        let (server, login, repository) = match (&reference.host, configured) {
            (None, None) => {
                return Err(Error::new(Code::NotReady, "no registry is configured")
                    .cause("the name has no host")
                    .hint("name the registry: docker://HOST/NAME:TAG")
                    .hint(
                        "or configure one, in config.toml: mirrors = { docker = \"https://HOST\" }",
                    ));
            }
            (None, Some(configured)) => {
                let prefix = configured.prefix;
                let separator = if prefix.is_empty() { "" } else { "/" };
                let login = configured.address.login().map(str::to_owned);
                let server = configured.address.server();
                (server, login, format!("{prefix}{separator}{path}"))
            }
            (Some(host), Some(configured))
                if configured.address.authority().eq_ignore_ascii_case(host) =>
            {
                let login = configured.address.login().map(str::to_owned);
                (configured.address.server(), login, path.clone())
            }
            (Some(host), _) => {
                let secure = WebAddress::parse(&format!("https://{host}"))?;
                let scheme = if secure.is_loopback() {
                    "http"
                } else {
                    "https"
                };
                (format!("{scheme}://{host}"), None, path.clone())
            }
        };
        let server = WebAddress::parse(&server)?;
        let authority = server.authority().to_ascii_lowercase();
        let found = logins.of(&authority).map(str::to_owned);
        let (login, lacks) = match (login, found) {
            (Some(login), _) => (Some(login), None),
            (None, Some(_)) if !server.is_secure() && !server.is_loopback() => {
                (None, Some("docker's login is not sent over plain http"))
            }
            (None, Some(found)) => (Some(found), None),
            (None, None) if logins.has_helper() => (
                None,
                Some("the logins of docker's credential helpers are not used"),
            ),
            (None, None) => (None, None),
        };
        Ok(Self {
            server,
            repository,
            login,
            lacks,
        })
    }

    /// The address of a manifest or a blob.
    pub(super) fn address(&self, kind: &str, wanted: &str) -> Result<WebAddress> {
        let (server, repository) = (self.server.server(), &self.repository);
        WebAddress::parse(&format!("{server}/v2/{repository}/{kind}/{wanted}"))
    }

    /// The user's login, for the registry itself.
    pub(super) fn login(&self) -> Option<String> {
        self.login.clone()
    }

    /// The user's login for this address, which the registry names for its tokens.
    ///
    /// # Errors
    /// If tokens or the login would pass without encryption.
    pub(super) fn login_at(&self, realm: &WebAddress) -> Result<Option<String>> {
        let unencrypted = || {
            let what = format!("it gives out tokens without encryption, at {realm}");
            Error::new(Code::Host, what)
        };
        if self.server.is_secure() && !realm.is_secure() {
            return Err(unencrypted());
        }
        let is_trusted =
            realm.is_secure() || realm.is_loopback() || realm.server() == self.server.server();
        if self.login.is_some() && !is_trusted {
            return Err(unencrypted().cause("your login would be readable on the way"));
        }
        Ok(self.login.clone())
    }

    /// Adds how to log in to an error that a login may mend.
    pub(super) fn with_remedy(&self, error: Error) -> Error {
        let host = self.server.authority();
        let error = match self.lacks {
            Some(why) => error.cause(why),
            None => error,
        };
        if self.login.is_some() {
            return error.hint("it was asked with your login: does that user have the right?");
        }
        error.hint(format!("if it wants a login: docker login {host}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(name: &str, configured: Option<&str>) -> Result<String> {
        let reference = ImageReference::parse(name)?;
        let registry = Registry::of(&reference, configured, &Logins::default())?;
        Ok(registry
            .address("manifests", &reference.wanted())?
            .to_string())
    }

    #[test]
    fn a_name_without_a_host_is_asked_at_the_configured_registry() {
        for (name, configured, expected) in [
            (
                "docker://debian:trixie",
                "https://mirror.example",
                "https://mirror.example/v2/library/debian/manifests/trixie",
            ),
            (
                "docker://ada/tool",
                "http://ada:secret@mirror.example:5000/v2/group/proxy/",
                "http://mirror.example:5000/v2/group/proxy/ada/tool/manifests/latest",
            ),
            (
                "docker://mirror.example:5000/tool",
                "http://mirror.example:5000/group",
                "http://mirror.example:5000/v2/tool/manifests/latest",
            ),
            (
                "docker://other.example/tool",
                "http://mirror.example",
                "https://other.example/v2/tool/manifests/latest",
            ),
        ] {
            assert_eq!(address(name, Some(configured)).unwrap(), expected);
        }
        let error = address("docker://debian", None).unwrap_err();
        assert_eq!(error.code, Code::NotReady);
        assert!(error.report().contains("mirrors = { docker"), "{error}");
        for wrong in [
            "file:///srv",
            "https://mirror.example/?a",
            "https://mirror.example/UPPER",
        ] {
            let error = address("docker://debian", Some(wrong)).unwrap_err();
            assert_eq!(error.code, Code::Invalid, "{wrong}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_and_for_the_configured_registry_alone() {
        for (name, scheme) in [
            ("docker://localhost/a", "http://"),
            ("docker://127.0.0.1:5000/a", "http://"),
            ("docker://[::1]:5000/a", "http://"),
            ("docker://127.0.0.1.evil.example/a", "https://"),
            ("docker://10.0.0.1:5000/a", "https://"),
        ] {
            assert!(address(name, None).unwrap().starts_with(scheme), "{name}");
        }
    }
}
