//! Changes that only root makes: interfaces, firewall, forwarding, snapshots.
//!
//! They identify machines by id, never by name: the names of objects on the host follow from the
//! instance, which root knows by itself. So the list is the same in the daemon and on the wire to
//! `banger-root`, which checks every value again.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{MacAddress, MachineId, Owner};

/// A guest's TAP and its filter; the TAP never exists without the filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GuestTap {
    /// The machine that it belongs to, which determines its name.
    pub machine: MachineId,
    /// The user whose VMM may open it.
    pub uid: u32,
    /// The address of the host's side, the guest's gateway; it is a /32 on the TAP.
    pub host_address: Ipv4Addr,
    /// The guest's address. A /32 route leads to it, and it is the only permitted source.
    pub guest_address: Ipv4Addr,
    /// The guest's MAC address, in a permanent neighbour entry, so that no ARP request is sent.
    pub mac: MacAddress,
    /// Its MTU, in bytes.
    pub mtu: u32,
}

/// The files of a snapshot. Messages do not contain these paths: they carry the open files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotFiles {
    /// The initial content, shared by all snapshots over it. An absolute path.
    pub base: PathBuf,
    /// The store of the changes: a file with at least the length of
    /// [`length_mib`](crate::cow::length_mib), empty at first. An absolute path.
    pub cow: PathBuf,
    /// The only user of its device; `None` is the user that we run as.
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
    /// The TAP exists, and is filtered before it is up: the nft table lets it send from the guest's
    /// address only, and two programs on the TAP enforce the important part of that without the
    /// table. One permanent neighbour entry has the guest's MAC. A new TAP forwards nothing;
    /// [`RootOp::ForwardGuest`] changes that.
    MakeTap(GuestTap),
    /// The machine has no TAP.
    RemoveTap {
        /// The machine.
        machine: MachineId,
    },
    /// The nft table exists with all its chains and rules, and lets the machine's TAP send from
    /// this address only.
    AllowGuest {
        /// The machine.
        machine: MachineId,
        /// The one source address that its guest may use.
        address: Ipv4Addr,
    },
    /// The nft table, if it exists, has no element of the machine's TAP; a table without guests is
    /// removed. [`Kind::Busy`](crate::Kind::Busy) while the TAP exists, because it would be up
    /// without its filter.
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
    /// The machine's TAP forwards the IPv4 packets that arrive on it, or does not.
    ForwardGuest {
        /// The machine.
        machine: MachineId,
        /// Whether it forwards.
        on: bool,
    },
    /// Every uplink of the host forwards the IPv4 packets that arrive on it, and the machine holds
    /// it. The host's [`Ledger`](crate::Ledger) records each uplink first, with its old value. An
    /// uplink that did not forward before forwards only to guests of any banger, by the instance's
    /// nft table. Docker's `DOCKER-USER` chain, if it exists, accepts packets from and to the
    /// instance's TAPs. [`Kind::Missing`](crate::Kind::Missing) if the machine has no TAP.
    HoldForwarding {
        /// The machine.
        machine: MachineId,
    },
    /// The machine holds no interface of the host. An interface without a holder has its old value
    /// again, unless forwarding was switched on for the whole host. With the instance's last
    /// machine its rules leave Docker's chain.
    ReleaseForwarding {
        /// The machine.
        machine: MachineId,
    },
    /// The ledger contains the record of an older daemon: these interfaces did not forward before.
    /// `banger-root` adopts its own older record and needs none of a user's, so this op is not part
    /// of a message.
    #[serde(skip)]
    AdoptForwarding {
        /// The names of the interfaces.
        off_before: BTreeSet<String>,
    },
    /// A block device at [`snapshot_node`](crate::snapshot_node) shows the base, zeros behind it up
    /// to its size, and over both the changes in the store. The base is never written. An existing
    /// device grows, and never shrinks.
    MakeSnapshot {
        /// The machine.
        machine: MachineId,
        /// Its size in MiB.
        size_mib: u64,
        /// The base and the store.
        #[serde(skip)]
        files: SnapshotFiles,
    },
    /// Neither the device nor a loop device for its store exists; the base's loop device ends with
    /// its last snapshot. The store keeps its content.
    RemoveSnapshot {
        /// The machine.
        machine: MachineId,
    },
}
