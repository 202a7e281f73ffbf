//! The questions to a host, which change nothing.

mod ask_field;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Exit, GuestTap, Instance, Mark, Process, Result, Subnet};

pub(crate) use ask_field::{ask_field, ask_field_without_privileges};

/// The questions to a host; none of them changes it.
pub trait Look: Send + Sync + fmt::Debug {
    /// The bytes of a file, or `None` if it does not exist.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>>;

    /// At most `limit` bytes of a file from `offset` on; empty at its end, or if it does not exist.
    fn read_at(&self, path: &Path, offset: u64, limit: usize) -> Result<Vec<u8>>;

    /// The names in a directory, sorted; none if it does not exist.
    fn list(&self, directory: &Path) -> Result<Vec<String>>;

    /// The size and the owner of a file or directory, or `None` if it does not exist.
    fn stat(&self, path: &Path) -> Result<Option<Stat>>;

    /// Whether exactly this process still runs. A zombie does not.
    fn is_alive(&self, process: &Process) -> bool;

    /// The running processes of a machine: those of its own user, those in its units, and those of
    /// our user that run its program under its name. Other users' processes never count by their
    /// name alone.
    fn find_processes(&self, mark: &Mark) -> Result<Vec<Process>>;

    /// The running hypervisors of an instance, with their names: processes of our user or of the
    /// instance's own users that run one of these programs under such a name.
    fn find_machines(
        &self,
        instance: Instance,
        programs: &[PathBuf],
    ) -> Result<Vec<(String, Process)>>;

    /// Waits until one of these has ended or the time is up, and returns those that have ended.
    fn wait_any(&self, processes: &[Process], timeout: Duration) -> Vec<Process>;

    /// The resource usage of exactly this process, or `None` if it has ended.
    fn usage(&self, process: &Process) -> Result<Option<ProcessUsage>>;

    /// The exit of a process, if it is a child of ours that has ended.
    fn exit_of(&self, process: &Process) -> Option<Exit>;

    /// The interfaces whose names have this prefix, sorted.
    fn interfaces(&self, prefix: &str) -> Result<Vec<String>>;

    /// Whether the nft table exists, is complete, and has all of these guests (TAP and address) and
    /// NAT addresses.
    fn firewall_holds(
        &self,
        table: &str,
        guests: &[(String, Ipv4Addr)],
        nat: &[Ipv4Addr],
    ) -> Result<bool>;

    /// The elements of the nft table; none if the table does not exist.
    fn firewall_elements(&self, table: &str) -> Result<Elements>;

    /// Whether the uplinks of the host are as
    /// [`RootOp::HoldForwarding`](crate::RootOp::HoldForwarding) leaves them for the machines of
    /// this instance. The state of Docker's chain may be three seconds old.
    fn forwarding_holds(&self, instance: Instance) -> Result<bool>;

    /// Whether an interface forwards IPv4, or `None` if it does not exist.
    fn forwarding(&self, interface: &str) -> Result<Option<bool>>;

    /// Whether forwarding is on for the host as a whole.
    fn forwards_everywhere(&self) -> Result<bool>;

    /// Whether the TAP exists as [`RootOp::MakeTap`](crate::RootOp::MakeTap) makes it: its owner,
    /// link, address, route, neighbour entry and programs. [`Look::firewall_holds`] answers for the
    /// nft table.
    fn tap_holds(&self, instance: Instance, tap: &GuestTap) -> Result<bool>;

    /// The interface of the current default route, if there is one.
    fn uplink(&self) -> Result<Option<String>>;

    /// The uplinks: every interface with a route except loopback and TAPs, sorted.
    fn ways_out(&self) -> Result<Vec<String>>;

    /// The host's resolvers that a guest can reach, and its search domains.
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

    /// The number of CPUs that this process may use.
    fn cpus(&self) -> u32;

    /// The free space of the file system that holds `directory`, in MiB.
    fn free_mib(&self, directory: &Path) -> Result<u64>;

    /// How full the file system that holds `directory` is, and how much data is still unwritten.
    fn room(&self, directory: &Path) -> Result<Room>;

    /// The longest file that the file system of `directory` and our own limits allow, in bytes.
    fn largest_file(&self, directory: &Path) -> Result<u64>;

    /// The bytes of the file that other files share with it (reflinks), or `None` if the file
    /// system does not report them, or only after a long search.
    fn shared(&self, path: &Path) -> Result<Option<u64>>;

    /// The snapshot of this name ([`RootOp::MakeSnapshot`](crate::RootOp::MakeSnapshot)), if it
    /// exists.
    fn snapshot(&self, name: &str) -> Result<Option<Snapshot>>;

    /// The names of the snapshots with this prefix, sorted; incomplete ones count.
    fn snapshots(&self, prefix: &str) -> Result<Vec<String>>;

    /// Whether exactly this process is stopped, as by SIGSTOP.
    fn is_stopped(&self, process: &Process) -> bool;

    /// The three clocks, read together.
    fn clocks(&self) -> Clocks;

    /// The id of the host's current boot.
    fn boot_id(&self) -> Result<String>;

    /// The user that this process runs as.
    fn uid(&self) -> u32;

