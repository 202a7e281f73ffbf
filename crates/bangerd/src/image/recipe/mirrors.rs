//! Where things are fetched from before their public address, and the npm registry.

use std::path::{Path, PathBuf};
use std::time::Duration;

use banger_api::{Code, Error};
use banger_host::command::Command;
use serde::{Deserialize, Serialize};

use super::quote::word;
use crate::download::Address;
use crate::error::Result;

/// The mirrors of the configuration. Each is the beginning of an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mirrors {
    /// Of Debian's packages, for apt in the VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debian: Option<String>,
    /// Of Debian's security updates, for apt in the VM.
    #[serde(rename = "debian-security", skip_serializing_if = "Option::is_none")]
    pub debian_security: Option<String>,
    /// The npm registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub npm: Option<String>,
    /// Of git repositories: their path without the host follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<String>,
    /// The registry of container images whose names have no host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker: Option<String>,
}

/// The npm registries of the user, the first one first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NpmRegistries {
    own: Vec<String>,
    /// Of one scope, such as `@jdxcode`.
    scoped: Vec<(String, String)>,
}

impl NpmRegistries {
    /// What the mirrors, the environment and npm's own files say (npmrc(5)).
    #[must_use]
    pub(crate) fn find(mirrors: &Mirrors, environment: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let variable = |name| {
            let value = environment(name)?.into_os_string().into_string().ok()?;
            (!value.is_empty()).then_some(value)
        };
        let mut found = Self::default();
        found.own.extend(mirrors.npm.clone());
        found.own.extend(
            ["npm_config_registry", "NPM_CONFIG_REGISTRY"]
                .into_iter()
                .find_map(variable),
        );
        let home = environment("HOME").map(|home| home.join(".npmrc"));
        for path in home.into_iter().chain([PathBuf::from("/etc/npmrc")]) {
            found.read(&std::fs::read_to_string(path).unwrap_or_default());
        }
        if found.own.is_empty() {
            found.own.extend(of_npm(environment("HOME")));
        }
        found
    }

    /// Reads one of npm's files.
    fn read(&mut self, text: &str) {
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let value = value.trim().trim_matches(['"', '\'']).to_owned();
            match key.trim() {
                "registry" => self.own.push(value),
                key => {
                    let scope = key.strip_suffix(":registry");
                    self.scoped.extend(scope.map(|it| (it.to_owned(), value)));
                }
            }
        }
    }

    /// The addresses of a package's archive.
    ///
    /// # Errors
    /// `not-ready` where no registry is known.
    pub(super) fn addresses(&self, package: &str, version: &str) -> Result<Vec<Address>> {
        let (scope, name) = package.split_once('/').unwrap_or(("", package));
        let scoped = self.scoped.iter().filter(|(it, _)| it == scope);
        let registries = scoped.map(|(_, registry)| registry).chain(&self.own);
        let mut addresses: Vec<Address> = Vec::new();
        for registry in registries {
            let registry = registry.trim_end_matches('/');
            let address = format!("{registry}/{package}/-/{name}-{version}.tgz");
            let address = Address::parse(&address, Path::new("/"))?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(Error::new(Code::NotReady, "no npm registry is known")
                .hint("name one in npm's own configuration: npm config set registry ADDRESS")
                .hint("or in config.toml: mirrors = { npm = \"ADDRESS\" }"));
        }
        Ok(addresses)
    }

    /// The first registry without a login, for programs in the image.
    pub(super) fn public(&self) -> Option<String> {
        let registry = self.own.first()?.trim_end_matches('/');
        let (scheme, rest) = registry.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority.rsplit('@').next().unwrap_or_default();
        Some(format!("{scheme}://{host}{path}"))
    }
}

/// What npm itself goes by, where it is installed: it has more files than those read here.
fn of_npm(home: Option<PathBuf>) -> Option<String> {
    let mut command = Command::new("npm").args(["config", "get", "registry"]);
    if let Some(home) = home {
        command = command.env("HOME", home);
    }
    let output = command.patience(Duration::from_secs(30)).run().ok()?;
    let registry = output.text().trim().to_owned();
    registry.contains("://").then_some(registry)
}

