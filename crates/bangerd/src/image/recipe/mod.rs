//! Recipes: what is put into an image, declared in TOML, and turned into the steps of a build.
//!
//! ```text
//! recipe.toml ─► Recipe ─► its downloads, fetched here on the host ─► steps with files ─► image build
//! ```
//!
//! Only apt downloads inside of the VM. Everything else has a digest, or a commit id, and comes from
//! the host's cache, through the host's proxies and with the host's certificates.

mod fetch;
mod mirrors;
mod packages;
mod quote;
mod read;
mod steps;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::download::Digest;

pub(crate) use fetch::Fetcher;
pub(crate) use mirrors::Mirrors;
pub(crate) use packages::PackageList;
pub(crate) use steps::{Additions, Ingredients};

/// What is put into an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// Where it is from, for messages.
    name: String,
    folder: Folder,
    keys: Keys,
    packages: PackageList,
    downloads: Vec<RecipeDownload>,
}

/// Where a recipe's own files are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Folder {
    /// On the host's disk.
    OnDisk(PathBuf),
    /// In this program.
    Shipped,
}

/// The recipes and the files that come with this program.
const SHIPPED: [(&str, &str); 3] = [
    ("default.toml", include_str!("shipped/default.toml")),
    ("docker.toml", include_str!("shipped/docker.toml")),
    ("packages.apt", include_str!("shipped/packages.apt")),
];

/// The file's keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    /// What it is, for people.
    description: String,
    /// Packages for apt.
    packages: Vec<String>,
    /// A list of packages, one a line.
    packages_file: Option<String>,
    /// The SHA-256 of that list.
    packages_sha256: Option<String>,
    /// The environment of every command and check.
    environment: BTreeMap<String, String>,
    #[serde(rename = "ca_certificate")]
    ca_certificates: Vec<CaCertificate>,
    #[serde(rename = "download")]
    downloads: Vec<DownloadKeys>,
    #[serde(rename = "git")]
    repositories: Vec<Repository>,
    #[serde(rename = "file")]
    files: Vec<OwnFile>,
    #[serde(rename = "command")]
    commands: Vec<Command>,
    #[serde(rename = "check")]
    checks: Vec<Command>,
}

/// An authority that the VM trusts during the build.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaCertificate {
    /// In PEM.
    file: String,
    /// Whether the image trusts it, too.
    #[serde(default)]
    keep: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct DownloadKeys {
    url: Option<String>,
    npm: Option<String>,
    #[serde(default)]
    mirrors: Vec<String>,
    sha256: String,
    to: String,
    /// The one file of a tar archive that is wanted.
    member: Option<String>,
    /// Whether all of an archive is unpacked into the folder `to`.
    #[serde(default)]
    unpack: bool,
    /// How many leading folders of its paths are left out then.
    #[serde(default)]
    strip: u8,
    mode: Option<String>,
}

/// A download whose values cannot be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RecipeDownload {
    name: String,
    origin: Origin,
    sha256: Digest,
    keys: DownloadKeys,
}

/// Where a download is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Url(String),
    Npm { package: String, version: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Repository {
    url: String,
    /// In full: 40 hexadecimal digits.
    commit: String,
    to: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnFile {
    path: String,
    content: Option<String>,
    source: Option<String>,
    mode: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    name: Option<String>,
    run: String,
    timeout_seconds: Option<u64>,
}

#[cfg(test)]
mod tests;
