//! What a simulated host holds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::{Exit, GuestTap, JailIdentity, Ledger, Owner, Resolvers};

/// What a simulated host holds at one moment; two that are equal are hosts in the same condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SimState {
    /// Directories, `/` excepted.
    pub directories: BTreeSet<PathBuf>,
    /// Files, by their length and contents.
    pub files: BTreeMap<PathBuf, SimFile>,
    /// Whose files and directories are, and who may use them. What a guest makes has no entry.
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
    /// Interfaces, with whether they forward.
    pub forwarding: BTreeMap<String, bool>,
    /// Those by which the host reaches something; the first has the default route.
    pub ways_out: Vec<String>,
    /// Whether forwarding is on for the host as a whole.
    pub forwards_everywhere: bool,
    /// Where names are asked for.
    pub resolvers: Resolvers,
    /// Which guests hold those interfaces, and whether they forwarded before.
    pub ledger: Ledger,
    /// Whether Docker's chain accepts for a prefix of TAPs.
    pub docker_user: BTreeSet<String>,
    /// Processes that run or have ended, by number.
    pub processes: BTreeMap<u32, SimProcess>,
    /// How many times the host has booted again.
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
    /// What was written to it; holes beyond.
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

/// Who may use a simulated file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimPermission {
    /// Its permission bits.
    pub mode: u32,
    /// The user that it belongs to.
    pub uid: u32,
}

impl SimState {
    /// Who may use a file; one without an entry belongs to `uid`, who alone may.
    pub(super) fn permission(&self, path: &Path, uid: u32) -> SimPermission {
        let own = SimPermission { mode: 0o600, uid };
        self.permissions.get(path).copied().unwrap_or(own)
    }
}

/// A simulated snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimSnapshot {
    /// What it began as.
    pub base: PathBuf,
    /// What keeps what was written.
    pub cow: PathBuf,
    /// Its size in MiB.
    pub size_mib: u64,
    /// Who may use it.
    pub owner: Option<Owner>,
    /// Whether the host's file system was full when it was written to.
    pub given_up: bool,
}

/// A simulated nft table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SimTable {
    /// Which TAP may send from which address.
    pub guests: BTreeSet<(String, Ipv4Addr)>,
    /// The addresses that reach the outside.
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
    /// Where it started.
    pub directory: PathBuf,
    /// Whether it stands still.
    pub stopped: bool,
    /// Whether its machine stands still because a write to a disk found no space.
    pub stalled: bool,
    /// How it ended, if it has.
    pub exit: Option<Exit>,
    /// The jail that it runs in.
    pub jailed: Option<JailIdentity>,
}
