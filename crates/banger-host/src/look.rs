//! What can be asked of a host without changing it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Exit, GuestTap, Instance, Mark, Process, Result, Subnet};

/// Questions to a host; none changes it.
pub trait Look: Send + Sync + fmt::Debug {
    /// The file's bytes, or `None` where there is no such file.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>>;

    /// At most `limit` bytes of the file from `offset` on; empty at its end, and when it is absent.
    fn read_at(&self, path: &Path, offset: u64, limit: usize) -> Result<Vec<u8>>;

    /// The names in a directory, sorted; none where there is no such directory.
    fn list(&self, directory: &Path) -> Result<Vec<String>>;

    /// The size and the owner of a file or directory, or `None` where there is none.
    fn stat(&self, path: &Path) -> Result<Option<Stat>>;

    /// Whether this very process still runs. A zombie does not.
    fn is_alive(&self, process: &Process) -> bool;

    /// The running processes of a machine: those of its own user, of its units, and those of ours
    /// that run its program by its name. What others call theirs makes no difference.
    fn find_processes(&self, mark: &Mark) -> Result<Vec<Process>>;

    /// Waits until one of these is gone or the time is up, and returns those that are gone.
    fn wait_any(&self, processes: &[Process], timeout: Duration) -> Vec<Process>;

    /// What this very process has used, or `None` where it is gone.
    fn usage(&self, process: &Process) -> Result<Option<ProcessUsage>>;

    /// How a child ended, if the process was one and has.
    fn exit_of(&self, process: &Process) -> Option<Exit>;

    /// The interfaces whose names begin so, sorted.
    fn interfaces(&self, prefix: &str) -> Result<Vec<String>>;

    /// Whether the nft table exists, is whole and has every one of these guests (TAP and address)
    /// and NAT addresses.
    fn firewall_holds(
        &self,
        table: &str,
        guests: &[(String, Ipv4Addr)],
        nat: &[Ipv4Addr],
    ) -> Result<bool>;

    /// The elements of the nft table; none where there is no such table.
    fn firewall_elements(&self, table: &str) -> Result<Elements>;

    /// Whether the interfaces by which the host reaches something are as
    /// [`RootOp::HoldForwarding`](crate::RootOp::HoldForwarding) makes them for the machines of this
    /// instance. What Docker's chain has may be three seconds old.
    fn forwarding_holds(&self, instance: Instance) -> Result<bool>;

    /// Whether an interface forwards IPv4, or `None` where there is no such interface.
    fn forwarding(&self, interface: &str) -> Result<Option<bool>>;

    /// Whether forwarding is on for the host as a whole.
    fn forwards_everywhere(&self) -> Result<bool>;

    /// Whether the TAP is there as [`RootOp::MakeTap`](crate::RootOp::MakeTap) makes it: its owner,
    /// link, address, route, neighbour entry and programs. The nft table is asked for by
    /// [`Look::firewall_holds`].
    fn tap_holds(&self, instance: Instance, tap: &GuestTap) -> Result<bool>;

    /// The interface of the current default route, if there is one.
    fn uplink(&self) -> Result<Option<String>>;

    /// Every interface by which the host reaches something, sorted: loopback and guests excepted.
    fn ways_out(&self) -> Result<Vec<String>>;

    /// The resolvers that the host uses, as far as a guest can, and its search domains.
    fn resolvers(&self) -> Result<Resolvers>;

    /// Whether this is an address of the host itself, loopback or not.
    fn is_own_address(&self, address: IpAddr) -> Result<bool>;

    /// A free TCP port on 127.0.0.1: `wanted` if it is free.
    fn free_port(&self, wanted: Option<u16>) -> Result<u16>;

    /// The host's memory in MiB.
    fn memory_mib(&self) -> Result<u64>;

    /// The memory in MiB that programs can still get without swapping.
    fn free_memory_mib(&self) -> Result<u64>;

    /// The load average of the last 1, 5 and 15 minutes.
    fn load(&self) -> Result<[f64; 3]>;

    /// The host's name.
    fn name(&self) -> String;

    /// The number of CPUs that we may use.
    fn cpus(&self) -> u32;

    /// The free space of the file system that holds `directory`, in MiB.
    fn free_mib(&self, directory: &Path) -> Result<u64>;

    /// How full the file system that holds `directory` is, and what may yet come upon it.
    fn room(&self, directory: &Path) -> Result<Room>;

    /// The longest file that the file system of `directory`, and our own limits, take: in bytes.
    fn largest_file(&self, directory: &Path) -> Result<u64>;

    /// The bytes of the file that other files share with it (reflinks), or `None` where the file
    /// system does not tell, or only after a long search.
    fn shared(&self, path: &Path) -> Result<Option<u64>>;

    /// The snapshot of this name ([`RootOp::MakeSnapshot`](crate::RootOp::MakeSnapshot)), if it is
    /// there.
    fn snapshot(&self, name: &str) -> Result<Option<Snapshot>>;

    /// The names of the snapshots that begin so, half-made ones too, sorted.
    fn snapshots(&self, prefix: &str) -> Result<Vec<String>>;

    /// Whether this very process stands still, as SIGSTOP makes it.
    fn is_stopped(&self, process: &Process) -> bool;

    /// The three clocks, read together.
    fn clocks(&self) -> Clocks;

