//! Banger's own nft table, changed in one transaction each time. Tables of others stay untouched.
//!
//! Each change first checks whether the table is complete. If so, the change is the elements alone;
//! if not, the same transaction writes the whole table.

mod listing;
mod nft;
mod rules;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use listing::Listing;
pub(super) use nft::nft;
use nft::{check_interface, check_table, look, remove, run};
pub(super) use rules::VOUCHED;

use super::tap;
use crate::{Change, Elements, Error, Kind, Result};

/// How long a listing is cached. A watch over many VMs asks for each of them, and so reads the
/// table a few times a second at most.
const FRESH: Duration = Duration::from_millis(250);

/// The firewall, with the listing that was read last.
#[derive(Debug, Default)]
pub(super) struct Firewall {
    seen: Mutex<Option<CachedListing>>,
}

#[derive(Debug)]
struct CachedListing {
    at: Instant,
    table: String,
    listing: Option<Listing>,
}

impl CachedListing {
    /// The cache entry of a table that has just been written whole.
    fn whole(table: &str, listing: Listing) -> Self {
        let listing = Some(Listing {
            is_whole: true,
            ..listing
        });
        Self {
            at: Instant::now(),
            table: table.to_owned(),
            listing,
        }
    }

    fn is_fresh(&self, table: &str) -> bool {
        self.table == table && self.at.elapsed() < FRESH
    }

    /// Whether a fresh listing shows the complete table without NAT for this address. A start
    /// without NAT, which has just written the table, needs no second look at it.
    fn shows_no_nat(&self, table: &str, address: Ipv4Addr) -> bool {
        let listing = self.listing.as_ref();
        self.is_fresh(table) && listing.is_some_and(|it| it.is_whole && !it.nat.contains(&address))
    }
}

/// The prefix of the TAP names of the same banger, which is all but the last eight digits.
fn kin(tap: &str) -> Option<&str> {
    tap.len()
        .checked_sub(8)
        .filter(|it| *it > 0)
        .map(|it| &tap[..it])
}

/// The table now. A cached listing is enough if the table is complete and lacks something: if it
/// has been removed since, the addition fails, and the whole table is written. That nothing lacks
/// is believed only after a fresh look.
fn look_where_needed(
    table: &str,
    seen: Option<CachedListing>,
    lacks: impl Fn(&Listing) -> bool,
) -> Result<Listing> {
    let fresh = seen
        .filter(|it| it.is_fresh(table))
        .and_then(|it| it.listing);
    match fresh.filter(|it| it.is_whole && lacks(it)) {
        Some(listing) => Ok(listing),
        None => look(table).map(Option::unwrap_or_default),
    }
}

/// Runs a script of elements. If the table is incomplete or missing, the same transaction writes
/// all of it.
fn write(table: &str, prefix: &str, is_whole: bool, elements: &str) -> Result<()> {
    if is_whole && run(elements.to_owned()).is_ok() {
        return Ok(());
    }
    let mut script = String::new();
    rules::whole(&mut script, table, prefix);
    script.push_str(elements);
    run(script)
}

impl Firewall {
    fn lock(&self) -> MutexGuard<'_, Option<CachedListing>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// RootOp::AllowGuest.
    pub(super) fn allow_guest(
        &self,
        table: &str,
        prefix: &str,
        tap: &str,
        address: Ipv4Addr,
    ) -> Result<Change> {
        check_table(table)?;
        tap::check_name(prefix)?;
        tap::check_name(tap)?;
        let guest = (tap.to_owned(), address);
        let mut seen = self.lock();
        let lacks = |it: &Listing| !it.guests.contains(&guest);
        let mut now = look_where_needed(table, seen.take(), lacks)?;
        let mut elements = String::new();
        let others: Vec<Ipv4Addr> = now
            .guests
            .iter()
            .filter(|it| it.0 == tap && it.1 != address)
            .map(|it| it.1)
            .collect();
        for other in others {
            rules::remove_guest(&mut elements, table, tap, other);
            now.guests.remove(&(tap.to_owned(), other));
        }
        if now.is_whole && elements.is_empty() && now.guests.contains(&guest) {
            return Ok(Change::Already);
        }
        rules::add_guest(&mut elements, table, tap, address);
        write(table, prefix, now.is_whole, &elements)
            .map_err(|error| error.within(format!("let `{tap}` send from {address}")))?;
        now.guests.insert(guest);
        *seen = Some(CachedListing::whole(table, now));
        Ok(Change::Made)
    }