    /// Tests whether the host can do something.
    fn probe(&self, probe: &Probe) -> Finding;
}

/// The destination that the host routes packets of an address to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The host itself, or every host on a network of its own.
    Host,
    /// A VM, by its TAP.
    Vm,
    /// Another machine.
    Outside,
    /// No destination: there is no route.
    Nowhere,
}

/// The name servers and search domains of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolvers {
    /// The servers that a guest can reach; no address of the host itself is among them.
    pub servers: Vec<IpAddr>,
    /// The search domains for short names.
    pub search: Vec<String>,
    /// The servers that the host uses and no guest can reach.
    pub out_of_reach: Vec<IpAddr>,
}

/// The content of an nft table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elements {
    /// The TAPs, each with the address that it may send from.
    pub guests: BTreeSet<(String, Ipv4Addr)>,
    /// The addresses that have NAT.
    pub nat: BTreeSet<Ipv4Addr>,
}

impl Elements {
    /// The number of elements.
    #[must_use]
    pub fn count(&self) -> usize {
        self.guests.len() + self.nat.len()
    }
}

/// The size and the owner of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Its length in bytes, including holes.
    pub length: u64,
    /// The bytes that it takes on the disk.
    pub allocated: u64,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// The user that it belongs to.
    pub uid: u32,
}

/// The resource usage of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessUsage {
    /// The CPU time of all its threads, in milliseconds.
    pub cpu_millis: u64,
    /// Its resident memory in bytes, including all shared pages.
    pub resident_bytes: u64,
    /// Its memory with its share of shared pages (PSS), if we may read it.
    pub pss_bytes: Option<u64>,
}

/// How full a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Its size, in MiB.
    pub size_mib: u64,
    /// Its free space, in MiB.
    pub free_mib: u64,
    /// The data that programs have written and the host has not brought to its disks yet, over all
    /// file systems and devices, in MiB. Some of it may still need space here.
    pub unwritten_mib: u64,
}

/// The state of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Its size in MiB; 0 if it is incomplete.
    pub size_mib: u64,
    /// The state of its store.
    pub store: SnapshotStore,
}

/// The state of a snapshot's store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum SnapshotStore {
    /// The store is valid.
    Used {
        /// The used sectors of 512 bytes.
        sectors: u64,
        /// All of its sectors.
        of: u64,
        /// The sectors used for metadata.
        metadata: u64,
    },
    /// The store is full: a write that needs more space fails.
    Overflow,
    /// The kernel has invalidated it, or it is incomplete: all I/O fails.
    Invalid,
}

/// The host's clocks, each since its own zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// Since 1970-01-01 UTC.
    pub realtime: Duration,
    /// Since boot, excluding suspend.
    pub monotonic: Duration,
    /// Since boot, including suspend.
    pub boottime: Duration,
}

/// An ability of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// `/dev/kvm` opens for us, and the CPU has vmx or svm.
    Kvm,
    /// The program exists, in at least this version (`major.minor`).
    Program {
        /// Its name, looked up in the system's own directories, or an absolute path.
        name: String,
        /// The argument that prints its version.
        version_argument: String,
        /// The minimum version.
        least: (u32, u32),
        /// The Debian package that contains it.
        package: String,
    },
    /// The file is a program for this machine's processor, in at least this version.
    Binary {
        /// Its absolute path.
        path: PathBuf,
        /// The argument that prints its version.
        version_argument: String,
        /// The minimum version (`major.minor.patch`).
        least: (u32, u32, u32),
        /// What is wrong with older ones.
        why: String,
        /// How to get a newer one.
        hint: String,
    },
    /// We can make a TAP and an nft table.
    Network,
    /// The kernel has device-mapper snapshots and loop devices, and we may use them.
    Snapshot,
    /// Files in this directory can share blocks, tested with a real FICLONE.
    Reflink {
        /// The state directory.
        directory: PathBuf,
    },
    /// No route of the host overlaps the network, except those of our own TAPs.
    SubnetFree {
        /// The network for guests.
        subnet: Subnet,
        /// The prefix of the names of our TAPs.
        tap_prefix: String,
    },
    /// No other firewall drops packets that we forward.
    ForwardedPackets {
        /// The prefix of the names of our TAPs.
        tap_prefix: String,
    },
    /// The address can be bound for UDP and TCP, or is ours already.
    Port {
        /// The address on loopback.
        address: std::net::SocketAddrV4,
    },
    /// Firecracker's jailer can jail it in this directory. Both programs have the same version and
    /// are static; they, the directory and the folders above it are writable by root only.
    Jail {
        /// The directory of the jails.
        directory: PathBuf,
        /// Firecracker, an absolute path.
        firecracker: PathBuf,
        /// The jailer, an absolute path.
        jailer: PathBuf,
    },
    /// A child can be started in a systemd scope that outlives a logout, tested with one.
    Scopes,
    /// The file system that holds the directory has this much free space.
    Space {
        /// The state directory.
        directory: PathBuf,
        /// The minimum, in MiB.
        least_mib: u64,
    },
}

/// The outcome of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Finding {
    /// It works.
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
