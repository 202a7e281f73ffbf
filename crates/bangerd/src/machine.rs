//! What the hypervisor is given: kernel, initramfs, drives, interfaces, channels, boot args.
//!
//! A pure value. Capabilities add to it; a hypervisor driver turns it into its own configuration.
//! Every path is relative to the machine's folder, which is the hypervisor's working directory; that
//! of a block device is absolute.

use std::path::PathBuf;

use banger_host::{Jailed, Owner};

use crate::vm::shape::Shape;

/// A machine, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Which devices the guest sees, and where.
    pub shape: Shape,
    /// The process name by which it is found again.
    pub name: String,
    /// The folder that all paths are relative to.
    pub directory: PathBuf,
    /// The user that the hypervisor runs as, where that is not the daemon's.
    pub owner: Option<Owner>,
    /// The user that the hypervisor runs as where its files are the daemon's own all the same:
    /// root makes it that user, in a jail.
    pub jailed_as: Option<Owner>,
    /// The systemd scope that it runs in, without `.scope`, where the host has scopes.
    pub scope: Option<String>,
    /// The number of virtual CPUs.
    pub vcpu: u32,
    /// The memory, in MiB.
    pub memory_mib: u64,
    /// The uncompressed kernel.
    pub kernel: String,
    /// Both archives of the initramfs.
    pub initramfs: String,
    /// The kernel's command line, word by word.
    pub boot_args: Vec<String>,
    /// What becomes of a guest's flush of a disk.
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

/// What becomes of a guest's flush of a disk: whether its `fsync` waits for the host's disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DiskCache {
    /// It waits, so what was synced is there after a power cut.
    #[default]
    Writeback,
    /// It does not wait: faster, and for what may be lost.
    Unsafe,
}

/// A disk of the machine: raw, whatever its content looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drive {
    /// What it is, a word.
    pub name: String,
    /// The file, or the device's node.
    pub path: String,
    /// Whether it is a block device of the host, not a file.
    pub block: bool,
    /// Whether the guest may not write it.
    pub read_only: bool,
}

/// A network interface of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its MAC address.
    pub mac: String,
    /// Its largest packet, in bytes.
    pub mtu: u32,
    /// What is behind it.
    pub backend: Backend,
}

/// What is behind a network interface.
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
    /// What root jails it as, where it does.
    #[must_use]
    pub fn jailed(&self) -> Option<Jailed> {
        self.jailed_as.map(|owner| Jailed {
            name: self.name.clone(),
            uid: owner.uid,
        })
    }

    /// The device that the next drive will be in the guest.
    #[must_use]
    pub fn next_device(&self) -> String {
        let letter = b'a' + u8::try_from(self.drives.len()).unwrap_or(25).min(25);
        format!("/dev/vd{}", char::from(letter))
    }
}
