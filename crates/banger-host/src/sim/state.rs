//! The state of a simulated host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::{Exit, GuestTap, JailIdentity, Ledger, Owner, Resolvers};

/// The state of a simulated host at one moment; equal states are hosts in the same condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SimState {
    /// The directories, except `/`.
    pub directories: BTreeSet<PathBuf>,
    /// The files, with their lengths and contents.
    pub files: BTreeMap<PathBuf, SimFile>,
    /// The owners and modes of files and directories. A file that a guest makes has no entry.
    pub permissions: BTreeMap<PathBuf, SimPermission>,
    /// Snapshots, by name.
    pub snapshots: BTreeMap<String, SimSnapshot>,
    /// Loop devices, by the file behind them, with the snapshots that use them.
    pub loops: BTreeMap<PathBuf, BTreeSet<String>>,
    /// TAPs, by name, as they were made.
    pub taps: BTreeMap<String, GuestTap>,
    /// Tables, by name.
    pub tables: BTreeMap<String, SimTable>,
    /// TAPs whose link, address, route, neighbour or programs were changed from outside.
    pub harmed_taps: BTreeSet<String>,
    /// Interfaces, each with whether it forwards.
    pub forwarding: BTreeMap<String, bool>,
    /// The uplinks; the first has the default route.
    pub ways_out: Vec<String>,
    /// Whether forwarding is on for the host as a whole.
    pub forwards_everywhere: bool,
    /// The name servers and search domains.
    pub resolvers: Resolvers,
    /// The ledger of forwarding.
    pub ledger: Ledger,
    /// The prefixes of TAPs that Docker's chain accepts.
    pub docker_user: BTreeSet<String>,
    /// Running and ended processes, by number.
    pub processes: BTreeMap<u32, SimProcess>,
    /// The number of reboots.
    pub reboots: u32,
}

impl SimState {
    /// The kernel's boot id.
    pub(super) fn boot_id(&self) -> String {
        match self.reboots {
            0 => "sim".to_owned(),
            times => format!("sim-{times}"),
        }
    }
}

/// A simulated file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SimFile {
    /// Its length in bytes.
    pub length: u64,
    /// Its written bytes; the rest is a hole.
    pub contents: Vec<u8>,
    /// Where the hole at its beginning ends, in bytes.
    pub hole: u64,
}

impl SimFile {
    /// A file with these contents, and no holes.
    #[must_use]
    pub fn of(contents: Vec<u8>) -> Self {
        Self {
            length: contents.len() as u64,
            contents,
            hole: 0,
        }
    }

    /// The bytes that it takes on the disk.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        (self.contents.len() as u64).saturating_sub(self.hole)
    }
}

/// The owner and the mode of a simulated file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimPermission {
    /// Its permission bits.
    pub mode: u32,
    /// The user that it belongs to.
    pub uid: u32,
}

impl SimState {
    /// The permissions of a file; without an entry it belongs to `uid` alone.
    pub(super) fn permission(&self, path: &Path, uid: u32) -> SimPermission {
        let own = SimPermission { mode: 0o600, uid };
        self.permissions.get(path).copied().unwrap_or(own)
    }
}

/// A simulated snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimSnapshot {
    /// The path of its base.
    pub base: PathBuf,
    /// The path of its store.
    pub cow: PathBuf,
    /// Its size in MiB.
    pub size_mib: u64,
    /// Its only user.
    pub owner: Option<Owner>,
    /// Whether it was written to while the host's file system was full.
    pub given_up: bool,
}

/// A simulated nft table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SimTable {
    /// The TAPs, each with the address that it may send from.
    pub guests: BTreeSet<(String, Ipv4Addr)>,
    /// The addresses with NAT.
    pub nat: BTreeSet<Ipv4Addr>,
    /// The interfaces that forward to guests only.
    pub lent: BTreeSet<String>,
}

/// A simulated process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SimProcess {
    /// Its program.
    pub program: PathBuf,
    /// The user that it runs as; `None` is the daemon's.
    pub user: Option<u32>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its working directory.
    pub directory: PathBuf,
    /// Whether it is stopped by a signal.
    pub stopped: bool,
    /// Whether its machine is stalled because a write to a disk found no space.
    pub stalled: bool,
    /// Its exit, if it has ended.
    pub exit: Option<Exit>,
    /// The jail that it runs in.
    pub jailed: Option<JailIdentity>,
}
