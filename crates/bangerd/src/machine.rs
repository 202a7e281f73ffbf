//! The machine that a hypervisor runs: kernel, initramfs, drives, interfaces, channel, boot args.
//!
//! A pure value. Capabilities add to it, and a hypervisor driver renders it. Paths are relative to
//! the machine's folder, the hypervisor's working directory; the path of a block device is
//! absolute.

use std::path::PathBuf;

use banger_host::{JailIdentity, Owner};

use crate::vm::Vm;
use crate::vm::shape::Shape;

/// A complete machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The devices that the guest sees, and their addresses.
    pub shape: Shape,
    /// The name by which its process is found.
    pub name: String,
    /// The folder that paths are relative to.
    pub directory: PathBuf,
    /// The user of the hypervisor, unless it is the daemon's.
    pub owner: Option<Owner>,
    /// The user that the hypervisor runs as in a jail of the root helper, although its files are
    /// the daemon's.
    pub jailed_as: Option<Owner>,
    /// The name of its systemd scope without `.scope`, if the host has scopes.
    pub scope: Option<String>,
    /// The number of virtual CPUs.
    pub vcpu: u32,
    /// The memory, in MiB.
    pub memory_mib: u64,
    /// The uncompressed kernel.
    pub kernel: String,
    /// Both archives of the initramfs.
    pub initramfs: String,
    /// The words of the kernel's command line.
    pub boot_args: Vec<String>,
    /// The effect of a guest's flush.
    pub disk_cache: DiskCache,
    /// Disks, in the order that the guest sees them (`vda`, `vdb` …).
    pub drives: Vec<Drive>,
    /// Network interfaces, in the order that the guest sees them (`eth0` …).
    pub interfaces: Vec<Interface>,
    /// The socket of the channel to the guest's agent.
    pub channel: String,
    /// The file that the console is appended to.
    pub console: String,
}

/// The effect of a guest's flush: whether its `fsync` waits for the host's disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DiskCache {
    /// It waits; synced data survives a power cut.
    #[default]
    Writeback,
    /// It returns at once; synced data may be lost.
    Unsafe,
}

impl DiskCache {
    /// The name of the value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Writeback => "writeback",
            Self::Unsafe => "unsafe",
        }
    }
}

/// A raw disk; its format is never probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drive {
    /// Its name, one word.
    pub name: String,
    /// The file, or the node of the device.
    pub path: String,
    /// Whether it is a block device of the host rather than a file.
    pub block: bool,
    /// Whether it is read-only to the guest.
    pub read_only: bool,
}

/// A network interface of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its MAC address.
    pub mac: String,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// The host's side.
    pub backend: Backend,
}

/// The host's side of a network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A TAP of the host.
    Tap {
        /// Its name.
        name: String,
    },
    /// QEMU's user networking, behind the [gate](crate::gate).
    User {
        /// The port on 127.0.0.1 that leads to the guest's port 22.
        ssh_port: u16,
    },
}

impl Machine {
    /// The machine of a VM, before capabilities add to it.
    #[must_use]
    pub fn new(vm: &Vm, name: String, directory: PathBuf) -> Self {
        Self {
            shape: vm.shape.clone(),
            name,
            directory,
            owner: vm.owner,
            jailed_as: vm.jailed_as(),
            scope: None,
            vcpu: vm.spec.vcpu,
            memory_mib: vm.spec.memory.0,
            kernel: String::new(),
            initramfs: String::new(),
            boot_args: Vec::new(),
            disk_cache: DiskCache::Writeback,
            drives: Vec::new(),
            interfaces: Vec::new(),
            channel: String::new(),
            console: String::new(),
        }
    }

    /// The jail that the root helper runs it in, if any.
    #[must_use]
    pub fn jailed(&self) -> Option<JailIdentity> {
        self.jailed_as.map(|owner| JailIdentity {
            name: self.name.clone(),
            uid: owner.uid,
        })
    }
}
