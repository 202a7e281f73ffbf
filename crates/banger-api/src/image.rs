//! Images: their names, their views, and the requests about them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::excerpt;
use crate::{InvalidName, VmName};

/// An image's name: 1 to 64 lower-case letters, digits, hyphens, dots and underscores, the first of
/// them a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName(String);

impl ImageName {
    /// The name of the bundle's own image.
    pub const DEFAULT: &'static str = "default";

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the bundle's own image.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == Self::DEFAULT
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ImageName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wrong = |why: &str| {
            let text = excerpt(text);
            Err(InvalidName(format!("{text} is not an image name: {why}")))
        };
        if text.is_empty() {
            return wrong("it is empty");
        }
        if text.len() > 64 {
            return wrong("it is longer than 64 characters");
        }
        let legal = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
        if !text.bytes().all(legal) {
            return wrong("use lower-case letters, digits, hyphens, dots and underscores only");
        }
        if !text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return wrong("it begins with neither a letter nor a digit");
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ImageName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<ImageName> for String {
    fn from(name: ImageName) -> Self {
        name.0
    }
}

/// An image that VMs can be created from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ImageView {
    /// Its name.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub name: ImageName,
    /// Whether it is the default: new VMs use it unless another image is named.
    pub is_default: bool,
    /// Its origin, for a person.
    pub origin: String,
    /// The SHA-256 of its root file system, in hexadecimal; empty where its record cannot be read.
    pub digest: String,
    /// The digest of its kernel with the modules, in hexadecimal.
    pub kernel: String,
    /// The length of its root file system, in bytes: the minimum size of a VM's system disk.
    pub size_bytes: u64,
    /// The bytes that its root file system takes on the host.
    pub allocated_bytes: u64,
    /// The time of its creation; null for the bundle's own image.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub created: Option<Timestamp>,
    /// The VMs that were created from it, by name.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>))]
    pub users: Vec<VmName>,
}

/// Creates an image from a root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ImportImage {
    /// Its name.
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^(?!default$)[a-z0-9][a-z0-9._-]*$", max_length = 64)
    )]
    pub name: String,
    /// The file on the daemon's host, an absolute path without `..`. The image is a copy.
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^/(?!(?:.*/)?\\.\\.(?:/|$))[^\\x00-\\x1f\\x7f-\\x9f]*$")
    )]
    pub path: String,
    /// Its origin, for a person, cut at 200 characters; by default the path.
    #[serde(default)]
    pub origin: Option<String>,
}

/// Builds an image from another one, in a VM of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BuildImage {
    /// Its name.
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^(?!default$)[a-z0-9][a-z0-9._-]*$", max_length = 64)
    )]
    pub name: String,
    /// The image to start from; by default the default one.
    #[serde(default)]
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^[a-z0-9][a-z0-9._-]*$", max_length = 64)
    )]
    pub base: Option<String>,
    /// The size of its root file system, in MiB: the least system disk of its VMs. The larger one of
    /// 4096 and the base's otherwise.
    #[serde(rename = "size_mib", default)]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u64>, minimum = 64, maximum = 67_108_864))]
    pub size: Option<crate::Mib>,
    /// The steps, in order; the build ends at the first that fails.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(max_items = 1000))]
    pub steps: Vec<BuildStep>,
    /// Its origin, for a person, cut at 200 characters.
    #[serde(default)]
    pub origin: Option<String>,
    /// The name of its VM, for a client that works in it; by default `build-` and a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", max_length = 63)
    )]
    pub vm: Option<String>,
    /// Makes the image from the VM's work disk, which the steps have filled, instead of its system disk.
    /// `size_mib` is the size of that disk then, and the file `/run/banger-build.disk` of the VM names its
    /// device.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_work_disk: bool,
    /// Leaves the VM where a step fails, as an ordinary one.
    #[serde(default)]
    pub keep_on_failure: bool,
}

/// A step of a build: a script for `sh` in the VM, as root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BuildStep {
    /// Its name, for a person, cut at 80 characters.
    pub name: String,
    /// The script, at most 100000 bytes.
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^[^\\x00]*$", max_length = 100_000)
    )]
    pub script: String,
    /// The file on the daemon's host that the script reads as its standard input, an absolute path
    /// without `..`; it reads nothing otherwise.
    #[serde(default)]
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^/(?!(?:.*/)?\\.\\.(?:/|$))[^\\x00-\\x1f\\x7f-\\x9f]*$")
    )]
    pub input: Option<String>,
    /// Its timeout, in seconds (1 to 86400); by default 3600.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 86_400))]
    pub timeout_seconds: Option<u64>,
}

/// Renames an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RenameImage {
    /// The new name.
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^[a-z0-9][a-z0-9._-]*$", max_length = 64)
    )]
    pub name: String,
}

/// Removes unused images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PruneImages {
    /// Also removes unused images that have a name, except the default one.
    pub all: bool,
}

/// The removed images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PrunedImages {
    /// The names of the removed images.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>))]
    pub names: Vec<ImageName>,
    /// The space freed on the host, in bytes.
    pub freed_bytes: u64,
}

/// Copies an image's root file system to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ExportImage {
    /// The file to write on the daemon's host, an absolute path without `..`.
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^/(?!(?:.*/)?\\.\\.(?:/|$))[^\\x00-\\x1f\\x7f-\\x9f]*$")
    )]
    pub path: String,
    /// Replaces an existing file.
    #[serde(default)]
    pub force: bool,
}

/// A copy of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ExportedImage {
    /// The file: a sparse ext4 file system.
    pub path: String,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// Its length in bytes.
    pub size_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_file_name_and_no_path() {
        for good in ["default", "docker-dev", "debian-12.5", "a_b", "0"] {
            assert!(good.parse::<ImageName>().is_ok(), "{good}");
        }
        for bad in [
            "", ".", "..", ".a", "-a", "a/b", "A", "a b", "a\n", "é", "$(id)",
        ] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(64).parse::<ImageName>().is_ok());
        assert!("x".repeat(65).parse::<ImageName>().is_err());
    }
}
