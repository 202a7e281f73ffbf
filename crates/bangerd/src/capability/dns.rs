//! The guest's resolvers: the host's upstream ones, or those of the configuration.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use banger_api::{NetworkKind, VmId};
use banger_host::{Finding, Host};

use super::Capability;
use crate::error::{During, Result};
use crate::guest::Guest;
use crate::guest::config::GuestConfig;
use crate::readiness::Check;
use crate::vm::Vm;

/// The resolver of QEMU's user networking, which asks the host's own.
const QEMU_RESOLVER: IpAddr = IpAddr::V4(crate::gate::RESOLVER);

/// The DNS capability.
#[derive(Debug)]
pub struct Dns {
    configured: Vec<IpAddr>,
    /// What each running guest was told last.
    told: Mutex<BTreeMap<VmId, Vec<IpAddr>>>,
}

impl Dns {
    /// Gives guests these resolvers, or the host's where there are none.
    #[must_use]
    pub fn new(configured: Vec<IpAddr>) -> Self {
        Self {
            configured,
            told: Mutex::default(),
        }
    }

    /// The resolvers that a guest on a network of this kind shall use.
    fn resolvers(&self, kind: NetworkKind, host: &dyn Host) -> Result<Vec<IpAddr>> {
        match (self.configured.is_empty(), kind) {
            (false, _) => Ok(self.configured.clone()),
            (true, NetworkKind::User) => Ok(vec![QEMU_RESOLVER]),
            (true, NetworkKind::Tap) => host.resolvers().during("find the host's resolvers"),
        }
    }
}

impl Capability for Dns {
    fn name(&self) -> &'static str {
        "DNS"
    }

    fn checks(&self, vm: Option<&Vm>) -> Vec<Check> {
        if !self.configured.is_empty() || vm.is_some() {
            return Vec::new();
        }
        vec![Check::new("resolvers", |host| match host.resolvers() {
            Ok(found) if !found.is_empty() => {
                let names: Vec<String> = found.iter().map(ToString::to_string).collect();
                Finding::Good(names.join(", "))
            }
            Ok(_) => Finding::Doubtful {
                found: "the host has only loopback resolvers, which no guest reaches".to_owned(),
                hint: "name others in ~/.config/banger/config.toml: dns = [\"9.9.9.9\"]".to_owned(),
            },
            Err(error) => Finding::Doubtful {
                found: error.to_string(),
                hint: "look at /etc/resolv.conf".to_owned(),
            },
        })]
    }

    fn guest_config(&self, vm: &Vm, guest: &mut GuestConfig) -> Result<()> {
        // The host's own may change while the guest boots, so they are sent when it is ready; a
        // guest that has no channel still finds the configured ones.
        let resolvers = match vm.network {
            NetworkKind::User if self.configured.is_empty() => vec![QEMU_RESOLVER],
            NetworkKind::User | NetworkKind::Tap => self.configured.clone(),
        };
        guest.resolvers("DNS", &resolvers)
    }

    fn on_ready(&self, vm: &Vm, host: &dyn Host, guest: &mut dyn Guest) -> Result<()> {
        let resolvers = self.resolvers(vm.network, host)?;
        guest
            .set_resolvers(&resolvers)
            .during("tell the guest its resolvers")?;
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(vm.id, resolvers);
        Ok(())
    }

    fn holds(&self, vm: &Vm, host: &dyn Host) -> Result<bool> {
        let now = self.resolvers(vm.network, host)?;
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(vm.rescue || told.get(&vm.id).is_some_and(|told| *told == now))
    }

    fn teardown(&self, vm: &Vm, _host: &dyn Host) -> Result<()> {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&vm.id);
        Ok(())
    }
}
