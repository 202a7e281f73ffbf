//! Changes that only root makes: interfaces, firewall, forwarding, snapshots.
//!
//! They name machines by their ids, and nothing by a name: what a thing is called on the host
//! follows from the instance, which root knows by itself. So the list is the same in the daemon and
//! on the wire to `banger-root`, which judges every value again.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{MacAddress, MachineId, Owner};

/// A guest's TAP, with the filter that it is never without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GuestTap {
    /// The machine that it belongs to, which gives it its name.
    pub machine: MachineId,
    /// The user whose VMM may open it.
    pub uid: u32,
    /// The host's side, the guest's gateway; the TAP has it as a /32.
    pub host_address: Ipv4Addr,
    /// The guest's address: a /32 route leads to it, and no other may be a packet's source.
    pub guest_address: Ipv4Addr,
    /// The guest's MAC address: a permanent neighbour entry has it, so no ARP request is sent.
    pub mac: MacAddress,
    /// Its largest packet, in bytes.
    pub mtu: u32,
}

/// The files of a snapshot. They cross no wire by their names: there they are handed over, open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotFiles {
    /// What the snapshot begins as; shared by all snapshots over it. An absolute path.
    pub base: PathBuf,
    /// What is written to it: a file at least [`length_mib`](crate::cow::length_mib) long, empty at
    /// first. An absolute path.
    pub cow: PathBuf,
    /// Who alone may use it; `None` is the user that we run as.
    pub owner: Option<Owner>,
}

/// One change that only root makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum RootOp {
    /// The TAP exists, filtered before it is up: the nft table lets it send from the guest's address
    /// only, and two programs on the TAP itself keep what matters of that when the table is gone. One
    /// permanent neighbour entry says who is behind it. A new TAP forwards nothing;
    /// [`RootOp::ForwardGuest`] changes that.
    MakeTap(GuestTap),
    /// The machine has no TAP.
    RemoveTap {
        /// The machine.
        machine: MachineId,
    },
    /// The nft table exists with all its chains and rules, and lets the machine's TAP send from this
    /// address only.
    AllowGuest {
        /// The machine.
        machine: MachineId,
        /// The one source address that its guest may use.
        address: Ipv4Addr,
    },
    /// The nft table, if it exists, knows nothing of the machine's TAP; a table without any guest is
    /// gone. [`Kind::Busy`](crate::Kind::Busy) while the TAP exists: it would be up without its
    /// filter.
    ForbidGuest {
        /// The machine.
        machine: MachineId,
        /// Its guest's address.
        address: Ipv4Addr,
    },
    /// The nft table, which exists with all its rules, forwards and masquerades what this address
    /// sends.
    AllowNat {
        /// The guest's address.
        address: Ipv4Addr,
    },
    /// The nft table, if it exists, forwards nothing that this address sends.
    ForbidNat {
        /// The guest's address.
        address: Ipv4Addr,
    },
    /// The machine's TAP forwards IPv4 packets that arrive on it, or does not.
    ForwardGuest {
        /// The machine.
        machine: MachineId,
        /// Whether it forwards.
        on: bool,
    },
    /// Every interface by which the host reaches something forwards IPv4 packets that arrive on it,
    /// and the machine holds it. Each is recorded with its old value in the host's one
    /// [`Ledger`](crate::Ledger) first. What did not forward before forwards to guests of any banger
    /// only, by the instance's nft table. Docker, where it has a `DOCKER-USER` chain, accepts what
    /// goes from and to the instance's TAPs. [`Kind::Missing`](crate::Kind::Missing) where the
    /// machine has no TAP.
    HoldForwarding {
        /// The machine.
        machine: MachineId,
    },
    /// The machine holds no interface of the host. One that no machine holds any more has its old value
    /// back, unless forwarding was switched on for the host as a whole. With the instance's last
    /// machine its rules leave Docker's chain.
    ReleaseForwarding {
        /// The machine.
        machine: MachineId,
    },
    /// The ledger has what an older daemon recorded by itself: these interfaces did not forward
    /// before. `banger-root` adopts its own older record and needs none of a user's, so this does
    /// not cross the wire.
    #[serde(skip)]
    AdoptForwarding {
        /// The names of the interfaces.
        off_before: BTreeSet<String>,
    },
    /// A block device at [`snapshot_node`](crate::snapshot_node) shows the base, zeros behind it up
    /// to its size, and over both what was written to it, which the store keeps. The base is never
    /// written. One that is there grows, and never shrinks.
    MakeSnapshot {
        /// The machine.
        machine: MachineId,
        /// Its size in MiB.
        size_mib: u64,
        /// The base and the store.
        #[serde(skip)]
        files: SnapshotFiles,
    },
    /// No such device exists, nor a loop device of its own; the base's goes with its last snapshot.
    /// What was written stays in the store.
    RemoveSnapshot {
        /// The machine.
        machine: MachineId,
    },
}
