//! Root's changes to the simulated host.

use super::change::made;
use super::{Sim, SimState, lock, snapshot};
use crate::ledger;
use crate::{Change, Error, Instance, Kind, Result, RootOp};

pub(super) fn change(sim: &Sim, instance: Instance, op: &RootOp) -> Result<Change> {
    let mut held = lock(&sim.inner.state);
    let state = &mut *held;
    let tap_of = |machine| instance.tap(machine);
    match op {
        RootOp::MakeTap(tap) => {
            let name = tap_of(tap.machine);
            let table = state.tables.entry(instance.table()).or_default();
            let mut changed = table.guests.insert((name.clone(), tap.guest_address));
            changed |= state.taps.insert(name.clone(), tap.clone()).as_ref() != Some(tap);
            state.forwarding.entry(name.clone()).or_insert(false);
            made(state.harmed_taps.remove(&name) || changed)
        }
        RootOp::RemoveTap { machine } => remove_tap(state, &tap_of(*machine)),
        RootOp::AllowGuest { machine, address } => {
            let table = state.tables.entry(instance.table()).or_default();
            made(table.guests.insert((tap_of(*machine), *address)))
        }
        RootOp::ForbidGuest { machine, address } => {
            let tap = tap_of(*machine);
            if state.taps.contains_key(&tap) {
                let text = format!("TAP `{tap}` would be without its filter");
                return Err(Error::new(Kind::Busy, text));
            }
            let Some(table) = state.tables.get_mut(&instance.table()) else {
                return Ok(Change::Already);
            };
            let changed = table.guests.remove(&(tap, *address));
            if table.guests.is_empty() {
                state.tables.remove(&instance.table());
            }
            made(changed)
        }
        RootOp::AllowNat { address } => {
            let table = state.tables.entry(instance.table()).or_default();
            made(table.nat.insert(*address))
        }
        RootOp::ForbidNat { address } => {
            let table = state.tables.get_mut(&instance.table());
            made(table.is_some_and(|table| table.nat.remove(address)))
        }
        RootOp::ForwardGuest { machine, on } => forward(state, &tap_of(*machine), *on),
        RootOp::HoldForwarding { machine } => {
            drop(held);
            sim.change_ledger(|| ledger::hold(sim, instance, *machine))
        }
        RootOp::ReleaseForwarding { machine } => {
            drop(held);
            sim.change_ledger(|| ledger::release(sim, instance, *machine))
        }
        RootOp::AdoptForwarding { off_before } => {
            drop(held);
            sim.change_ledger(|| ledger::adopt(sim, instance, off_before))
        }
        RootOp::MakeSnapshot {
            machine,
            size_mib,
            files,
        } => snapshot::make(state, &instance.name(*machine), files, *size_mib),
        RootOp::RemoveSnapshot { machine } => snapshot::remove(state, &instance.name(*machine)),
    }
}

fn remove_tap(state: &mut SimState, name: &str) -> Result<Change> {
    let used = state
        .processes
        .values()
        .any(|it| it.exit.is_none() && it.arguments.iter().any(|argument| argument == name));
    if used {
        return Err(Error::new(Kind::Busy, format!("TAP `{name}` is in use")));
    }
    state.forwarding.remove(name);
    state.harmed_taps.remove(name);
    made(state.taps.remove(name).is_some())
}

pub(super) fn forward(state: &mut SimState, interface: &str, on: bool) -> Result<Change> {
    match state.forwarding.get_mut(interface) {
        Some(now) => made(std::mem::replace(now, on) != on),
        None if !on => Ok(Change::Already),
        None => Err(Error::new(
            Kind::Missing,
            format!("there is no interface `{interface}`"),
        )),
    }
}
