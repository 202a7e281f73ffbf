//! A short-lived cache of the kernel's routing decisions.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use banger_host::{Destination, way_to};

use super::judge::Routing;

/// The lifetime of an entry: addresses come and go while a guest runs.
const FRESH: Duration = Duration::from_secs(1);

/// The largest number of entries; at this number the cache is cleared, as when a guest scans a
/// network.
const MOST: usize = 1024;

/// The kernel's decisions by address.
#[derive(Debug, Default)]
pub(super) struct RouteCache(BTreeMap<Ipv4Addr, (Instant, bool)>);

impl Routing for RouteCache {
    fn is_outside(&mut self, address: Ipv4Addr) -> bool {
        let now = Instant::now();
        if let Some((then, answer)) = self.0.get(&address)
            && now.duration_since(*then) < FRESH
        {
            return *answer;
        }
        // Unknown is treated as not routed.
        let answer = match way_to(address) {
            // QEMU's user networking itself reports that there is no route.
            Ok(Destination::Outside | Destination::Nowhere) => true,
            Ok(Destination::Host | Destination::Vm) | Err(_) => false,
        };
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(address, (now, answer));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_addresses_are_not_outside() {
        let mut ways = RouteCache::default();
        for address in [
            Ipv4Addr::LOCALHOST,
            Ipv4Addr::new(127, 8, 8, 8),
            Ipv4Addr::BROADCAST,
        ] {
            assert!(!ways.is_outside(address), "{address}");
        }
        // TEST-NET-1: another machine's address, or one without a route.
        assert!(ways.is_outside(Ipv4Addr::new(192, 0, 2, 1)));
    }
}
