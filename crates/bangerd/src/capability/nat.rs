//! The guest's way out: forwarding and masquerade through the host's uplink. On user networking the
//! [gate](super::gate) is it.
//!
//! What we change on the host is written down first, in `settings.json`, with its old value and
//! the boot it belongs to, and put back when the last VM that needs it goes:
//!
//! ```text
//! prepare: write down (uplink, old value, this VM) ─► forwarding on ─► accept in the firewall
//! teardown: forbid ─► strike this VM out ─► nobody left? ─► put the old value back ─► forget it
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use banger_api::{Code, Error, NetworkKind, VmId};
use banger_host::{Host, Op, Probe};
use serde::{Deserialize, Serialize};

use super::Capability;
use crate::error::{During, Result};
use crate::layout::Layout;
use crate::readiness::Check;
use crate::vm::Vm;
use crate::vm::names::Instance;

/// The NAT capability.
#[derive(Debug)]
pub struct Nat {
    instance: Instance,
    layout: Layout,
    kind: NetworkKind,
    /// Held while the settings are read, changed and written.
    settings: Mutex<()>,
}

/// What we changed on the host, and for whom.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Settings {
    /// The boot that it belongs to; another boot has forgotten all of it.
    boot_id: String,
    /// Each uplink that we made forward.
    uplinks: BTreeMap<String, Uplink>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Uplink {
    /// Whether it forwarded before.
    was: bool,
    /// The VMs that need it.
    users: BTreeSet<VmId>,
}

impl Nat {
    /// Keeps its settings below this layout.
    #[must_use]
    pub fn new(instance: Instance, layout: Layout, kind: NetworkKind) -> Self {
        Self {
            instance,
            layout,
            kind,
            settings: Mutex::new(()),
        }
    }

    fn read(&self, host: &dyn Host) -> Result<Settings> {
        let path = self.layout.settings();
        let boot_id = host.boot_id().during("read the boot id")?;
        let settings: Settings = match host.read(&path).during("read the host settings")? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|cause| {
                Error::new(Code::Internal, format!("read `{}`", path.display()))
                    .cause(cause.to_string())
                    .hint(format!("remove it: rm {}", path.display()))
            })?,
            None => Settings::default(),
        };
        if settings.boot_id == boot_id {
            return Ok(settings);
        }
        Ok(Settings {
            boot_id,
            uplinks: BTreeMap::new(),
        })
    }

    fn write(&self, host: &dyn Host, settings: &Settings) -> Result<()> {
        let path = self.layout.settings();
        if settings.uplinks.is_empty() {
            let what = "forget the host settings";
            return host.change(&Op::RemoveFile { path }).during(what).map(drop);
        }
        let contents = serde_json::to_vec_pretty(settings).map_err(|cause| {
            Error::new(Code::Internal, "write the host settings").cause(cause.to_string())
        })?;
        host.change(&Op::WriteFile {
            path,
            contents,
            mode: 0o600,
            owner: None,
        })
        .during("write down the host settings")
        .map(drop)
    }

    /// Makes the current uplink forward for this VM, and no other; Docker lets it through.
    fn use_uplink(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let _settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut settings = self.read(host)?;
        let uplink = host.uplink().during("find the uplink")?;
        if let Some(name) = &uplink {
            let was = host
                .forwarding(name)
                .during("read the uplink's forwarding")?;
            let entry = settings
                .uplinks
                .entry(name.clone())
                .or_insert_with(|| Uplink {
                    was: was.unwrap_or(false),
                    users: BTreeSet::new(),
                });
            if entry.users.insert(vm.id) {
                self.write(host, &settings)?;
            }
            let op = Op::SetForwarding {
                interface: name.clone(),
                on: true,
            };
            host.change(&op).during(format!("forward on `{name}`"))?;
            // Written down by the same entry: without an uplink nothing is forwarded anyway.
            let tap_prefix = self.instance.tap_prefix();
            host.change(&Op::AcceptInDockerUser {
                tap_prefix,
                on: true,
            })
            .during("be accepted by DOCKER-USER")?;
        }
        self.leave(vm, host, &mut settings, uplink.as_deref())
    }

    /// Strikes the VM out of all uplinks but one, and restores those that nobody needs.
    fn leave(
        &self,
        vm: &Vm,
        host: &dyn Host,
        settings: &mut Settings,
        but: Option<&str>,
    ) -> Result<()> {
        let mut changed = false;
        let names: Vec<String> = settings.uplinks.keys().cloned().collect();
        for name in names.into_iter().filter(|name| Some(name.as_str()) != but) {
            let Some(uplink) = settings.uplinks.get_mut(&name) else {
                continue;
            };
            changed |= uplink.users.remove(&vm.id);
            if !uplink.users.is_empty() {
                continue;
            }
            let there = host
                .forwarding(&name)
                .during("read an uplink's forwarding")?
                .is_some();
            // What forwarded before was never ours to switch.
            if there && !uplink.was {
                let op = Op::SetForwarding {
                    interface: name.clone(),
                    on: false,
                };
                host.change(&op)
                    .during(format!("restore forwarding on `{name}`"))?;
            }
            if settings.uplinks.len() == 1 {
                let tap_prefix = self.instance.tap_prefix();
                host.change(&Op::AcceptInDockerUser {
                    tap_prefix,
                    on: false,
                })
                .during("take our rules from DOCKER-USER")?;
            }
            settings.uplinks.remove(&name);
            changed = true;
        }
        // What another boot has left there says nothing any more.
        let stale = settings.uplinks.is_empty()
            && host
                .stat(&self.layout.settings())
                .during("look for the host settings")?
                .is_some();
        if changed || stale {
            self.write(host, settings)
        } else {
            Ok(())
        }
    }

    fn on(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.use_uplink(vm, host)?;
        let op = Op::AllowNat {
            table: self.instance.table(),
            tap_prefix: self.instance.tap_prefix(),
            address: vm.address,
        };
        host.change(&op).during("let the guest out").map(drop)
    }

    fn off(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let op = Op::ForbidNat {
            table: self.instance.table(),
            address: vm.address,
        };
        let forbidden = host.change(&op).during("keep the guest in").map(drop);
        let _settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self
            .read(host)
            .and_then(|mut it| self.leave(vm, host, &mut it, None));
        forbidden.and(left)
    }
}

