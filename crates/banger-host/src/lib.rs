//! The only crate of banger that changes a host.
//!
//! A host is the Linux machine that banger runs on. Everything that banger does to it is an [`Op`],
//! a typed change that says what is true afterwards, or the start or the signalling of a
//! [`Process`]; everything that banger asks about it is a question of [`Look`].
//!
//! There are two hosts: [`Linux`], the real one, and [`Sim`], a model in memory that can fail
//! or crash at its n-th change. The crate does not know what a VM is.

pub mod archive;
mod claim;
pub mod command;
pub mod cow;
mod detach;
mod elf;
mod error;
mod file_op;

mod instance;
mod kept_port;
mod ledger;
mod linux;
mod look;
mod mac_address;
mod machine_id;
mod op;
mod process;
mod real_path;
mod reservation;
pub mod root;
mod root_folder;
mod root_helper;
mod root_op;
mod sim;
mod subnet;
mod watch;

pub use archive::{PackEntry, UnpackEntry};
pub use claim::Claim;
pub use detach::detach;
pub use error::{Error, Kind, Result};
pub use file_op::FileOp;
pub use instance::Instance;
pub use kept_port::KeptPort;
pub use ledger::{Ledger, LedgerEntry};
pub use linux::Linux;
pub use look::{
    Clocks, Destination, Elements, Finding, Look, Probe, ProcessUsage, Resolvers, Room, Snapshot,
    SnapshotStore, Stat,
};
pub use mac_address::MacAddress;
pub use machine_id::MachineId;
pub use op::{Change, Op, Owner};
pub use process::{Exit, JailIdentity, Mark, Process, Signal, Spawn, Tap};
pub use real_path::real_path;
pub use reservation::reserve;
pub use root_helper::DelegatingLinux;
pub use root_op::{GuestTap, RootOp, SnapshotFiles};
pub use sim::{Sim, SimFile, SimPermission, SimProcess, SimSnapshot, SimState, SimTable};
pub use subnet::Subnet;
pub use watch::{Bytes, Watch, WatchedHost};

/// The name of the machine's folder within a jail that root makes ([`Spawn::jailed`]).
pub const JAILED_FOLDER: &str = "machine";

/// The folder of the programs that root runs: `banger-root`, and the Firecracker and jailer of its
/// jails.
pub const ROOT_PROGRAMS: &str = root::PROGRAMS;

/// The path of a snapshot's block device ([`RootOp::MakeSnapshot`]).
#[must_use]
pub fn snapshot_node(name: &str) -> std::path::PathBuf {
    linux::snapshot_node(name)
}

/// Where the kernel of this host routes packets to an address now.
///
/// # Errors
/// If the kernel does not answer.
pub fn way_to(address: std::net::Ipv4Addr) -> Result<Destination> {
    linux::way_to(address)
}

/// A machine that banger may change.
///
/// Each method that changes something counts as one change for [`Sim`], which can fail or crash at
/// any of them.
pub trait Host: Look {
    /// Applies a change. Idempotent.
    ///
    /// # Errors
    /// If the change is not applied. The op's opposite removes what is half-made then.
    fn change(&self, op: &Op) -> Result<Change> {
        self.change_watched(op, &watch::nobody)
    }

    /// Applies a change, as [`Host::change`] does, and reports the progress of a long one.
    ///
    /// # Errors
    /// As [`Host::change`]; and [`Kind::Cancelled`] if the watch ends it.
    fn change_watched(&self, op: &Op, watch: Watch<'_>) -> Result<Change>;

    /// Starts a program in a session of its own, so that it outlives the daemon.
    ///
    /// # Errors
    /// If the program does not run afterwards.
    fn spawn(&self, spawn: &Spawn) -> Result<Process>;

    /// Signals exactly this process, never another that has its number.
    ///
    /// # Errors
    /// If the signal is refused. For a process that has ended the result is [`Change::Already`].
    fn signal(&self, process: &Process, signal: Signal) -> Result<Change>;
}
