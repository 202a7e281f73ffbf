//! The guest's resolvers: the host's upstream ones, or those of the configuration.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use banger_api::{NetworkKind, VmId};
use banger_guest::config::Resolvers;
use banger_host::{Finding, Host};

use super::{Capability, Holds};
use crate::error::{During, Result};
use crate::guest::Guest;
use crate::plan::Plan;
use crate::readiness::Check;
use crate::vm::Vm;

/// The resolver of QEMU's user networking, which asks the host's own.
const QEMU_RESOLVER: IpAddr = IpAddr::V4(crate::gate::RESOLVER);

/// The DNS capability.
#[derive(Debug)]
pub struct Dns {
    configured: Vec<IpAddr>,
    /// The resolvers last sent to each running guest.
    sent: Mutex<BTreeMap<VmId, Resolvers>>,
}

impl Dns {
    /// Gives guests these resolvers, or the host's if none are configured.
    #[must_use]
    pub fn new(configured: Vec<IpAddr>) -> Self {
        Self {
            configured,
            sent: Mutex::default(),
        }
    }

    /// The resolvers for a guest on a network of this kind, and the host's search domains.
    fn resolvers(&self, kind: NetworkKind, of_host: banger_host::Resolvers) -> Resolvers {
        let servers = match (self.configured.is_empty(), kind) {
            (false, _) => self.configured.clone(),
            (true, NetworkKind::User) => vec![QEMU_RESOLVER],
            (true, NetworkKind::Tap) => of_host.servers,
        };
        Resolvers {
            servers,
            search: of_host.search,
        }
    }
}

fn look(host: &dyn Host) -> Result<banger_host::Resolvers> {
    host.resolvers().during("find the host's resolvers")
}

/// The hint where there is no resolver for guests.
const NAME_OTHERS: &str = "set others in ~/.config/banger/config.toml: dns = [\"9.9.9.9\"]";

fn joined(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// Checks that guests can use the host's resolvers.
fn of_host(host: &dyn Host) -> Finding {
    let doubtful = |found: String, hint: &str| Finding::Doubtful {
        found,
        hint: hint.to_owned(),
    };
    match host.resolvers() {
        Err(error) => doubtful(error.to_string(), "check /etc/resolv.conf"),
        Ok(found) if !found.servers.is_empty() => Finding::Good(joined(&found.servers)),
        Ok(found) if found.out_of_reach.is_empty() => doubtful(
            "the host has no resolver, so guests have none either".to_owned(),
            NAME_OTHERS,
        ),
        Ok(found) if found.out_of_reach.iter().all(IpAddr::is_ipv6) => doubtful(
            format!(
                "the host's resolvers have IPv6 addresses ({}), which no guest reaches: guests have none",
                joined(&found.out_of_reach)
            ),
            NAME_OTHERS,
        ),
        Ok(found) => doubtful(
            format!(
                "the host's only resolver is itself ({}), which no guest reaches: guests have none",
                joined(&found.out_of_reach)
            ),
            NAME_OTHERS,
        ),
    }
}

/// Checks that guests can use the configured resolvers.
fn of_configuration(configured: &[IpAddr], host: &dyn Host) -> Finding {
    let own = |it: &&IpAddr| host.is_own_address(**it).unwrap_or(false);
    let out_of_reach: Vec<IpAddr> = configured.iter().filter(own).copied().collect();
    if out_of_reach.is_empty() {
        return Finding::Good(format!("{}, as configured", joined(configured)));
    }
    Finding::Doubtful {
        found: format!(
            "`dns` has the host's own {}, which no guest reaches",
            joined(&out_of_reach)
        ),
        hint: NAME_OTHERS.to_owned(),
    }
}

impl Capability for Dns {
    fn name(&self) -> &'static str {
        "DNS"
    }

    fn checks(&self, vm: Option<&Vm>) -> Vec<Check> {
        // A guest reaches QEMU's own resolver; without NAT it reaches no other.
        if vm.is_some_and(|vm| vm.network == NetworkKind::User || !vm.spec.nat) {
            return Vec::new();
        }
        let configured = self.configured.clone();
        let check = Check::new("resolvers", move |host| match configured.is_empty() {
            true => of_host(host),
            false => of_configuration(&configured, host),
        });
        vec![check.noted()]
    }

    fn plan(&self, vm: &Vm, plan: &mut Plan) -> Result<()> {
        // The host's own may change while the guest boots, so they are sent when it is ready; a
        // guest that has no channel still finds the configured ones.
        let resolvers = match vm.network {
            NetworkKind::User if self.configured.is_empty() => vec![QEMU_RESOLVER],
            NetworkKind::User | NetworkKind::Tap => self.configured.clone(),
        };
        plan.guest.resolvers("DNS", &resolvers)
    }

    fn on_ready(&self, vm: &Vm, host: &dyn Host, guest: &mut dyn Guest) -> Result<()> {
        let of_host = look(host)?;
        let resolvers = self.resolvers(vm.network, of_host);
        guest
            .set_resolvers(&resolvers)
            .during("send the guest its resolvers")?;
        self.sent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(vm.id, resolvers);
        Ok(())
    }

    fn holds(&self, running: &[&Vm], host: &dyn Host) -> Holds {
        let of_host = look(host);
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |vm: &Vm| {
            let now = self.resolvers(vm.network, of_host.clone()?);
            Ok(vm.is_in_rescue() || sent.get(&vm.id) == Some(&now))
        };
        running.iter().map(|vm| holds(vm)).collect()
    }

    fn teardown(&self, vm: &Vm, _host: &dyn Host) -> Result<()> {
        self.sent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&vm.id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use banger_guest::config::NewName;

    use super::*;
    use crate::guest::Ready;

    /// A guest that remembers the last resolvers it got.
    #[derive(Debug, Default)]
    struct ResolverRecorder(Resolvers);

    impl Guest for ResolverRecorder {
        fn wait_ready(&mut self, _: Instant, _: &dyn Fn() -> bool) -> Result<Ready> {
            Ok(Ready::default())
        }

        fn sync(&mut self, _: Duration) -> Result<()> {
            Ok(())
        }

        fn power_off(&mut self, _: Duration) -> Result<()> {
            Ok(())
        }

        fn set_clock(&mut self, _: Duration) -> Result<()> {
            Ok(())
        }

        fn set_resolvers(&mut self, resolvers: &Resolvers) -> Result<()> {
            self.0.clone_from(resolvers);
            Ok(())
        }

        fn rename(&mut self, _: &NewName) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn search_domains_reach_the_guest_and_follow_the_hosts() {
        let (sim, vm, _) = crate::assemble::tests::made();
        for configured in [vec![], vec!["9.9.9.9".parse().unwrap()]] {
            let dns = Dns::new(configured);
            for search in ["office.example", "lan"] {
                sim.tamper(|state| state.resolvers.search = vec![search.to_owned()]);
                assert_eq!(dns.holds(&[&vm], &sim), [Ok(false)]);
                let mut guest = ResolverRecorder::default();
                dns.on_ready(&vm, &sim, &mut guest).unwrap();
                assert_eq!(guest.0.search, [search]);
                assert_eq!(dns.holds(&[&vm], &sim), [Ok(true)]);
            }
        }
    }
}
