//! The VM as banger knows it: what its record holds.
//!
//! Everything here is a pure value; only [`store`] touches a host.

pub mod claim;
mod migrate;
pub mod names;
pub mod phase;
mod run;
pub mod shape;
pub mod store;

use std::fmt;
use std::net::Ipv4Addr;

use banger_api::{End, NetworkKind, Phase, VmId, VmName, VmSpec};
use banger_host::{MacAddress, Owner, Process};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shape::Shape;

pub use run::{LastBoot, Run};

/// The pair of images that a VM starts with for ever, by their digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Images {
    /// The name that the user chose them by.
    pub name: String,
    /// The base root file system.
    pub root: String,
    /// The kernel with its modules.
    pub kernel: String,
}

/// A private key; it is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A VM's SSH host key, made at create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKey {
    /// The private part, in OpenSSH's format.
    pub private: Secret,
    /// The public part, one line without a comment.
    pub public: String,
}

/// One VM, as its record has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    /// Its id, for ever.
    pub id: VmId,
    /// Its name.
    pub name: VmName,
    /// The names that its guest may still have, from before it was renamed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_names: Vec<VmName>,
    /// What the user asked for.
    pub spec: VmSpec,
    /// What it starts from.
    pub images: Images,
    /// The root-disk driver that it was made with.
    pub root_disk: String,
    /// The shape of its machine, fixed when it was made.
    #[serde(default, skip_serializing_if = "Shape::is_original")]
    pub shape: Shape,
    /// Its place among the VMs of this state directory; its address and user follow from it.
    pub index: u32,
    /// Its address, where the network is a TAP.
    pub address: Ipv4Addr,
    /// Its gateway: the host's end of the TAP.
    pub gateway: Ipv4Addr,
    /// What its network is.
    pub network: NetworkKind,
    /// The port on loopback that leads to its SSH, where the network is QEMU's; the next run has
    /// the same where it is free.
    pub ssh_port: Option<u16>,
    /// The user that its hypervisor runs as, where that is not the daemon's.
    pub owner: Option<Owner>,
    /// Its machine-id (machine-id(5)).
    pub machine_id: String,
    /// Its SSH host key.
    pub host_key: HostKey,
    /// Where it is in its life.
    pub phase: Phase,
    /// What only its run has, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// Its newest boot, if it was ever started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_boot: Option<LastBoot>,
    /// When it was made.
    pub created: Timestamp,
    /// How its last run ended.
    pub last_end: Option<End>,
}

impl Vm {
    /// The settings that hold now: those of the run, and without one those of the next.
    #[must_use]
    pub fn given(&self) -> &VmSpec {
        self.run.as_ref().map_or(&self.spec, |run| &run.in_force)
    }

    /// Notes something of its run, while there is one.
    pub fn note_run(&mut self, note: impl FnOnce(&mut Run)) {
        if let Some(run) = &mut self.run {
            note(run);
        }
    }

    /// The hypervisor's process, while there is one.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        self.run.as_ref()?.process.as_ref()
    }

    /// Whether it runs in rescue.
    #[must_use]
    pub fn is_in_rescue(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.rescue)
    }

    /// The user that root's jail makes its hypervisor, while that runs in one.
    #[must_use]
    pub fn jailed_as(&self) -> Option<Owner> {
        self.run.as_ref()?.jailed_as
    }

    /// The hypervisor that runs it, or ran it last.
    #[must_use]
    pub fn hypervisor(&self) -> Option<&str> {
        self.last_boot.as_ref().map(|boot| &*boot.hypervisor)
    }

    /// Where its newest boot's part of the console begins, in bytes.
    #[must_use]
    pub fn console_offset(&self) -> u64 {
        self.last_boot
            .as_ref()
            .map_or(0, |boot| boot.console_offset)
    }

    /// Its name in the DNS.
    #[must_use]
    pub fn dns_name(&self) -> String {
        format!("{}.vm", self.name)
    }

    /// Its MAC address: locally administered, from its id.
    #[must_use]
    pub fn mac(&self) -> MacAddress {
        MacAddress::from_bits(self.id.bits())
    }
}
