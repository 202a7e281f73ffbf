//! Whether a user may have what was asked for. Every value is measured by the claim, again: who
//! asks may be anybody who got hold of the user's account.

use std::net::Ipv4Addr;

use super::MOST_ELEMENTS;
use super::message::RootLook;
use crate::{Claim, Error, Jailed, Kind, Probe, Result, RootOp};

/// What MTU a TAP may have, in bytes: what every IPv4 host takes, to the usual jumbo frames.
const MTUS: std::ops::RangeInclusive<u32> = 576..=9216;

/// How large a snapshot may be, in MiB.
const SIZES: std::ops::RangeInclusive<u64> = 1..=64 << 20;

/// A change that may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Allowed {
    /// As it stands.
    Change(RootOp),
    /// Over the files that came with it.
    MakeSnapshot { name: String, size_mib: u64 },
}

/// A question that may be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answerable {
    FirewallHolds {
        table: String,
        guests: Vec<(String, Ipv4Addr)>,
        nat: Vec<Ipv4Addr>,
    },
    Probe(Probe),
    ForwardingHolds,
    Snapshot(String),
    /// Over the folder that came with it.
    Jails,
}

/// The error of a value that the user may not have.
pub(super) fn refuse(value: &str, what: &str) -> Error {
    // What was sent is repeated to a terminal and a log, so it is made safe and short.
    let shown: String = value
        .chars()
        .take(40)
        .flat_map(char::escape_debug)
        .collect();
    Error::new(Kind::Denied, format!("`{shown}` is not {what}"))
}

/// Measures values by a claim.
struct Measure<'a>(&'a Claim);

impl Measure<'_> {
    fn tap_prefix(&self, prefix: String) -> Result<String> {
        if prefix == self.0.instance().tap_prefix() {
            return Ok(prefix);
        }
        Err(refuse(&prefix, "what the TAPs of this user begin with"))
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

/// Lets through what this user may change. What it concerns is the user's by its making: a machine's
/// id with the instance of the claim.
pub(super) fn change(op: RootOp, claim: &Claim) -> Result<Allowed> {
    let measure = Measure(claim);
    match &op {
        RootOp::MakeTap(tap) => {
            if !MTUS.contains(&tap.mtu) {
                return Err(refuse(&tap.mtu.to_string(), "an MTU from 576 to 9216"));
            }
            measure.owner(tap.uid)?;
            measure.host_address(tap.host_address)?;
            // Its MAC may be any guest's: a TAP leads to one guest, and a copy of one keeps its MAC.
            measure.guest(tap.guest_address)?;
        }
        RootOp::AllowGuest { address, .. } | RootOp::AllowNat { address } => {
            measure.guest(*address)?;
        }
        RootOp::AdoptForwarding { .. } => {
            return Err(refuse(
                "adopt-forwarding",
                "a change that root makes for a user",
            ));
        }
        RootOp::MakeSnapshot {
            machine, size_mib, ..
        } => {
            if !SIZES.contains(size_mib) {
                return Err(refuse(&size_mib.to_string(), "a size in MiB to 64 TiB"));
            }
            return Ok(Allowed::MakeSnapshot {
                name: claim.instance().name(*machine),
                size_mib: *size_mib,
            });
        }
        // Taking away opens nothing, whatever the address is. Which interfaces forward is the host's
        // to know, and for which machines is in the ledger.
        RootOp::RemoveTap { .. }
        | RootOp::ForbidGuest { .. }
        | RootOp::ForbidNat { .. }
        | RootOp::ForwardGuest { .. }
        | RootOp::HoldForwarding { .. }
        | RootOp::ReleaseForwarding { .. }
        | RootOp::RemoveSnapshot { .. } => {}
    }
    Ok(Allowed::Change(op))
}

/// Lets through whom this user may run in a jail.
pub(super) fn jailed(jailed: Jailed, claim: &Claim) -> Result<Jailed> {
    let Jailed { name, uid } = jailed;
    if !claim.instance().users().contains(&uid) {
        return Err(refuse(&uid.to_string(), "a user for what this user jails"));
    }
    if !claim.instance().has_snapshot(&name) {
        return Err(refuse(&name, "what a machine of this user is called"));
    }
    Ok(Jailed { name, uid })
}

/// Lets through what this user may ask.
pub(super) fn look(look: RootLook, claim: &Claim) -> Result<Answerable> {
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
            Answerable::FirewallHolds {
                table: measure.table(table)?,
                guests,
                nat,
            }
        }
        RootLook::ForwardingHolds => Answerable::ForwardingHolds,
        RootLook::Network => Answerable::Probe(Probe::Network),
        RootLook::Jails => Answerable::Jails,
        RootLook::Snapshots => Answerable::Probe(Probe::Snapshot),
        RootLook::Snapshot { name } => Answerable::Snapshot(measure.snapshot(name)?),
        RootLook::ForwardedPackets { tap_prefix } => Answerable::Probe(Probe::ForwardedPackets {
            tap_prefix: measure.tap_prefix(tap_prefix)?,
        }),
    })
}
