//! The VM as its record describes it.
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

use banger_api::{End, Forward, ImageName, NetworkKind, Phase, VmId, VmName, VmSpec};
use banger_host::{MacAddress, Owner, Process};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shape::Shape;

pub use run::{LastBoot, Run};

/// The images of a VM, by their digests; they never change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Images {
    /// The name of the image at create.
    pub name: String,
    /// The base root file system.
    pub root: String,
    /// The kernel with its modules.
    pub kernel: String,
}

/// A private key; `Debug` does not print it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A VM's SSH host key, generated at create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKey {
    /// The private part, in OpenSSH's format.
    pub private: Secret,
    /// The public part, one line without a comment.
    pub public: String,
}

/// A VM, as in its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    /// Its id, which never changes.
    pub id: VmId,
    /// Its name.
    pub name: VmName,
    /// Earlier names that its guest may still use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_names: Vec<VmName>,
    /// The machine-ids that its guest's disk may still contain: those of the VM that was cloned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_machine_ids: Vec<String>,
    /// The user's settings.
    pub spec: VmSpec,
    /// Its images.
    pub images: Images,
    /// The driver of its root disk, fixed at create.
    pub root_disk: String,
    /// The shape of its machine, fixed at create.
    #[serde(default, skip_serializing_if = "Shape::is_original")]
    pub shape: Shape,
    /// Its index among the VMs of this state directory, from which its address and user derive.
    pub index: u32,
    /// Its address, if it has a TAP.
    pub address: Ipv4Addr,
    /// Its gateway: the host's end of the TAP.
    pub gateway: Ipv4Addr,
    /// The kind of its network.
    pub network: NetworkKind,
    /// The port on loopback that is forwarded to its SSH server, on user networking. The next run
    /// uses the same port if it is free.
    pub ssh_port: Option<u16>,
    /// The user of its hypervisor, unless it is the daemon's.
    pub owner: Option<Owner>,
    /// Its machine-id (machine-id(5)).
    pub machine_id: String,
    /// Its SSH host key.
    pub host_key: HostKey,
    /// The forwards that it has in all of its runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forwards: Vec<Forward>,
    /// Its phase.
    pub phase: Phase,
    /// Its run, if it is running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// Its last boot, if it was ever started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_boot: Option<LastBoot>,
    /// The image that is built in it. Such a VM is temporary: it is deleted with its build, or by
    /// recovery at the next daemon's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builds: Option<ImageName>,
    /// Whether it is deleted once no client holds its lifeline.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub temporary: bool,
    /// The time of its creation.
    pub created: Timestamp,
    /// How its last run ended.
    pub last_end: Option<End>,
    /// The time of its deletion, if it is in the trash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Timestamp>,
}

impl Vm {
    /// A new VM. Capabilities have not chosen or allotted anything yet.
    #[must_use]
    pub fn new(id: VmId, name: VmName, spec: VmSpec, images: Images, created: Timestamp) -> Self {
        Self {
            id,
            name,
            former_names: Vec::new(),
            former_machine_ids: Vec::new(),
            spec,
            images,
            root_disk: String::new(),
            shape: Shape::newest(),
            index: 0,
            address: Ipv4Addr::UNSPECIFIED,
            gateway: Ipv4Addr::UNSPECIFIED,
            network: NetworkKind::User,
            ssh_port: None,
            owner: None,
            machine_id: String::new(),
            host_key: HostKey {
                private: Secret(String::new()),
                public: String::new(),
            },
            forwards: Vec::new(),
            phase: Phase::Creating,
            run: None,
            last_boot: None,
            builds: None,
            temporary: false,
            created,
            last_end: None,
            deleted: None,
        }
    }

    /// Whether it is in the trash.
    #[must_use]
    pub fn is_in_trash(&self) -> bool {
        self.deleted.is_some()
    }

    /// Renames it, and records the former name, which its guest may still have.
    pub fn be_called(&mut self, name: VmName) {
        let before = std::mem::replace(&mut self.name, name);
        let was_told = self.run.is_some() || self.former_names.is_empty();
        let is_other = before != self.name && !self.former_names.contains(&before);
        if self.last_boot.is_some() && was_told && is_other {
            self.former_names.push(before);
        }
    }

    /// The settings in force: those of the run, or without one those of the next run.
    #[must_use]
    pub fn given(&self) -> &VmSpec {
        self.run.as_ref().map_or(&self.spec, |run| &run.in_force)
    }

    /// Adds a note to its run, if there is one.
    pub fn note_run(&mut self, note: impl FnOnce(&mut Run)) {
        if let Some(run) = &mut self.run {
            note(run);
        }
    }

    /// Its forwards: those of all of its runs, and those of this one.
    pub fn all_forwards(&self) -> impl Iterator<Item = &Forward> {
        let of_run = self.run.iter().flat_map(|run| &run.forwards);
        self.forwards.iter().chain(of_run)
    }

    /// The hypervisor's process, if it is running.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        self.run.as_ref()?.process.as_ref()
    }

    /// Whether it runs in rescue.
    #[must_use]
    pub fn is_in_rescue(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.rescue)
    }

    /// The user of its hypervisor in a jail of the root helper, if it runs in one.
    #[must_use]
    pub fn jailed_as(&self) -> Option<Owner> {
        self.run.as_ref()?.jailed_as
    }

    /// The hypervisor of its current or last run.
    #[must_use]
    pub fn hypervisor(&self) -> Option<&str> {
        self.last_boot.as_ref().map(|boot| &*boot.hypervisor)
    }

    /// The offset of its last boot in the console, in bytes.
    #[must_use]
    pub fn console_offset(&self) -> u64 {
        self.last_boot
            .as_ref()
            .map_or(0, |boot| boot.console_offset)
    }

    /// Whether only root may signal its hypervisor, which may take a while.
    #[must_use]
    pub fn is_signalled_by_root(&self) -> bool {
        self.jailed_as().is_some()
    }

    /// The address by which the host reaches it, if it has one.
    #[must_use]
    pub fn reachable_address(&self) -> Option<Ipv4Addr> {
        (self.network == NetworkKind::Tap).then_some(self.address)
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
