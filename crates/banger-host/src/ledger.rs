//! The ledger of host settings that guests need: forwarding interfaces, and the rules for them.
//!
//! An interface of the host is shared. It forwards while at least one guest with NAT holds it, of
//! any user and any instance; when the last one releases it, its old value is restored. The ledger
//! is the only record of that, and root writes it before it changes a setting:
//!
//! ```text
//! hold:    record (old value, the guest's TAP) ─► restrict to guests ─► forwarding on ─► Docker accepts
//! release: last one? ─► old value ─► remove Docker's rules ─► lift the restriction ─► remove the entry
//! ```
//!
//! Both are idempotent, and may be interrupted after any step: the next `hold` completes a recorded
//! entry, and the next call removes a stale one. A guest is identified by its TAP. An entry whose
//! TAP is gone counts as released, so a lost guest does not keep forwarding on.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::instance::TAP;
use crate::{Change, Error, Instance, Kind, Look, MachineId, Result};

/// The interfaces that guests hold, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Each interface that banger switched to forwarding, or found forwarding.
    pub interfaces: BTreeMap<String, LedgerEntry>,
}

/// One interface of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Whether it forwarded before the first guest held it.
    pub was: bool,
    /// The TAPs of the guests that hold it.
    pub taps: BTreeSet<String>,
}

/// The operations of a host that the ledger needs. Each change is one step, and a crash after it
/// does no harm.
pub(crate) trait LedgerHost: Look {
    /// The ledger as last recorded.
    fn ledger(&self) -> Result<Ledger>;

    /// Replaces the record.
    fn record(&self, ledger: &Ledger) -> Result<()>;

    /// Switches forwarding of the IPv4 packets that arrive on an interface.
    fn set_forwarding(&self, interface: &str, on: bool) -> Result<Change>;

    /// The interfaces that the instance's table restricts to guests; none without a table.
    fn lent(&self, instance: Instance) -> Result<BTreeSet<String>>;

    /// Makes the instance's table forward packets that arrive on these interfaces to guests of any
    /// banger only. Without interfaces, a missing table is not created.
    fn lend(&self, instance: Instance, interfaces: &BTreeSet<String>) -> Result<Change>;

    /// Whether Docker, if installed, accepts packets of the instance's guests.
    fn is_accepted_by_docker(&self, instance: Instance) -> Result<bool>;

    /// Adds rules for the instance's TAPs to Docker's `DOCKER-USER` chain, if there is one, or
    /// removes them.
    fn accept_in_docker_user(&self, instance: Instance, on: bool) -> Result<Change>;
}

impl Ledger {
    /// Adds the content of an older record: interfaces with their old values, and TAPs.
    ///
    /// An interface that either record found off was off before banger came.
    pub(crate) fn add(&mut self, interfaces: BTreeMap<String, bool>, taps: &BTreeSet<String>) {
        for (name, was) in interfaces {
            let entry = self.interfaces.entry(name).or_insert(LedgerEntry {
                was,
                taps: BTreeSet::new(),
            });
            entry.was &= was;
            entry.taps.extend(taps.iter().cloned());
        }
    }

    /// The instances whose guests hold an interface.
    fn instances(&self) -> Vec<Instance> {
        let taps: BTreeSet<&String> = self.interfaces.values().flat_map(|it| &it.taps).collect();
        let mut instances: Vec<Instance> = taps
            .into_iter()
            .filter_map(|tap| Some(Instance::of_tap(tap)?.0))
            .collect();
        // TAPs are sorted by their instances.
        instances.dedup();
        instances
    }

    /// The interfaces that forward only because of the instance's guests, and so only to guests.
    fn lent_to(&self, instance: Instance) -> BTreeSet<String> {
        let prefix = instance.tap_prefix();
        let holds = |entry: &LedgerEntry| entry.taps.iter().any(|tap| tap.starts_with(&prefix));
        let own = self.interfaces.iter();
        own.filter(|(_, entry)| !entry.was && holds(entry))
            .map(|(name, _)| name.clone())
            .collect()
    }
}

/// Makes every uplink of the host forward for this guest.
///
/// The interface on which an answer arrives forwards it, and a guest's packet may take any route,
/// so all of them are needed. Interfaces that are no longer an uplink are released.
///
/// # Errors
/// [`Kind::Missing`] if the machine has no TAP.
pub(crate) fn hold(
    host: &dyn LedgerHost,
    instance: Instance,
    machine: MachineId,
) -> Result<Change> {
    let own = instance.tap(machine);
    if !host.interfaces(&own)?.contains(&own) {
        return Err(Error::new(
            Kind::Missing,
            format!("there is no TAP `{own}`"),
        ));
    }
    let ways = host.ways_out()?;
    let recorded = host.ledger()?;
    let mut ledger = recorded.clone();
    for name in &ways {
        let forwards = host.forwarding(name)?.unwrap_or(false);
        let entry = ledger
            .interfaces
            .entry(name.clone())
            .or_insert(LedgerEntry {
                was: forwards,
                taps: BTreeSet::new(),
            });
        // If another program switched it off meanwhile, it now forwards for guests only.
        entry.was &= forwards;
        entry.taps.insert(own.clone());
    }
    let mut change = Change::Already;
    if ledger != recorded {
        host.record(&ledger)?;
        change = Change::Made;
    }
    // The restriction comes before the forwarding that it restricts.
    change |= lend(host, instance, &ledger)?;
    for name in &ways {
        match host.set_forwarding(name, true) {
            // The interface has just been removed, and its routes with it.
            Err(error) if error.kind() == Kind::Missing => {}
            other => change |= other?,
        }
    }
    if !ways.is_empty() {
        // Without an uplink nothing is forwarded anyway.
        change |= host.accept_in_docker_user(instance, true)?;
    }
    Ok(change
        | settle(host, &ledger, |name, tap| {
            *tap == own && !ways.contains(name)
        })?)
}