    /// The id of the host's current boot.
    fn boot_id(&self) -> Result<String>;

    /// The user that we run as.
    fn uid(&self) -> u32;

    /// Looks whether the host can do something, and says what it found.
    fn probe(&self, probe: &Probe) -> Finding;
}

/// Where the host routes packets to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// To itself, or to everybody near it.
    Host,
    /// To a VM's TAP.
    Vm,
    /// To another machine.
    Outside,
    /// It has no route.
    Nowhere,
}

/// Where names are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolvers {
    /// The servers that a guest reaches: none of the host's own addresses is among them.
    pub servers: Vec<IpAddr>,
    /// The domains in which short names are looked for.
    pub search: Vec<String>,
    /// The servers that the host asks and no guest reaches.
    pub out_of_reach: Vec<IpAddr>,
}

/// The content of an nft table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elements {
    /// Which TAP may send from which address.
    pub guests: BTreeSet<(String, Ipv4Addr)>,
    /// The addresses that are let out.
    pub nat: BTreeSet<Ipv4Addr>,
}

impl Elements {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.guests.len() + self.nat.len()
    }
}

/// How large a file is, and whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Its length in bytes, holes included.
    pub length: u64,
    /// The bytes that it takes on the disk.
    pub allocated: u64,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// The user that it belongs to.
    pub uid: u32,
}

/// What a process has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessUsage {
    /// The time of all its threads on CPUs, in milliseconds.
    pub cpu_millis: u64,
    /// Its memory, in bytes, with all of what it shares.
    pub resident_bytes: u64,
    /// Its memory with its part of what it shares (PSS), where we may see that.
    pub pss_bytes: Option<u64>,
}

/// How full a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// All of it, in MiB.
    pub size_mib: u64,
    /// What is free, in MiB.
    pub free_mib: u64,
    /// What programs have written and the host has not brought to its disks yet, of all file
    /// systems and devices, in MiB: some of it may still need room here.
    pub unwritten_mib: u64,
}

/// A snapshot as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Its size in MiB; 0 where it is half-made.
    pub size_mib: u64,
    /// What its store is like.
    pub store: SnapshotStore,
}

/// What the store of a snapshot is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum SnapshotStore {
    /// All is well.
    Used {
        /// The sectors of 512 bytes that are in use.
        sectors: u64,
        /// All of them.
        of: u64,
        /// Those that are in use for metadata.
        metadata: u64,
    },
    /// It is full: what would need more is refused.
    Overflow,
    /// The kernel has given it up, or it is half-made: all of its I/O is refused.
    Invalid,
}

/// The host's clocks, each since its own zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// Since 1970-01-01 UTC.
    pub realtime: Duration,
    /// Since boot, without the time that the host slept.
    pub monotonic: Duration,
    /// Since boot, with it.
    pub boottime: Duration,
}

/// Something that a host may or may not be able to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// `/dev/kvm` opens for us and the CPU has vmx or svm.
    Kvm,
    /// The program is there and at least of this version (`major.minor`).
    Program {
        /// Its name, looked up in the system's own directories, or an absolute path.
        name: String,
        /// The argument that prints its version.
        version_argument: String,
        /// The least version.
        least: (u32, u32),
        /// The Debian package that it comes in.
        package: String,
    },
    /// The file is a program for this machine's processor, and at least of this version.
    Binary {
        /// Its absolute path.
        path: PathBuf,
        /// The argument that prints its version.
        version_argument: String,
        /// The least version (`major.minor.patch`).
        least: (u32, u32, u32),
        /// What is wrong with older ones.
        why: String,
        /// How to get one.
        hint: String,
    },
    /// We can make a TAP and an nft table.
    Network,
    /// The kernel has device-mapper's snapshots and loop devices, and we may use them.
    Snapshot,
    /// Files in this directory can share blocks: tried with a real FICLONE.
    Reflink {
        /// The state directory.
        directory: PathBuf,
    },
    /// No route of the host but those of our own TAPs overlaps the network.
    SubnetFree {
        /// The network for guests.
        subnet: Subnet,
        /// What the names of our TAPs begin with.
        tap_prefix: String,
    },
    /// No other firewall drops what we forward.
    ForwardedPackets {
        /// What the names of our TAPs begin with.
        tap_prefix: String,
    },
    /// The address can be bound, UDP and TCP, or is ours already.
    Port {
        /// The address on loopback.
        address: std::net::SocketAddrV4,
    },
    /// Firecracker's jailer can jail it in this directory: both are of one version, static, and
    /// root's alone, and so is the directory with all above it.
    Jail {
        /// Where the jails are made.
        directory: PathBuf,
        /// Firecracker, an absolute path.
        firecracker: PathBuf,
        /// The jailer, an absolute path.
        jailer: PathBuf,
    },
    /// A child can be started in a systemd scope that outlives a logout: tried with one.
    Scopes,
    /// The file system that holds the directory has this much free.
    Space {
        /// The state directory.
        directory: PathBuf,
        /// The least, in MiB.
        least_mib: u64,
    },
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Finding {
    /// All is well.
    Good(String),
    /// It works, with a drawback.
    Doubtful {
        /// What was found.
        found: String,
        /// A command to type, or a fact to check.
        hint: String,
    },
    /// It does not work.
    Bad {
        /// What was found.
        found: String,
        /// A command to type, or a fact to check.
        hint: String,
    },
}
