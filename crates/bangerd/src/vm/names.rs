//! What things are called on the host: pure functions of the VM's id and the instance.
//!
//! After a crash, whatever we may have made we can name. The prefix has a version (1), so that a
//! later banger with other names can tell these from its own.
//!
//! ```text
//! TAP      bg1 + instance (4) + id (8)      = 15 bytes, the most that Linux takes (IFNAMSIZ 16)
//! table    banger_ + instance
//! process  banger-1- + instance - id        the VMM's own name, found in its arguments
//! user     1 900 000 000 + instance × 2048 + index
//! ```

use std::path::Path;

use banger_api::VmId;
use banger_host::Owner;
use sha2::{Digest as _, Sha256};

/// The first user id that a VMM of ours may run as; systemd leaves this range to others
/// (<https://systemd.io/UIDS-GIDS/>).
const FIRST_USER: u32 = 1_900_000_000;

/// How many VMs an instance may have users for.
pub const MOST_VMS: u32 = 2048;

/// One banger on a host: a short hash of who runs it and where its state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance(u16);

impl Instance {
    /// The instance of this user and state directory.
    #[must_use]
    pub fn new(uid: u32, state: &Path) -> Self {
        let mut hash = Sha256::new();
        hash.update(uid.to_le_bytes());
        hash.update(state.as_os_str().as_encoded_bytes());
        let digest = hash.finalize();
        Self(u16::from_be_bytes([digest[0], digest[1]]))
    }

    /// What the names of all our TAPs begin with.
    #[must_use]
    pub fn tap_prefix(self) -> String {
        format!("bg1{:04x}", self.0)
    }

    /// The TAP of a VM.
    #[must_use]
    pub fn tap(self, id: VmId) -> String {
        format!("{}{id}", self.tap_prefix())
    }

    /// Our nft table, family inet.
    #[must_use]
    pub fn table(self) -> String {
        format!("banger_{:04x}", self.0)
    }

    /// The VMM's name, by which its process is found.
    #[must_use]
    pub fn process(self, id: VmId) -> String {
        format!("banger-1-{:04x}-{id}", self.0)
    }

    /// The user and group that the VMM of the VM at `index` runs as.
    #[must_use]
    pub fn owner(self, index: u32) -> Owner {
        let id = FIRST_USER + u32::from(self.0) * MOST_VMS + index % MOST_VMS;
        Owner { uid: id, gid: id }
    }
}

/// The name that a VM's SSH host key is pinned under.
#[must_use]
pub fn host_key_alias(id: VmId) -> String {
    format!("banger-{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tap_has_a_longer_name_than_linux_takes() {
        let longest = Instance(u16::MAX).tap(VmId::from_bits(u32::MAX));
        assert_eq!(longest.len(), 15, "{longest}");
    }

    #[test]
    fn no_user_id_leaves_the_signed_range() {
        let last = Instance(u16::MAX).owner(MOST_VMS - 1);
        assert!(last.uid < 1 << 31, "{}", last.uid);
    }

    #[test]
    fn two_users_and_two_state_directories_never_meet() {
        let here = Instance::new(1000, Path::new("/home/ada/.local/state/banger"));
        assert_ne!(
            here,
            Instance::new(1001, Path::new("/home/ada/.local/state/banger"))
        );
        assert_ne!(here, Instance::new(1000, Path::new("/tmp/test")));
        assert_eq!(
            here,
            Instance::new(1000, Path::new("/home/ada/.local/state/banger"))
        );
    }
}