impl Capability for Nat {
    fn name(&self) -> &'static str {
        "NAT"
    }

    fn checks(&self, vm: Option<&Vm>) -> Vec<Check> {
        if self.kind == NetworkKind::User || vm.is_some_and(|vm| !vm.spec.nat) {
            return Vec::new();
        }
        let tap_prefix = self.instance.tap_prefix();
        vec![
            Check::new("uplink", |host| match host.uplink() {
                Ok(Some(name)) => {
                    banger_host::Finding::Good(format!("the default route goes by `{name}`"))
                }
                Ok(None) | Err(_) => banger_host::Finding::Doubtful {
                    found: "the host has no default route".to_owned(),
                    hint: "guests reach no more than the host does: ip route show default"
                        .to_owned(),
                },
            }),
            Check::probe("other firewalls", Probe::ForwardedPackets { tap_prefix }).only_warns(),
        ]
    }

    fn prepare(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        match (vm.network, vm.spec.nat) {
            (NetworkKind::User, _) => Ok(()),
            (NetworkKind::Tap, true) => self.on(vm, host),
            (NetworkKind::Tap, false) => self.off(vm, host),
        }
    }

    fn apply(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.prepare(vm, host)
    }

    fn holds(&self, vm: &Vm, host: &dyn Host) -> Result<bool> {
        if vm.network == NetworkKind::User || !vm.spec.nat {
            return Ok(true);
        }
        let forwards = match host.uplink().during("find the uplink")? {
            Some(name) => host
                .forwarding(&name)
                .during("read the uplink's forwarding")?,
            None => None,
        };
        // Without an uplink there is nothing to follow until one comes.
        Ok(forwards.unwrap_or(true)
            && host
                .firewall_holds(&self.instance.table(), &[], &[vm.address])
                .during("look at the firewall")?)
    }

    fn teardown(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        if self.kind == NetworkKind::User && vm.network == NetworkKind::User {
            return Ok(());
        }
        self.off(vm, host)
    }
}
