//! The host's interfaces and IPv4 routes, read all at once.
//!
//! A watch over many VMs asks for each of them a few times a second, so a recent table is cached.

use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::backstop::{self, Direction};
use super::context::During as _;
use super::neighbour::{self, Neighbour};
use super::netlink::{self, Link, Route};
use crate::{GuestTap, Result, Subnet};

/// How long a table is cached.
const FRESH: Duration = Duration::from_millis(250);

/// The prefix of the TAP names of every banger.
pub(super) const TAPS: &str = "bg1";

/// All interfaces, addresses and routes.
#[derive(Debug, Clone)]
pub(super) struct InterfaceTable {
    at: Instant,
    interfaces: Vec<Interface>,
    pub(super) routes: Vec<Route>,
}

#[derive(Debug, Clone)]
struct Interface {
    link: Link,
    addresses: Vec<(Ipv4Addr, u8)>,
    /// The permanent neighbour entries on it.
    neighbours: Vec<Neighbour>,
    /// The programs of a TAP.
    programs: Vec<(Direction, Vec<u8>)>,
}

/// The table that was read last.
#[derive(Debug, Default)]
pub(super) struct Interfaces(Mutex<Option<InterfaceTable>>);

impl Interfaces {
    /// The current table, or a fresh cached one.
    pub(super) fn look(&self) -> Result<InterfaceTable> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.take().filter(|it| it.at.elapsed() < FRESH) {
            Some(fresh) => Ok(seen.insert(fresh).clone()),
            None => Ok(seen.insert(read()?).clone()),
        }
    }

    /// Drops the cached table before a change.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Reads everything over one netlink socket.
pub(super) fn read() -> Result<InterfaceTable> {
    netlink::talk(|handle| {
        Box::pin(async move {
            let look = || "examine the host's interfaces".to_owned();
            let at = Instant::now();
            let addresses = netlink::all_addresses(&handle).await.during(look)?;
            let routes = netlink::routes(&handle).await.during(look)?;
            let neighbours = neighbour::permanent(&handle).await.during(look)?;
            let mut interfaces = Vec::new();
            for link in netlink::links(&handle).await.during(look)? {
                let programs = match link.tap {
                    // An interface that was removed meanwhile has none.
                    Some(_) => backstop::standing(&handle, link.index)
                        .await
                        .unwrap_or_default(),
                    None => Vec::new(),
                };
                let own = addresses.iter().filter(|it| it.0 == link.index);
                let behind = neighbours.iter().filter(|it| it.interface == link.index);
                interfaces.push(Interface {
                    addresses: own.map(|it| (it.1, it.2)).collect(),
                    neighbours: behind.cloned().collect(),
                    link,
                    programs,
                });
            }
            Ok(InterfaceTable {
                at,
                interfaces,
                routes,
            })
        })
    })
}

impl InterfaceTable {
    /// The interfaces, with their names.
    pub(super) fn links(&self) -> impl Iterator<Item = &Link> {
        self.interfaces.iter().map(|it| &it.link)
    }

    /// The name of an interface.
    pub(super) fn name(&self, index: u32) -> Option<&str> {
        let found = self.links().find(|it| it.index == index)?;
        Some(&found.name)
    }

    /// Every address of the host itself.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let all = self.interfaces.iter().flat_map(|it| &it.addresses);
        all.map(|it| it.0)
    }

    /// The uplinks of the host: every interface with a route, except loopback and TAPs. Sorted.
    pub(super) fn ways_out(&self) -> Vec<String> {
        let ways = self
            .routes
            .iter()
            .flat_map(|it| it.interface.iter().chain(&it.others));
        let mut names: Vec<String> = ways
            .filter_map(|index| self.name(*index))
            .filter(|name| *name != "lo" && !name.starts_with(TAPS))
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether the TAP is as [`GuestTap`] describes it, apart from its programs.
    pub(super) fn has(&self, name: &str, tap: &GuestTap) -> bool {
        let Some(found) = self.find(name) else {
            return false;
        };
        let link = &found.link;
        let is_own = link
            .tap
            .is_some_and(|it| it.persists && it.owner == Some(tap.uid));
        let to = Subnet {
            network: tap.guest_address,
            prefix: 32,
        };
        let mut routes = self.routes.iter().filter(|it| it.to == to).peekable();
        is_own
            && link.is_up
            && link.mtu == tap.mtu
            && matches!(found.neighbours.as_slice(), [one] if one.is_of(tap))
            && found.addresses == [(tap.host_address, 32)]
            && routes.peek().is_some()
            && routes.all(|it| it.interface == Some(link.index))
    }

    /// Whether the TAP has both its programs.
    pub(super) fn has_programs(&self, name: &str, tap: &GuestTap) -> bool {
        let wanted = backstop::programs(tap.host_address, tap.guest_address);
        self.find(name)
            .is_some_and(|it| wanted.iter().all(|one| it.programs.contains(one)))
    }

    fn find(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|it| it.link.name == name)
    }
}
