//! The guest's way to the internet: forwarding and masquerading on every uplink of the host. With
//! user networking, the [gate](super::gate) does this instead.
//!
//! The host's forwarding settings are shared with all other VMs and installations: each VM holds
//! them, and releases them at its end ([`RootOp::HoldForwarding`]).
//!
//! ```text
//! prepare: hold the uplinks ─► accept in the firewall ─► the TAP forwards
//! teardown: the TAP stops forwarding ─► reject in the firewall ─► release the uplinks
//! ```
//!
//! Uplinks that appear later are followed: [`Capability::holds`] always looks at all current ones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use banger_api::{Code, Error, NetworkKind, VmSpec, VmSpecPatch};
use banger_host::{FileOp, Finding, Host, Op, Probe, RootOp};
use serde::Deserialize;

use super::{Capability, TakesEffect};
use crate::error::{During, Result};
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
}

/// The record of an older daemon about the host's settings, which the host's own ledger replaced.
#[derive(Debug, Deserialize)]
struct OlderSettings {
    /// The boot that it belongs to; it means nothing after another boot.
    boot_id: String,
    /// The uplinks on which it switched forwarding on.
    uplinks: BTreeMap<String, OlderUplink>,
}

#[derive(Debug, Deserialize)]
struct OlderUplink {
    /// Whether the uplink forwarded before.
    was: bool,
}

impl Nat {
    /// An older daemon's record is below this layout.
    #[must_use]
    pub fn new(instance: Instance, layout: Layout, kind: NetworkKind) -> Self {
        Self {
            instance,
            layout,
            kind,
        }
    }

    /// Moves an older daemon's record to the host's ledger.
    fn adopt(&self, host: &dyn Host) -> Result<()> {
        let path = self.layout.settings();
        let Some(bytes) = host.read(&path).during("read the host settings")? else {
            return Ok(());
        };
        let settings: OlderSettings = serde_json::from_slice(&bytes).map_err(|cause| {
            Error::new(Code::Internal, format!("read `{}`", path.display()))
                .cause(cause.to_string())
                .hint(format!("remove it: rm {}", path.display()))
        })?;
        let boot_id = host.boot_id().during("read the boot id")?;
        if settings.boot_id == boot_id {
            let off = settings.uplinks.into_iter().filter(|(_, it)| !it.was);
            let off_before: BTreeSet<String> = off.map(|(name, _)| name).collect();
            let op = RootOp::AdoptForwarding { off_before };
            host.change(&self.instance.change(op))
                .during("adopt the host settings")?;
        }
        host.change(&Op::File(FileOp::RemoveFile { path }))
            .during("remove the old record of host settings")
            .map(drop)
    }

    fn on(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.adopt(host)?;
        let machine = machine(vm.id);
        host.change(&self.instance.change(RootOp::HoldForwarding { machine }))
            .during("hold the host's uplinks")?;
        let address = vm.address;
        host.change(&self.instance.change(RootOp::AllowNat { address }))
            .during("open the firewall for the guest")?;
        self.forward(vm, host, true)
    }

    fn off(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let (address, machine) = (vm.address, machine(vm.id));
        let stopped = self.forward(vm, host, false);
        let forbidden = host
            .change(&self.instance.change(RootOp::ForbidNat { address }))
            .during("close the firewall for the guest")
            .map(drop);
        let adopted = self.adopt(host);
        let released = host
            .change(&self.instance.change(RootOp::ReleaseForwarding { machine }))
            .during("release the host's uplinks")
            .map(drop);
        stopped.and(forbidden).and(adopted).and(released)
    }

    fn lets_out(&self, vms: &[&Vm], host: &dyn Host) -> Result<bool> {
        let addresses: Vec<Ipv4Addr> = vms.iter().map(|vm| vm.address).collect();
        host.firewall_holds(&self.instance.table(), &[], &addresses)
            .during("examine the firewall")
    }

    /// Switches forwarding of the VM's TAP on or off. Without forwarding the guest reaches no
    /// network, even without firewall rules.
    fn forward(&self, vm: &Vm, host: &dyn Host, on: bool) -> Result<()> {
        let what = format!("set forwarding on `{}`", self.instance.tap(vm.id));
        let machine = machine(vm.id);
        host.change(&self.instance.change(RootOp::ForwardGuest { machine, on }))
            .during(what)
            .map(drop)
    }
}

/// The note that the guest has no internet access, with the command that changes it.
fn no_way_out(vm: &Vm) -> Option<String> {
    let name = &vm.name;
    match (vm.given().nat, vm.spec.nat) {
        (true, _) => None,
        (false, true) => Some(format!(
            "it has no network access beyond this host until its next start: banger vm restart {name}"
        )),
        (false, false) => Some(format!(
            "it has no network access beyond this host: banger vm set {name} --nat"
        )),
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
                Ok(Some(name)) => Finding::Good(format!("the default route uses `{name}`")),
                Ok(None) | Err(_) => Finding::Doubtful {
                    found: "the host has no default route".to_owned(),
                    hint: "guests reach only what the host reaches: ip route show default"
                        .to_owned(),
                },
            }),
            Check::probe("other firewalls", Probe::ForwardedPackets { tap_prefix })
                .only_warns()
                .noted(),
        ]
    }

    fn notes(&self, vm: &Vm, _host: &dyn Host) -> Vec<String> {
        no_way_out(vm).into_iter().collect()
    }

    fn settled(&self, vm: &Vm, chosen: &VmSpecPatch) -> Vec<String> {
        let note = chosen.nat.and_then(|_| no_way_out(vm));
        note.into_iter().collect()
    }

    fn takes_effect(&self, vm: &Vm, _host: &dyn Host) -> TakesEffect {
        match vm.network {
            NetworkKind::User => TakesEffect::NextStart,
            NetworkKind::Tap => TakesEffect::Now(VmSpec {
                nat: vm.spec.nat,
                ..vm.given().clone()
            }),
        }
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
        let what = "examine forwarding";
        let forwards = |vm: &Vm| {
            let forwards = host.forwarding(&self.instance.tap(vm.id));
            Ok(forwards.during(what)? == Some(vm.spec.nat))
        };
        let is_on_tap = |vm: &Vm| vm.network == NetworkKind::Tap;
        among(running, is_on_tap, |vms| {
            let taps = vms.iter().map(|vm| forwards(vm)).collect();
            let out = among(
                vms,
                |vm| vm.spec.nat,
                |vms| match host.forwarding_holds(self.instance.on_host()).during(what) {
                    Ok(true) => together(vms, |vms| self.lets_out(vms, host)),
                    Ok(false) => vec![Ok(false); vms.len()],
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