    /// RootOp::ForbidGuest. `interfaces` are the current interfaces of the host.
    pub(super) fn forbid_guest(
        &self,
        table: &str,
        tap: &str,
        address: Ipv4Addr,
        interfaces: &[String],
    ) -> Result<Change> {
        check_table(table)?;
        tap::check_name(tap)?;
        let describe = || format!("remove `{tap}` from the firewall");
        if interfaces.iter().any(|it| it == tap) {
            let text = "it exists, and would lose its filter";
            return Err(Error::new(Kind::Busy, text)
                .hint(format!("remove it first: ip link delete {tap}"))
                .within(describe()));
        }
        let mut seen = self.lock();
        *seen = None;
        let Some(now) = look(table)? else {
            return Ok(Change::Already);
        };
        // Without its element, the TAP matches the other rules of the table.
        let others = now.guests.iter().any(|it| it.0 != tap)
            || kin(tap).is_some_and(|kin| interfaces.iter().any(|it| it.starts_with(kin)));
        let mut script = String::new();
        if others {
            let own = now.guests.iter().filter(|it| it.0 == tap);
            for (_, other) in own {
                rules::remove_guest(&mut script, table, tap, *other);
            }
            if now.nat.contains(&address) {
                rules::remove_nat(&mut script, table, address);
            }
        } else {
            script = format!("delete table inet {table}\n");
        }
        if script.is_empty() {
            return Ok(Change::Already);
        }
        remove(table, script).map_err(|error| error.within(describe()))
    }

    /// RootOp::AllowNat.
    pub(super) fn allow_nat(&self, table: &str, prefix: &str, address: Ipv4Addr) -> Result<Change> {
        check_table(table)?;
        tap::check_name(prefix)?;
        let mut seen = self.lock();
        let lacks = |it: &Listing| !it.nat.contains(&address);
        let mut now = look_where_needed(table, seen.take(), lacks)?;
        if now.is_whole && now.nat.contains(&address) {
            return Ok(Change::Already);
        }
        let mut elements = String::new();
        rules::add_nat(&mut elements, table, address);
        write(table, prefix, now.is_whole, &elements)
            .map_err(|error| error.within(format!("let {address} out")))?;
        now.nat.insert(address);
        *seen = Some(CachedListing::whole(table, now));
        Ok(Change::Made)
    }

    /// RootOp::ForbidNat.
    pub(super) fn forbid_nat(&self, table: &str, address: Ipv4Addr) -> Result<Change> {
        check_table(table)?;
        let mut seen = self.lock();
        if seen
            .as_ref()
            .is_some_and(|it| it.shows_no_nat(table, address))
        {
            return Ok(Change::Already);
        }
        *seen = None;
        let now = look(table)?.unwrap_or_default();
        if !now.nat.contains(&address) {
            return Ok(Change::Already);
        }
        let mut script = String::new();
        rules::remove_nat(&mut script, table, address);
        remove(table, script).map_err(|error| error.within(format!("let {address} out no more")))
    }

    /// Makes the table forward packets that arrive on these interfaces to guests only, for
    /// RootOp::HoldForwarding. Without interfaces, a missing table is not created.
    pub(super) fn keep_to_guests(
        &self,
        table: &str,
        prefix: &str,
        interfaces: &BTreeSet<String>,
    ) -> Result<Change> {
        check_table(table)?;
        tap::check_name(prefix)?;
        for name in interfaces {
            check_interface(name)?;
        }
        let mut seen = self.lock();
        *seen = None;
        let now = look(table)?;
        if now.is_none() && interfaces.is_empty() {
            return Ok(Change::Already);
        }
        let mut now = now.unwrap_or_default();
        if now.is_whole && now.lent == *interfaces {
            return Ok(Change::Already);
        }
        let mut elements = String::new();
        rules::set_lent(&mut elements, table, interfaces);
        write(table, prefix, now.is_whole, &elements)
            .map_err(|error| error.within("keep forwarding interfaces to guests"))?;
        now.lent.clone_from(interfaces);
        *seen = Some(CachedListing::whole(table, now));
        Ok(Change::Made)
    }

    /// Look::firewall_elements.
    pub(super) fn elements(&self, table: &str) -> Result<Elements> {
        check_table(table)?;
        let mut seen = self.lock();
        let listing = look(table)?;
        let elements = listing.clone().unwrap_or_default();
        *seen = Some(CachedListing {
            at: Instant::now(),
            table: table.to_owned(),
            listing,
        });
        Ok(Elements {
            guests: elements.guests,
            nat: elements.nat,
        })
    }

    /// Look::firewall_holds.
    pub(super) fn holds(
        &self,
        table: &str,
        guests: &[(String, Ipv4Addr)],
        nat: &[Ipv4Addr],
    ) -> Result<bool> {
        self.ask(table, |now| {
            now.is_some_and(|it| {
                it.is_whole
                    && guests.iter().all(|guest| it.guests.contains(guest))
                    && nat.iter().all(|address| it.nat.contains(address))
            })
        })
    }

    /// The interfaces that the table restricts to guests; none without a table.
    pub(super) fn lent(&self, table: &str) -> Result<BTreeSet<String>> {
        self.ask(table, |now| {
            now.map(|it| it.lent.clone()).unwrap_or_default()
        })
    }

    /// Answers from a fresh listing.
    fn ask<T>(&self, table: &str, answer: impl FnOnce(Option<&Listing>) -> T) -> Result<T> {
        check_table(table)?;
        let mut seen = self.lock();
        let now = match seen.take().filter(|it| it.is_fresh(table)) {
            Some(seen) => seen,
            None => CachedListing {
                at: Instant::now(),
                table: table.to_owned(),
                listing: look(table)?,
            },
        };
        let answer = answer(now.listing.as_ref());
        *seen = Some(now);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod lab;
#[cfg(test)]
mod packet_tests;
#[cfg(test)]
mod table_tests;
