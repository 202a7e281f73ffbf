//! Volumes: disks with names, which outlive the VMs that use them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::excerpt;
use crate::{InvalidName, Mib, VmName};

/// A volume's name: 1 to 32 lower-case letters, digits and hyphens, with no hyphen at either end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(String);

impl VolumeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for VolumeName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wrong = |why: &str| {
            let text = excerpt(text);
            Err(InvalidName(format!("{text} is not a volume name: {why}")))
        };
        if text.is_empty() {
            return wrong("it is empty");
        }
        if text.len() > 32 {
            return wrong("it is longer than 32 characters");
        }
        let legal = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if !text.bytes().all(legal) {
            return wrong("use lower-case letters, digits and hyphens only");
        }
        if text.starts_with('-') || text.ends_with('-') {
            return wrong("it begins or ends with a hyphen");
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for VolumeName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<VolumeName> for String {
    fn from(name: VolumeName) -> Self {
        name.0
    }
}

/// Creates an empty volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateVolume {
    /// Its name.
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$", max_length = 32)
    )]
    pub name: String,
    /// Its size, in MiB; 16384 by default. It occupies only what is written to it.
    #[serde(default, rename = "size_mib")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u64>, minimum = 64, maximum = 67_108_864))]
    pub size: Option<Mib>,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VolumeView {
    /// Its name.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub name: VolumeName,
    /// Its size, in bytes.
    pub size_bytes: u64,
    /// The bytes that it takes on the host.
    pub allocated_bytes: u64,
    /// The VMs that have it, by name: one, or also another one that runs with it until it stops.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>))]
    pub users: Vec<VmName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_label() {
        for good in ["a", "data-1", "0", &"x".repeat(32)] {
            assert_eq!(good.parse::<VolumeName>().unwrap().as_str(), good);
        }
        for bad in ["", "A", "a.b", "../x", "-a", "a-", "a/b", &"x".repeat(33)] {
            assert!(bad.parse::<VolumeName>().is_err(), "{bad}");
        }
    }
}
