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
struct ConfiguredRegistry {
    address: WebAddress,
    prefix: String,
}

impl ConfiguredRegistry {
    fn parse(text: &str) -> Result<Self> {
        let of = "`mirrors.docker` of the configuration";
        let invalid = |what: &str| Error::new(Code::Invalid, what.to_owned()).within(of);
        let Address::Web(address) = Address::parse(text, "/".as_ref()).during(of)? else {
            return Err(invalid("a registry is not a file")
                .hint("write its address: mirrors = { docker = \"https://HOST\" }"));
        };
        if address.login().is_some() && !address.is_secure() && !address.is_loopback() {
            return Err(
                invalid("its user and password would be readable on the way")
                    .hint("write https://, or leave out the user and the password"),
            );
        }
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

/// The server and repository that an image reference names.
struct RepositoryLocation {
    /// Scheme, host and port.
    server: String,
    /// The login of the configuration.
    login: Option<String>,
    repository: String,
}

impl RepositoryLocation {
    fn of(reference: &ImageReference, configured: Option<ConfiguredRegistry>) -> Result<Self> {
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
                let scheme = match secure.is_loopback() {
                    true => "http",
                    false => "https",
                };
                (format!("{scheme}://{host}"), None, path.clone())
            }
        };
        Ok(Self {
            server,
            login,
            repository,
        })
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
        let configured = configured.map(ConfiguredRegistry::parse).transpose()?;
        let location = RepositoryLocation::of(reference, configured)?;
        let server = WebAddress::parse(&location.server)?;
        let authority = server.authority().to_ascii_lowercase();
        let found = logins.of(&authority).map(str::to_owned);
        let (login, lacks) = match (location.login, found) {
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
            repository: location.repository,
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
        if self.login.is_some() && !realm.is_secure() && !realm.is_loopback() {
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
                "http://mirror.example:5000/v2/group/proxy/",
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
            "http://ada:s3cret@mirror.example",
        ] {
            let error = address("docker://debian", Some(wrong)).unwrap_err();
            assert_eq!(error.code, Code::Invalid, "{wrong}");
            assert!(!error.report().contains("s3cret"), "{error}");
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

    /// The registry of this image, with docker's login for some hosts.
    fn registry(name: &str, configured: Option<&str>) -> Registry {
        let folder = tempfile::tempdir().unwrap();
        let hosts = ["mirror.example", "127.0.0.1:5000"];
        let entry = |host: &str| format!(r#""{host}": {{"auth": "YWRhOnMzY3JldA=="}}"#);
        let file = format!(r#"{{"auths": {{{}}}}}"#, hosts.map(entry).join(","));
        std::fs::write(folder.path().join("config.json"), file).unwrap();
        let logins =
            Logins::read(|name| (name == "DOCKER_CONFIG").then(|| folder.path().to_owned()));
        Registry::of(&ImageReference::parse(name).unwrap(), configured, &logins).unwrap()
    }

    #[test]
    fn a_login_is_that_of_the_configuration_or_of_docker_and_never_for_plain_http() {
        let dockers = Some("Basic YWRhOnMzY3JldA==");
        let own = Some("Basic Ym9iOng=");
        for (name, configured, login) in [
            ("docker://mirror.example/a", None, dockers),
            ("docker://other.example/a", None, None),
            ("docker://127.0.0.1:5000/a", None, dockers),
            ("docker://a", Some("http://mirror.example"), None),
            (
                "docker://mirror.example/a",
                Some("http://mirror.example"),
                None,
            ),
            ("docker://a", Some("https://bob:x@mirror.example"), own),
            ("docker://a", Some("http://bob:x@localhost:5000"), own),
            (
                "docker://other.example/a",
                Some("https://bob:x@mirror.example"),
                None,
            ),
        ] {
            let found = registry(name, configured);
            assert_eq!(found.login.as_deref(), login, "{name} {configured:?}");
        }
        let plain = registry("docker://a", Some("http://mirror.example"));
        let remedy = plain.with_remedy(Error::new(Code::Host, "x")).report();
        assert!(remedy.contains("is not sent over plain http"), "{remedy}");
    }

    #[test]
    fn a_token_server_gets_the_login_only_where_nobody_can_read_it() {
        let (secure, local) = ("docker://mirror.example/a", "docker://127.0.0.1:5000/a");
        let anonymous = "docker://other.example/a";
        let plain = Some("http://mirror.example");
        for (name, configured, realm, given) in [
            (secure, None, "https://auth.example/token", Some(true)),
            (secure, None, "http://auth.example/token", None),
            (secure, None, "http://mirror.example/token", None),
            (secure, None, "http://127.0.0.1/token", None),
            (anonymous, None, "https://auth.example/token", Some(false)),
            (anonymous, None, "http://other.example/token", None),
            (local, None, "http://127.0.0.1:5000/token", Some(true)),
            (local, None, "http://auth.example/token", None),
            (local, None, "https://auth.example/token", Some(true)),
            (secure, plain, "http://mirror.example/token", Some(false)),
        ] {
            let realm = WebAddress::parse(realm).unwrap();
            let found = registry(name, configured).login_at(&realm);
            let found = found.ok().map(|it| it.is_some());
            assert_eq!(found, given, "{name} {configured:?} {realm}");
        }
    }
}
