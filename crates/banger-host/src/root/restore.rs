//! Restores the firewall after another program replaced all rules of the host.
//!
//! `systemctl restart nftables` flushes all tables, including banger's, and not every user has a
//! running daemon to restore them. Only root can write the alias of a TAP, which has the guest's
//! address and whether it has NAT. Every table is rebuilt from the aliases.

use super::{confine, log, need_root};
use crate::linux::tap::{self, TapRecord};
use crate::{Change, Error, Host, Instance, Linux, MachineId, Op, Result, RootOp};

/// Restores the tables of all bangers on this host. Idempotent.
///
/// # Errors
/// If the caller is not root, or a table could not be rebuilt; all others are.
pub fn restore() -> Result<()> {
    need_root()?;
    confine::check_own_file()?;
    restore_on(&Linux::new()?, &tap::remembered()?)
}

pub(super) fn restore_on(host: &Linux, taps: &[TapRecord]) -> Result<()> {
    let mut first: Option<Error> = None;
    for tap in taps {
        let Some((instance, machine)) = Instance::of_tap(&tap.tap) else {
            continue;
        };
        match restore_one(host, (instance, machine), tap) {
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
    host: &Linux,
    (instance, machine): (Instance, MachineId),
    remembered: &TapRecord,
) -> Result<Change> {
    let address = remembered.address;
    let change = |op| host.change(&Op::Root(instance, op));
    let allowed = change(RootOp::AllowGuest { machine, address })?;
    host.lend_again(instance)?;
    if remembered.nat {
        change(RootOp::AllowNat { address })?;
    }
    Ok(allowed)
}
