//! Decides whether a user may make a request. Root checks every value against the user's claim: the
//! client may be any program with access to the user's account.

use std::net::Ipv4Addr;

use super::MOST_ELEMENTS;
use super::message::RootLook;
use crate::{Claim, Error, JailIdentity, Kind, Probe, Result, RootOp};

/// The MTUs that a TAP may have, in bytes: from the minimum of IPv4 to common jumbo frames.
const MTUS: std::ops::RangeInclusive<u32> = 576..=9216;

/// The sizes that a snapshot may have, in MiB.
const SIZES: std::ops::RangeInclusive<u64> = 1..=64 << 20;

/// A permitted change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PermittedChange {
    /// The change as requested.
    Change(RootOp),
    /// A snapshot of the files that the message carries.
    MakeSnapshot { name: String, size_mib: u64 },
}

/// A permitted question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PermittedLook {
    FirewallHolds {
        table: String,
        guests: Vec<(String, Ipv4Addr)>,
        nat: Vec<Ipv4Addr>,
    },
    Probe(Probe),
    ForwardingHolds,
    Snapshot(String),
    /// About the folder that the message carries.
    Jails,
}

/// The error for a value that the user may not use.
pub(super) fn refuse(value: &str, what: &str) -> Error {
    // The value goes to a terminal and a log, so it is escaped and shortened.
    let shown: String = value
        .chars()
        .take(40)
        .flat_map(char::escape_debug)
        .collect();
    Error::new(Kind::Denied, format!("`{shown}` is not {what}"))
}

/// The checks of values against a claim.
struct Measure<'a>(&'a Claim);

impl Measure<'_> {
    fn tap_prefix(&self, prefix: String) -> Result<String> {
        if prefix == self.0.instance().tap_prefix() {
            return Ok(prefix);
        }
        Err(refuse(&prefix, "the prefix of this user's TAPs"))
    }

    fn table(&self, name: String) -> Result<String> {
        if name == self.0.instance().table() {
            return Ok(name);
        }
        Err(refuse(&name, "the firewall table of this user"))
    }

    fn snapshot(&self, name: String) -> Result<String> {
        if self.0.instance().has_snapshot(&name) {
            return Ok(name);
        }
        Err(refuse(&name, "a snapshot of this user"))
    }

    fn guest(&self, address: Ipv4Addr) -> Result<()> {
        if self.0.has_guest(address) {
            return Ok(());
        }
        let what = format!("an address for a guest in {}", self.0.subnet);
        Err(refuse(&address.to_string(), &what))
    }

    fn host_address(&self, address: Ipv4Addr) -> Result<()> {
        if address == self.0.host_address() {
            return Ok(());
        }
        let what = format!("the first address of {}", self.0.subnet);
        Err(refuse(&address.to_string(), &what))
    }

    fn owner(&self, uid: u32) -> Result<()> {
        if uid == self.0.uid || self.0.instance().users().contains(&uid) {
            return Ok(());
        }
        Err(refuse(&uid.to_string(), "a user that may own the TAP"))
    }
}

/// Permits a change of this user. It affects only the user's own objects, because root derives
/// names from the machine's id and the claim's instance.
pub(super) fn change(op: RootOp, claim: &Claim) -> Result<PermittedChange> {
    let measure = Measure(claim);
    match &op {
        RootOp::MakeTap(tap) => {
            if !MTUS.contains(&tap.mtu) {
                return Err(refuse(&tap.mtu.to_string(), "an MTU from 576 to 9216"));
            }
            measure.owner(tap.uid)?;
            measure.host_address(tap.host_address)?;
            // Any guest's MAC is permitted: a TAP leads to one guest, and a copy of a guest keeps
            // its MAC.
            measure.guest(tap.guest_address)?;
        }
        RootOp::AllowGuest { address, .. } | RootOp::AllowNat { address } => {
            measure.guest(*address)?;
        }
        RootOp::AdoptForwarding { .. } => {
            return Err(refuse(
                "adopt-forwarding",
                "a change that the root helper makes for users",
            ));
        }
        RootOp::MakeSnapshot {
            machine, size_mib, ..
        } => {
            if !SIZES.contains(size_mib) {
                return Err(refuse(&size_mib.to_string(), "a size in MiB to 64 TiB"));
            }
            return Ok(PermittedChange::MakeSnapshot {
                name: claim.instance().name(*machine),
                size_mib: *size_mib,
            });
        }
        // A removal grants nothing, whatever the address is. Root itself finds the interfaces that
        // forward, and the ledger has their machines.
        RootOp::RemoveTap { .. }
        | RootOp::ForbidGuest { .. }
        | RootOp::ForbidNat { .. }
        | RootOp::ForwardGuest { .. }
        | RootOp::HoldForwarding { .. }
        | RootOp::ReleaseForwarding { .. }
        | RootOp::RemoveSnapshot { .. } => {}
    }
    Ok(PermittedChange::Change(op))
}

/// Permits a jail of this user.
pub(super) fn jailed(jailed: JailIdentity, claim: &Claim) -> Result<JailIdentity> {
    let JailIdentity { name, uid } = jailed;
    if !claim.instance().users().contains(&uid) {
        return Err(refuse(&uid.to_string(), "one of this user's jail users"));
    }
    if !claim.instance().has_snapshot(&name) {
        return Err(refuse(&name, "the name of a machine of this user"));
    }
    Ok(JailIdentity { name, uid })
}

/// Permits a question of this user.
pub(super) fn look(look: RootLook, claim: &Claim) -> Result<PermittedLook> {
    let measure = Measure(claim);
    Ok(match look {
        RootLook::FirewallHolds { table, guests, nat } => {
            let count = guests.len().max(nat.len());
            if count > MOST_ELEMENTS {
                return Err(refuse(
                    &count.to_string(),
                    "a number of guests for one look",
                ));
            }
            PermittedLook::FirewallHolds {
                table: measure.table(table)?,
                guests,
                nat,
            }
        }
        RootLook::ForwardingHolds => PermittedLook::ForwardingHolds,
        RootLook::Network => PermittedLook::Probe(Probe::Network),
        RootLook::Jails => PermittedLook::Jails,
        RootLook::Snapshots => PermittedLook::Probe(Probe::Snapshot),
        RootLook::Snapshot { name } => PermittedLook::Snapshot(measure.snapshot(name)?),
        RootLook::ForwardedPackets { tap_prefix } => {
            PermittedLook::Probe(Probe::ForwardedPackets {
                tap_prefix: measure.tap_prefix(tap_prefix)?,
            })
        }
    })
}
