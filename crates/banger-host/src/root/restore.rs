//! The firewall again, after somebody replaced all rules of the host.
//!
//! `systemctl restart nftables` flushes everybody's tables, ours with them, and whose daemon is
//! away has nobody to put them back. Each TAP has its guest's address and whether it has NAT
//! written on it, where only root writes; from that every table is made anew.

use std::path::Path;

use super::forwarding::Forwarding;
use super::{RUN, confine, log, need_root};
use crate::linux::tap::{self, TapRecord};
use crate::{Change, Error, Host, Instance, Linux, MachineId, Op, Result, RootOp};

/// Puts the tables of all bangers on this host back, whole. Idempotent.
///
/// # Errors
/// When we are not root, or a table could not be made; all others are made then.
pub fn restore() -> Result<()> {
    need_root()?;
    confine::check_own_file()?;
    restore_on(&Linux::new()?, &tap::remembered()?, Path::new(RUN))
}

pub(super) fn restore_on(host: &dyn Host, taps: &[TapRecord], folder: &Path) -> Result<()> {
    let mut first: Option<Error> = None;
    for tap in taps {
        let Some((instance, machine)) = Instance::of_tap(&tap.tap) else {
            continue;
        };
        match restore_one(host, (instance, machine), tap, folder) {
            Ok(Change::Already) => {}
            Ok(Change::Made) => log(&format!("put back the rules of `{}`", tap.tap)),
            Err(error) => {
                let error = error.within(format!("put back the rules of `{}`", tap.tap));
                log(&error.to_string());
                first = first.or(Some(error));
            }
        }
    }
    first.map_or(Ok(()), Err)
}

fn restore_one(
    host: &dyn Host,
    (instance, machine): (Instance, MachineId),
    remembered: &TapRecord,
    folder: &Path,
) -> Result<Change> {
    let address = remembered.address;
    let change = |op| host.change(&Op::Root(instance, op));
    let allowed = change(RootOp::AllowGuest { machine, address })?;
    let interfaces = Forwarding::new(folder).kept(host)?;
    if !interfaces.is_empty() {
        change(RootOp::KeepToGuests { interfaces })?;
    }
    if remembered.nat {
        change(RootOp::AllowNat { address })?;
    }
    Ok(allowed)
}