/// Releases every interface that this guest holds.
pub(crate) fn release(
    host: &dyn LedgerHost,
    instance: Instance,
    machine: MachineId,
) -> Result<Change> {
    let own = instance.tap(machine);
    settle(host, &host.ledger()?, |_, tap| *tap == own)
}

/// Records interfaces that an older record of the instance found off, so that they are switched off
/// once no guest holds them.
pub(crate) fn adopt(
    host: &dyn LedgerHost,
    instance: Instance,
    off_before: &BTreeSet<String>,
) -> Result<Change> {
    let recorded = host.ledger()?;
    let mut ledger = recorded.clone();
    let interfaces = off_before.iter().map(|name| (name.clone(), false));
    ledger.add(
        interfaces.collect(),
        &forwarding_taps(host, &instance.tap_prefix())?,
    );
    let mut change = Change::Already;
    if ledger != recorded {
        host.record(&ledger)?;
        change = Change::Made;
    }
    Ok(change | settle(host, &ledger, |_, _| false)?)
}

/// Restores interfaces without a holder, and removes the entries of released guests and of missing
/// TAPs.
pub(crate) fn settle(
    host: &dyn LedgerHost,
    recorded: &Ledger,
    leaves: impl Fn(&String, &String) -> bool,
) -> Result<Change> {
    let taps: BTreeSet<String> = host.interfaces(TAP)?.into_iter().collect();
    let mut ledger = recorded.clone();
    for (name, entry) in &mut ledger.interfaces {
        entry
            .taps
            .retain(|tap| taps.contains(tap) && !leaves(name, tap));
    }
    let everywhere = host.forwards_everywhere()?;
    let unused = ledger.interfaces.iter().filter(|it| it.1.taps.is_empty());
    for (name, entry) in unused {
        // An interface that forwarded before stays on. Forwarding of the whole host is another
        // program's decision.
        if !entry.was && !everywhere {
            host.set_forwarding(name, false)?;
        }
    }
    ledger.interfaces.retain(|_, entry| !entry.taps.is_empty());
    if ledger == *recorded {
        return Ok(Change::Already);
    }
    let remaining = ledger.instances();
    for instance in recorded.instances() {
        if !remaining.contains(&instance) {
            host.accept_in_docker_user(instance, false)?;
        }
        if recorded.lent_to(instance) != ledger.lent_to(instance) {
            lend(host, instance, &ledger)?;
        }
    }
    match host.record(&ledger) {
        // A full disk must not keep a guest from ending: its TAP is removed next, and the next
        // write of the ledger drops it.
        Err(error) if error.kind() == Kind::NoSpace => {}
        other => other?,
    }
    Ok(Change::Made)
}

/// Whether everything is as [`hold`] leaves it for the guests of this instance.
pub(crate) fn holds(host: &dyn LedgerHost, instance: Instance) -> Result<bool> {
    let prefix = instance.tap_prefix();
    let ledger = host.ledger()?;
    let ways = host.ways_out()?;
    for name in &ways {
        let entry = ledger.interfaces.get(name);
        let is_held = entry.is_some_and(|it| it.taps.iter().any(|tap| tap.starts_with(&prefix)));
        // An interface that was removed is not an uplink.
        let forwards = host.forwarding(name)?;
        if forwards == Some(false) || (forwards.is_some() && !is_held) {
            return Ok(false);
        }
    }
    Ok(host.lent(instance)? == lent_now(host, instance, &ledger)?
        && (ways.is_empty() || host.is_accepted_by_docker(instance)?))
}

/// Restricts the interfaces to guests that the ledger lists for the instance.
pub(crate) fn lend(host: &dyn LedgerHost, instance: Instance, ledger: &Ledger) -> Result<Change> {
    host.lend(instance, &lent_now(host, instance, ledger)?)
}

fn lent_now(
    host: &dyn LedgerHost,
    instance: Instance,
    ledger: &Ledger,
) -> Result<BTreeSet<String>> {
    if host.forwards_everywhere()? {
        // Another program wants the whole host to forward.
        return Ok(BTreeSet::new());
    }
    Ok(ledger.lent_to(instance))
}

/// The TAPs with this prefix that forward: those of guests with NAT.
pub(crate) fn forwarding_taps(host: &dyn Look, prefix: &str) -> Result<BTreeSet<String>> {
    let mut taps = BTreeSet::new();
    for tap in host.interfaces(prefix)? {
        if host.forwarding(&tap)? == Some(true) {
            taps.insert(tap);
        }
    }
    Ok(taps)
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
