//! Names on the host: pure functions of the VM's id and the instance.
//!
//! So after a crash, everything that may have been made can be found by its name. The prefix has a
//! version (1), so that a later banger can distinguish these names from its own.
//!
//! ```text
//! TAP      bg1 + instance (4) + id (8)      = 15 bytes, the limit of Linux (IFNAMSIZ 16)
//! table    banger_ + instance
//! process  banger-1- + instance - id        the VMM's own name, and that of its units
//! gate     the process's name + -open       or -shut
//! user     1 900 000 000 + instance × 2048 + index
//! ```

use std::path::{Path, PathBuf};

use banger_api::VmId;
use banger_host::{MachineId, Mark, Op, Owner, RootOp};

/// The number of users of an instance, and so of its VMs.
pub const MOST_VMS: u32 = banger_host::Instance::USERS;

/// A banger instance on a host: a short hash of its user and state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance(banger_host::Instance);

impl From<banger_host::Instance> for Instance {
    fn from(instance: banger_host::Instance) -> Self {
        Self(instance)
    }
}

impl Instance {
    /// The instance of this user and state directory.
    #[must_use]
    pub fn new(uid: u32, state: &Path) -> Self {
        Self(banger_host::Instance::new(uid, state))
    }

    /// The prefix of all TAPs of this instance.
    #[must_use]
    pub fn tap_prefix(self) -> String {
        self.0.tap_prefix()
    }

    /// The TAP of a VM.
    #[must_use]
    pub fn tap(self, id: VmId) -> String {
        self.0.tap(machine(id))
    }

    /// An op of the root helper for this instance.
    #[must_use]
    pub fn change(self, op: RootOp) -> Op {
        Op::Root(self.0, op)
    }

    /// The host's form of it, for looks that derive names themselves.
    #[must_use]
    pub fn on_host(self) -> banger_host::Instance {
        self.0
    }

    /// The nft table of this instance, family inet.
    #[must_use]
    pub fn table(self) -> String {
        self.0.table()
    }

    /// The prefix of all VMMs of this instance.
    #[must_use]
    pub fn process_prefix(self) -> String {
        self.0.name_prefix()
    }

    /// The name of a VM's VMM, by which its process is found, and of its root disk's device.
    #[must_use]
    pub fn process(self, id: VmId) -> String {
        self.0.name(machine(id))
    }

    /// The name of a VM's gate, by which its process is found. Open and closed gates have different
    /// names.
    #[must_use]
    pub fn gate(self, id: VmId, index: u32, open: bool, program: &Path) -> Mark {
        let name = self.process(id);
        Mark {
            name: format!("{name}-{}", if open { "open" } else { "shut" }),
            user: Some(self.owner(index).uid),
            alone: false,
            programs: vec![program.to_owned()],
        }
    }

    /// Identifies the VMM's processes: by the name, and by the user, which no other VM has.
    #[must_use]
    pub fn mark(self, id: VmId, index: u32, programs: Vec<PathBuf>) -> Mark {
        Mark {
            name: self.process(id),
            user: Some(self.owner(index).uid),
            alone: true,
            programs,
        }
    }

    /// The user and group that the VMM of the VM at `index` runs as.
    #[must_use]
    pub fn owner(self, index: u32) -> Owner {
        let id = self.0.users().start() + index % MOST_VMS;
        Owner { uid: id, gid: id }
    }
}

/// The host's form of a VM.
#[must_use]
pub fn machine(id: VmId) -> MachineId {
    MachineId::from_bits(id.bits())
}

/// The name under which a VM's SSH host key is pinned.
#[must_use]
pub fn host_key_alias(id: VmId) -> String {
    format!("banger-{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tap_has_a_longer_name_than_linux_takes() {
        let instance = Instance::new(u32::MAX, Path::new("/"));
        let longest = instance.tap(VmId::from_bits(u32::MAX));
        assert_eq!(longest.len(), 15, "{longest}");
    }

    #[test]
    fn root_knows_the_names_that_we_give() {
        let instance = Instance::new(1000, Path::new("/home/ada/.local/state/banger"));
        let id = VmId::from_bits(0x00c0_ffee);
        assert!(instance.0.has_tap(&instance.tap(id)));
        assert!(instance.0.has_snapshot(&instance.process(id)));
        let owner = instance.owner(MOST_VMS - 1);
        assert!(instance.0.users().contains(&owner.uid), "{owner:?}");
    }
}
