//! The quotas of one user through root.
//!
//! These objects are kernel memory, which a user's limits and cgroups do not account for.
//!
//! | object | quota | use of one VM |
//! |---|---|---|
//! | TAPs | [`TAPS`] | one |
//! | snapshots, each with up to two loop devices | [`SNAPSHOTS`] | one |
//! | kernel memory for the stores of all snapshots | a quarter of the host's memory | 1/512 of its disk's size |
//! | elements of the firewall | [`ELEMENTS`] | two |
//! | entries of the ledger of forwarding, each for a TAP | [`TAPS`] | one for each uplink of the host |
//! | jails, each with a tmpfs of up to 64 MiB | [`JAILS`] | one |

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::cow;
use crate::linux::children;
use crate::linux::snapshot::{self, SnapshotSpec};
use crate::{Claim, Error, Host, Kind, MachineId, Result, RootOp};

/// The maximum number of TAPs.
pub(super) const TAPS: usize = 512;

/// The maximum number of snapshots.
pub(super) const SNAPSHOTS: usize = 512;

/// The maximum number of elements of the firewall: guests, and addresses with NAT.
pub(super) const ELEMENTS: usize = 1024;

/// The maximum number of jails.
pub(super) const JAILS: usize = 512;

/// The divisor of the host's memory that yields the part for stores.
const MEMORY_SHARE: u64 = 4;

fn exceeded(quota: &str, is: impl std::fmt::Display, most: impl std::fmt::Display) -> Error {
    let text = format!("the quota of {quota} for one user is {most}, and this would be {is}");
    Error::new(Kind::Denied, text).hint("stop a VM that is not needed: banger vm list")
}

fn need_below(quota: &str, count: usize, most: usize) -> Result<()> {
    if count < most {
        return Ok(());
    }
    Err(exceeded(quota, count + 1, most))
}

/// Rejects a change beyond the user's quota. An existing object may be made again.
pub(super) fn change(op: &RootOp, claim: &Claim, host: &dyn Host) -> Result<()> {
    match op {
        RootOp::MakeTap(tap) => {
            let taps = host.interfaces(&claim.instance().tap_prefix())?;
            if !taps.contains(&claim.instance().tap(tap.machine)) {
                need_below("TAPs", taps.len(), TAPS)?;
            }
            guest(tap.machine, tap.guest_address, claim, host)
        }
        RootOp::AllowGuest { machine, address } => guest(*machine, *address, claim, host),
        RootOp::AllowNat { address } => {
            let elements = host.firewall_elements(&claim.instance().table())?;
            if elements.nat.contains(address) {
                return Ok(());
            }
            need_below("firewall elements", elements.count(), ELEMENTS)
        }
        // Snapshots are counted with their files; a removal or a switch needs no quota.
        RootOp::RemoveTap { .. }
        | RootOp::ForbidGuest { .. }
        | RootOp::ForbidNat { .. }
        | RootOp::ForwardGuest { .. }
        | RootOp::HoldForwarding { .. }
        | RootOp::ReleaseForwarding { .. }
        | RootOp::AdoptForwarding { .. }
        | RootOp::MakeSnapshot { .. }
        | RootOp::RemoveSnapshot { .. } => Ok(()),
    }
}

fn guest(machine: MachineId, address: Ipv4Addr, claim: &Claim, host: &dyn Host) -> Result<()> {
    let elements = host.firewall_elements(&claim.instance().table())?;
    let tap = claim.instance().tap(machine);
    if elements.guests.contains(&(tap, address)) {
        return Ok(());
    }
    need_below("firewall elements", elements.count(), ELEMENTS)
}

/// Rejects a snapshot beyond the user's quota of snapshots or of memory.
pub(super) fn snapshot(wanted: &SnapshotSpec, claim: &Claim, host: &dyn Host) -> Result<()> {
    let mut names = host.snapshots(&claim.instance().name_prefix())?;
    names.retain(|name| *name != wanted.name);
    need_below("snapshots", names.len(), SNAPSHOTS)?;
    let mut bytes = snapshot::memory_of_store(wanted)?;
    for name in &names {
        bytes = bytes.saturating_add(snapshot::memory(name)?);
    }
    let most = host.memory_mib()? / MEMORY_SHARE;
    let mib = bytes.div_ceil(1 << 20);
    if mib <= most {
        return Ok(());
    }
    let describe = |mib: u64| format!("{mib} MiB");
    let quota = "kernel memory for the stores of snapshots";
    let disks = (most << 20) / cow::MEMORY_OF_A_MIB;
    Err(exceeded(quota, describe(mib), describe(most)).hint(format!(
        "all disks on `dm-snapshot` together may have about {disks} MiB: give new VMs smaller ones, or set `root_disk = \"copy\"` in ~/.config/banger/config.toml"
    )))
}

/// Rejects a jail beyond the user's quota.
pub(super) fn jail(uid: u32, claim: &Claim) -> Result<()> {
    let mut users = jailed_users(claim)?;
    users.remove(&uid);
    need_below("jails", users.len(), JAILS)
}

/// The users of the instance that processes run as.
pub(super) fn jailed_users(claim: &Claim) -> Result<BTreeSet<u32>> {
    let range = claim.instance().users();
    Ok(children::all()?
        .filter_map(|pid| children::users(pid).map(|users| users[0]))
        .filter(|user| range.contains(user))
        .collect())
}
