//! One banger on a host, and the names of what it makes there.
//!
//! Names are pure functions of the instance and of eight hexadecimal digits that identify the
//! object. The daemon that makes an object and root that checks it derive the same name
//! independently.
//!
//! ```text
//! TAP      bg1 + instance (4) + id (8)      = 15 bytes, the most that Linux takes (IFNAMSIZ 16)
//! table    banger_ + instance
//! name     banger-1- + instance - id
//! user     1 900 000 000 + instance × 2048 + index
//! ```

use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::MachineId;

/// The first user id that a process of a VM may run as, in a range that systemd leaves to others
/// (<https://systemd.io/UIDS-GIDS/>).
const FIRST_USER: u32 = 1_900_000_000;

/// The prefix of the TAP names of all instances.
pub(crate) const TAP: &str = "bg1";

/// One banger on a host: a short hash of who runs it and where its state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance(u16);

impl Instance {
    /// The instance of these digits, for tests that know its names.
    #[cfg(test)]
    pub(crate) const fn of_digits(digits: u16) -> Self {
        Self(digits)
    }

    /// The number of user ids that an instance has for its processes.
    pub const USERS: u32 = 2048;

    /// The instance of this user and state directory. The directory is given by its real path
    /// ([`real_path`](crate::real_path)), so that every path to it leads to the same names.
    #[must_use]
    pub fn new(uid: u32, state: &Path) -> Self {
        let mut hash = Sha256::new();
        hash.update(uid.to_le_bytes());
        hash.update(state.as_os_str().as_bytes());
        let digest = hash.finalize();
        Self(u16::from_be_bytes([digest[0], digest[1]]))
    }

    /// Its four hexadecimal digits.
    #[must_use]
    pub fn digits(self) -> String {
        format!("{:04x}", self.0)
    }

    /// The prefix of the names of all its TAPs.
    #[must_use]
    pub fn tap_prefix(self) -> String {
        format!("{TAP}{:04x}", self.0)
    }

    /// Its nft table, family inet.
    #[must_use]
    pub fn table(self) -> String {
        format!("banger_{:04x}", self.0)
    }

    /// The prefix of the names of its processes and snapshots.
    #[must_use]
    pub fn name_prefix(self) -> String {
        format!("banger-1-{:04x}-", self.0)
    }

    /// The user and group ids that its processes may run as.
    #[must_use]
    pub fn users(self) -> RangeInclusive<u32> {
        let first = FIRST_USER + u32::from(self.0) * Self::USERS;
        first..=first + Self::USERS - 1
    }

    /// Whether this user id belongs to some instance, and so to one machine only.
    #[must_use]
    pub fn has_user(uid: u32) -> bool {
        (*Self(0).users().start()..=*Self(u16::MAX).users().end()).contains(&uid)
    }

    /// The name of a machine's TAP.
    #[must_use]
    pub fn tap(self, machine: MachineId) -> String {
        format!("{}{machine}", self.tap_prefix())
    }

    /// The name of a machine's processes and of its snapshot.
    #[must_use]
    pub fn name(self, machine: MachineId) -> String {
        format!("{}{machine}", self.name_prefix())
    }

    /// Whether this is the name of a TAP of this instance.
    #[must_use]
    pub fn has_tap(self, name: &str) -> bool {
        name.strip_prefix(&self.tap_prefix())
            .is_some_and(|it| it.parse::<MachineId>().is_ok())
    }

    /// The instance and the machine of the TAP with this name, if it is one.
    #[must_use]
    pub fn of_tap(name: &str) -> Option<(Self, MachineId)> {
        let digits = name.strip_prefix(TAP)?.get(..4)?;
        let instance = Self(u16::from_str_radix(digits, 16).ok()?);
        let machine = name.strip_prefix(&instance.tap_prefix())?.parse().ok()?;
        Some((instance, machine))
    }

    /// Whether this is the name of a snapshot of this instance.
    #[must_use]
    pub fn has_snapshot(self, name: &str) -> bool {
        name.strip_prefix(&self.name_prefix())
            .is_some_and(|it| it.parse::<MachineId>().is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_user_id_leaves_the_signed_range() {
        assert!(*Instance(u16::MAX).users().end() < 1 << 31);
        assert_eq!(
            *Instance(1).users().start(),
            *Instance(0).users().end() + 1,
            "two instances share a user"
        );
    }

    #[test]
    fn two_users_and_two_state_directories_never_meet() {
        let state = Path::new("/home/ada/.local/state/banger");
        let here = Instance::new(1000, state);
        assert_ne!(here, Instance::new(1001, state));
        assert_ne!(here, Instance::new(1000, Path::new("/tmp/test")));
        assert_eq!(here, Instance::new(1000, state));
    }

    #[test]
    fn only_its_own_names_are_its_own() {
        let instance = Instance(0xab12);
        assert!(instance.has_tap("bg1ab1200c0ffee"));
        for name in [
            "",
            "bg1ab12",
            "bg1ab1200c0ffe",
            "bg1ab1200c0ffee0",
            "bg1ab1200C0FFEE",
            "bg1ab1300c0ffee",
            "bg1ab12../../..",
            "bg1ab1200c0ff\0e",
            "eth0",
            "lo",
        ] {
            assert!(!instance.has_tap(name), "{name:?}");
        }
        assert!(instance.has_snapshot("banger-1-ab12-00c0ffee"));
        for name in [
            "banger-1-ab12-",
            "banger-1-ab12-00c0ffee-origin",
            "banger-1-ab13-00c0ffee",
            "banger-1-ab12-../00c0f",
            "control",
        ] {
            assert!(!instance.has_snapshot(name), "{name:?}");
        }
    }
}
