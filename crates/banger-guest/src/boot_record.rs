//! The record that `/init` leaves for the agent: banger's mounts, and warnings.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Banger's folder while the guest runs.
pub(crate) const FOLDER: &str = "/run/banger";

/// The program that the agent's unit runs.
pub(crate) const PROGRAM: &str = "/run/banger/banger-guest";

/// The target of `/etc/resolv.conf`.
pub(crate) const RESOLV_CONF: &str = "/run/banger/resolv.conf";

/// The token of the conversation, for the process that continues it.
pub(crate) const SESSION: &str = "/run/banger/session";

const RECORD: &str = "/run/banger/boot.json";

/// The outcome of `/init`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BootRecord {
    /// The mount points of banger's disks, `/` first.
    pub(crate) mounts: Vec<String>,
    /// The failures that did not keep the guest from starting.
    pub(crate) warnings: Vec<String>,
}

impl BootRecord {
    pub(crate) fn write(&self) -> std::io::Result<()> {
        fs::write(RECORD, serde_json::to_vec(self)?)
    }

    /// The record of this boot. It is empty if there is none, because the agent must answer
    /// whatever happened before.
    pub(crate) fn read() -> Self {
        Self::read_from(Path::new(RECORD))
    }

    fn read_from(path: &Path) -> Self {
        let json = fs::read(path).unwrap_or_default();
        serde_json::from_slice(&json).unwrap_or_else(|_| Self {
            mounts: vec!["/".into()],
            warnings: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_gone_still_names_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let record = BootRecord::read_from(&folder.path().join("boot.json"));
        assert_eq!(record.mounts, ["/"]);
    }
}