impl Mirrors {
    /// A part of a script that has apt read Debian's packages from here, for the build alone. Its
    /// options are in `$@` afterwards.
    pub(in crate::image) fn apt_sources(&self) -> String {
        let (debian, security) = (self.debian.as_deref(), self.debian_security.as_deref());
        if debian.is_none() && security.is_none() {
            return "set --".to_owned();
        }
        let key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
        let debian = word(debian.unwrap_or("http://deb.debian.org/debian"));
        let security = word(security.unwrap_or("http://deb.debian.org/debian-security"));
        format!(
            ". /etc/os-release\nlist=/run/banger-build.list\n\
             echo \"deb {key} \"{debian}\" $VERSION_CODENAME main\" >$list\n\
             echo \"deb {key} \"{debian}\" $VERSION_CODENAME-updates main\" >>$list\n\
             echo \"deb {key} \"{security}\" $VERSION_CODENAME-security main\" >>$list\n\
             set -- -o Dir::Etc::SourceList=$list -o Dir::Etc::SourceParts=-"
        )
    }

    /// The addresses of a git repository: the mirror's, and its own.
    pub(super) fn repository(&self, url: &str) -> Vec<String> {
        let path = url
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'));
        let mirrored = self.git.iter().zip(path);
        let mirrored =
            mirrored.map(|(mirror, (_, path))| format!("{}/{path}", mirror.trim_end_matches('/')));
        mirrored.chain([url.to_owned()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(home: &Path) -> impl Fn(&str) -> Option<PathBuf> {
        move |name| match name {
            "HOME" => Some(home.to_owned()),
            "npm_config_registry" => Some("https://of.environment.example/npm/".into()),
            _ => None,
        }
    }

    #[test]
    fn a_mirror_comes_before_what_npm_is_told_and_a_scope_has_its_own() {
        let home = tempfile::tempdir().unwrap();
        let npmrc = "; mine\nregistry = \"https://ada:secret@of.file.example\"\n@mine:registry=https://scoped.example/\n//of.file.example/:_authToken=secret\n";
        std::fs::write(home.path().join(".npmrc"), npmrc).unwrap();
        let mirrors = Mirrors {
            npm: Some("file:///srv/npm".to_owned()),
            ..Mirrors::default()
        };
        let found = NpmRegistries::find(&mirrors, environment(home.path()));
        let addresses = found.addresses("@mine/tool", "1.2.3").unwrap();
        let told: Vec<String> = addresses.iter().take(4).map(ToString::to_string).collect();
        assert_eq!(
            told[0],
            "https://scoped.example/@mine/tool/-/tool-1.2.3.tgz"
        );
        assert!(
            told[1].ends_with("/srv/npm/@mine/tool/-/tool-1.2.3.tgz"),
            "{told:?}"
        );
        assert_eq!(
            told[2],
            "https://of.environment.example/npm/@mine/tool/-/tool-1.2.3.tgz"
        );
        assert_eq!(
            told[3],
            "https://of.file.example/@mine/tool/-/tool-1.2.3.tgz"
        );
        let plain = found.addresses("tool", "1").unwrap();
        assert!(plain[0].to_string().ends_with("/srv/npm/tool/-/tool-1.tgz"));
    }

    #[test]
    fn without_a_registry_a_hint_says_what_to_set() {
        let none = NpmRegistries::default();
        let error = none.addresses("tool", "1").unwrap_err();
        assert!(
            error.report().contains("npm config set registry"),
            "{error}"
        );
        assert_eq!(none.public(), None);
        let secret = NpmRegistries {
            own: vec!["https://ada:secret@npm.example/x/".to_owned()],
            ..NpmRegistries::default()
        };
        assert_eq!(secret.public().unwrap(), "https://npm.example/x");
    }

    #[test]
    fn a_repository_is_looked_for_at_the_mirror_first() {
        let mirrors = Mirrors {
            git: Some("file:///srv/git/".to_owned()),
            ..Mirrors::default()
        };
        let url = "https://git.example/ada/tool";
        assert_eq!(mirrors.repository(url), ["file:///srv/git/ada/tool", url]);
        assert_eq!(Mirrors::default().repository(url), [url]);
    }
}
