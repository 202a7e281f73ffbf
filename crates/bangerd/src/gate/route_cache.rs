//! Where the host sends what goes to an address: asked of the kernel, and remembered for a moment.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use banger_host::{Destination, way_to};

use super::judge::Routing;

/// How long an answer is good: addresses come and go while a guest runs.
const FRESH: Duration = Duration::from_secs(1);

/// How many answers are remembered; a guest that scans a network makes us forget them all.
const MOST: usize = 1024;

/// What the kernel said of each address.
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
        // What cannot be told is not let through.
        let answer = match way_to(address) {
            // User networking tells the guest itself that there is no way.
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
        // TEST-NET-1: another machine's, or nobody's.
        assert!(ways.is_outside(Ipv4Addr::new(192, 0, 2, 1)));
    }
}
