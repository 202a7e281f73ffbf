//! The guest's way out: forwarding and masquerade by every route that the host has. On user
//! networking the [gate](super::gate) is it.
//!
//! What we change on the host is written down first, in `settings.json`, with its old value and
//! the boot it belongs to, and put back when the last VM that needs it goes:
//!
//! ```text
//! prepare: write down (each way out, old value, this VM) ─► keep it to guests ─► forwarding on
//!          ─► accept in the firewall ─► the TAP forwards
//! teardown: the TAP forwards no more ─► forbid ─► strike this VM out
//!          ─► nobody left? ─► put the old value back ─► forget it
//! ```
//!
//! Ways out that come later are followed: [`Capability::holds`] looks at all of them, now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use banger_api::{Code, Error, NetworkKind, VmId};
use banger_host::{FileOp, Finding, Host, Kind, Op, Probe, RootOp};
use serde::{Deserialize, Serialize};

use super::Capability;
use crate::error::{During, Result, from_host};
use crate::holds::{Holds, among, both, together};
use crate::layout::Layout;
use crate::readiness::Check;
use crate::vm::Vm;
use crate::vm::names::{Instance, machine};

/// The NAT capability.
#[derive(Debug)]
pub struct Nat {
    instance: Instance,
    layout: Layout,
    kind: NetworkKind,
    /// Held while the settings are read, changed and written; what they led to last.
    kept: Mutex<Option<ForwardingState>>,
    /// The VMs that are written down still and need nothing any more, as there was no space to
    /// strike them out.
    struck: Mutex<BTreeSet<VmId>>,
}

/// What forwards for guests only, as it was made last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ForwardingState {
    /// Whether the host as a whole forwarded; then nothing is kept to guests.
    everywhere: bool,
    /// The interfaces, sorted.
    interfaces: Vec<String>,
}

/// What we changed on the host, and for whom.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Settings {
    /// The boot that it belongs to; another boot has forgotten all of it.
    boot_id: String,
    /// Each way out that we made forward.
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
            kept: Mutex::new(None),
            struck: Mutex::default(),
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

    fn write(&self, host: &dyn Host, settings: &Settings) -> banger_host::Result<()> {
        let path = self.layout.settings();
        if settings.uplinks.is_empty() {
            let removed = host
                .change(&Op::File(FileOp::RemoveFile { path }))
                .map(drop);
            return removed.map_err(|error| error.within("forget the host settings"));
        }
        let what = "write down the host settings";
        let contents = serde_json::to_vec_pretty(settings).map_err(|cause| {
            banger_host::Error::new(Kind::Other, cause.to_string()).within(what)
        })?;
        let op = Op::File(FileOp::WriteFile {
            path,
            contents,
            mode: 0o600,
            owner: None,
        });
        host.change(&op)
            .map(drop)
            .map_err(|error| error.within(what))
    }

    /// Makes every way out of the host forward for this VM; Docker lets it through.
    ///
    /// An answer is forwarded by the interface on which it arrives, and any route may be the one
    /// that a guest's packet takes.
    fn use_ways_out(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let mut held = self.held();
        self.struck().remove(&vm.id);
        let mut settings = self.read(host)?;
        let names = host.ways_out().during("list the host's ways out")?;
        let mut changed = false;
        for name in &names {
            let was = host.forwarding(name).during("read a way's forwarding")?;
            let was = was.unwrap_or(false);
            let entry = settings
                .uplinks
                .entry(name.clone())
                .or_insert_with(|| Uplink {
                    was,
                    users: BTreeSet::new(),
                });
            // One that somebody has switched off meanwhile is on for us alone.
            changed |= entry.was && !was;
            entry.was &= was;
            changed |= entry.users.insert(vm.id);
        }
        if changed {
            self.write(host, &settings)
                .map_err(|error| from_host(&error))?;
        }
        // Before anything forwards that did not.
        *held = Some(self.keep_to_guests(host, &settings)?);
        for name in &names {
            let op = RootOp::SetForwarding {
                interface: name.clone(),
                on: true,
            };
            match host.change(&self.instance.change(op)) {
                // It has just gone, and its routes with it.
                Err(error) if error.kind() == Kind::Missing => {}
                other => other.during(format!("forward on `{name}`")).map(drop)?,
            }
        }
        if !names.is_empty() {
            // Written down by the same entries: without a way out nothing is forwarded anyway.
            let op = RootOp::AcceptInDockerUser { on: true };
            host.change(&self.instance.change(op))
                .during("be accepted by DOCKER-USER")?;
        }
        let leaves = BTreeSet::from([vm.id]);
        self.leave(&leaves, host, &mut settings, &names, &mut held)?
            .map_err(|error| from_host(&error))
    }

    fn struck(&self) -> MutexGuard<'_, BTreeSet<VmId>> {
        self.struck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, Option<ForwardingState>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has what forwards because of us be forwarded to guests only: what arrives there for anybody
    /// else is dropped, as it was before.
    fn keep_to_guests(&self, host: &dyn Host, settings: &Settings) -> Result<ForwardingState> {
        let everywhere = host
            .forwards_everywhere()
            .during("read the host's forwarding")?;
        let ours = settings.uplinks.iter().filter(|(_, it)| !it.was);
        let interfaces: BTreeSet<String> = match everywhere {
            // Somebody else wants it so.
            true => BTreeSet::new(),
            false => ours.map(|(name, _)| name.clone()).collect(),
        };
        let op = RootOp::KeepToGuests {
            interfaces: interfaces.clone(),
        };
        host.change(&self.instance.change(op))
            .during("keep forwarding to guests")?;
        Ok(ForwardingState {
            everywhere,
            interfaces: interfaces.into_iter().collect(),
        })
    }

    /// Strikes the VMs out of all ways out but these, and restores those that nobody needs. What
    /// came of writing that down is the inner result.
    fn leave(
        &self,
        vms: &BTreeSet<VmId>,
        host: &dyn Host,
        settings: &mut Settings,
        but: &[String],
        kept: &mut Option<ForwardingState>,
    ) -> Result<banger_host::Result<()>> {
        let everywhere = host
            .forwards_everywhere()
            .during("read the host's forwarding")?;
        let mut changed = false;
        let names: Vec<String> = settings.uplinks.keys().cloned().collect();
        for name in names.into_iter().filter(|name| !but.contains(name)) {
            let Some(uplink) = settings.uplinks.get_mut(&name) else {
                continue;
            };
            let before = uplink.users.len();
            uplink.users.retain(|user| !vms.contains(user));
            changed |= uplink.users.len() != before;
            if !uplink.users.is_empty() {
                continue;
            }
            // What forwarded before was never ours to switch, and what all of the host's
            // interfaces do since is somebody else's wish.
            if !uplink.was && !everywhere {
                let op = RootOp::SetForwarding {
                    interface: name.clone(),
                    on: false,
                };
                host.change(&self.instance.change(op))
                    .during(format!("restore forwarding on `{name}`"))?;
            }
            if settings.uplinks.len() == 1 {
                let op = RootOp::AcceptInDockerUser { on: false };
                host.change(&self.instance.change(op))
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
        if !changed && !stale {
            return Ok(Ok(()));
        }
        let written = self.write(host, settings);
        if !written.as_ref().is_err_and(|it| it.kind() != Kind::NoSpace) {
            *kept = Some(self.keep_to_guests(host, settings)?);
        }
        Ok(written)
    }

    fn on(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.use_ways_out(vm, host)?;
        let address = vm.address;
        host.change(&self.instance.change(RootOp::AllowNat { address }))
            .during("let the guest out")?;
        self.forward(vm, host, true)
    }

    fn off(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let stopped = self.forward(vm, host, false);
        let address = vm.address;
        let forbidden = host
            .change(&self.instance.change(RootOp::ForbidNat { address }))
            .during("keep the guest in")
            .map(drop);
        stopped.and(forbidden).and(self.strike_out(vm, host))
    }

    /// Strikes the VM out of all ways out. Where there is no space to write that down, it is done,
    /// and written down with the next one: a full host keeps no VM from being ended.
    fn strike_out(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let mut kept = self.held();
        let mut all = self.struck().clone();
        all.insert(vm.id);
        let mut settings = self.read(host)?;
        match self.leave(&all, host, &mut settings, &[], &mut kept)? {
            Ok(()) => self.struck().clear(),
            Err(error) if error.kind() == Kind::NoSpace => *self.struck() = all,
            Err(error) => return Err(from_host(&error)),
        }
        Ok(())
    }

    /// Whether the host's ways out are as they were made for all guests, and if so what forwards for
    /// guests only.
    fn ways_out_hold(&self, host: &dyn Host) -> Result<Option<ForwardingState>> {
        let what = "look at forwarding";
        let ways = host.ways_out().during("list the host's ways out")?;
        for name in &ways {
            // An interface that has gone meanwhile is no way out.
            if host.forwarding(name).during(what)? == Some(false) {
                return Ok(None);
            }
        }
        let tap_prefix = self.instance.tap_prefix();
        let everywhere = host.forwards_everywhere().during(what)?;
        let kept = self.held().clone().filter(|it| it.everywhere == everywhere);
        if kept.is_none() || ways.is_empty() {
            return Ok(kept);
        }
        let accepted = host
            .accepted_by_docker(&tap_prefix)
            .during("look at DOCKER-USER")?;
        Ok(kept.filter(|_| accepted))
    }

    fn lets_out(&self, vms: &[&Vm], kept: &ForwardingState, host: &dyn Host) -> Result<bool> {
        let addresses: Vec<Ipv4Addr> = vms.iter().map(|vm| vm.address).collect();
        host.firewall_holds(&self.instance.table(), &[], &addresses, &kept.interfaces)
            .during("look at the firewall")
    }

    /// Whether the VM's TAP forwards. One that does not keeps a guest in without any rule.
    fn forward(&self, vm: &Vm, host: &dyn Host, on: bool) -> Result<()> {
        let what = format!("set forwarding on `{}`", self.instance.tap(vm.id));
        let machine = machine(vm.id);
        host.change(&self.instance.change(RootOp::ForwardGuest { machine, on }))
            .during(what)
            .map(drop)
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
                Ok(Some(name)) => Finding::Good(format!("the default route goes by `{name}`")),
                Ok(None) | Err(_) => Finding::Doubtful {
                    found: "the host has no default route".to_owned(),
                    hint: "guests reach no more than the host does: ip route show default"
                        .to_owned(),
                },
            }),
            Check::probe("other firewalls", Probe::ForwardedPackets { tap_prefix })
                .only_warns()
                .noted(),
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

    fn holds(&self, running: &[&Vm], host: &dyn Host) -> Holds {
        let forwards = |vm: &Vm| {
            let forwards = host.forwarding(&self.instance.tap(vm.id));
            Ok(forwards.during("look at forwarding")? == Some(vm.spec.nat))
        };
        let is_on_tap = |vm: &Vm| vm.network == NetworkKind::Tap;
        among(running, is_on_tap, |vms| {
            let taps = vms.iter().map(|vm| forwards(vm)).collect();
            let out = among(
                vms,
                |vm| vm.spec.nat,
                |vms| match self.ways_out_hold(host) {
                    Ok(Some(kept)) => together(vms, |vms| self.lets_out(vms, &kept, host)),
                    Ok(None) => vec![Ok(false); vms.len()],
                    Err(error) => vec![Err(error); vms.len()],
                },
            );
            both(taps, out)
        })
    }

    fn teardown(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        if self.kind == NetworkKind::User && vm.network == NetworkKind::User {
            return Ok(());
        }
        self.off(vm, host)
    }
}
