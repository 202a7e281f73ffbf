//! The guest's interface: a routed TAP of its own, or QEMU's user networking if banger may not
//! create TAPs.
//!
//! With a TAP, the guest has a /32 address and an on-link gateway, the host has a /32 route to it,
//! and the firewall drops packets from any other source address.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use banger_api::{Code, Error, NetworkKind, VmId};
use banger_host::{Finding, GuestTap, Host, Probe, RootOp, Subnet};

use super::Capability;
use crate::error::{During, Result};
use crate::gate;
use crate::holds::{Holds, among, both, together};
use crate::machine::{Backend, Interface};
use crate::plan::Plan;
use crate::readiness::Check;
use crate::vm::Vm;
use crate::vm::claim::Claim;
use crate::vm::names::{Instance, machine};

/// The MTU of a guest's interface, in bytes.
const MTU: u32 = 1500;

/// The network capability.
#[derive(Debug)]
pub struct Network {
    instance: Instance,
    kind: NetworkKind,
    subnet: Subnet,
}

impl Network {
    /// Gives new runs interfaces of this kind.
    #[must_use]
    pub fn new(instance: Instance, kind: NetworkKind, subnet: Subnet) -> Self {
        Self {
            instance,
            kind,
            subnet,
        }
    }
}

impl Network {
    /// Checks that no other interface of the host has exactly this VM's address, such as the TAP of
    /// another installation, or of a VM whose record is gone. The address may come from an earlier
    /// `subnet` of the configuration.
    fn address_check(&self, vm: &Vm) -> Check {
        let (name, address) = (vm.name.clone(), vm.address);
        let own = format!("`{}", self.instance.tap_prefix());
        let probe = Probe::SubnetFree {
            subnet: Subnet {
                network: address,
                prefix: 32,
            },
            tap_prefix: self.instance.tap(vm.id),
        };
        Check::new("address", move |host| match host.probe(&probe) {
            Finding::Bad { found, .. } => Finding::Bad {
                hint: if found.contains(&own) {
                    "see what belongs to no VM, and how to remove it: banger daemon status"
                        .to_owned()
                } else {
                    format!("a copy gets another address: banger vm clone {name} NEW")
                },
                found: format!("{address}, the address of `{name}`, is taken: {found}"),
            },
            // Routes of larger networks are the subject of the other check.
            Finding::Good(_) | Finding::Doubtful { .. } => {
                Finding::Good(format!("nothing else has {address}"))
            }
        })
    }
}

impl Capability for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn checks(&self, vm: Option<&Vm>) -> Vec<Check> {
        let subnet = Check::probe(
            "subnet",
            Probe::SubnetFree {
                subnet: self.subnet,
                tap_prefix: self.instance.tap_prefix(),
            },
        );
        match self.kind {
            NetworkKind::Tap => {
                let network = Check::probe("TAP and nft", Probe::Network).lasting();
                // A VM that has run keeps its address, whose route is the most specific.
                match vm.filter(|vm| vm.last_boot.is_some()) {
                    Some(vm) => vec![network, subnet.only_warns().noted(), self.address_check(vm)],
                    None => {
                        let address = vm.map(|vm| self.address_check(vm));
                        let others = [network, subnet.noted()];
                        others.into_iter().chain(address).collect()
                    }
                }
            }
            NetworkKind::User => vec![
                Check::probe("TAP and nft", Probe::Network).only_warns(),
                Check::new("user networking", |_| {
                    Finding::Good(
                        "with NAT, guests reach what this host reaches, but not the host itself"
                            .to_owned(),
                    )
                }),
            ],
        }
    }

    fn choose(&self, vm: &mut Vm, host: &dyn Host) -> Result<()> {
        vm.network = self.kind;
        if vm.run.is_some() && vm.network == NetworkKind::User {
            let port = host.free_port(vm.ssh_port);
            vm.ssh_port = Some(port.during("find a port for SSH")?);
        }
        Ok(())
    }

    fn allot(&self, vm: &mut Vm, claims: &[Claim]) -> Result<bool> {
        let Some(address) = address(self.subnet, vm.index) else {
            let text = format!("all addresses of `{}` are taken", self.subnet);
            return Err(Error::new(Code::Conflict, text)
                .hint("delete a VM, or set a larger `subnet` in the configuration"));
        };
        vm.address = address;
        vm.gateway = gateway(self.subnet);
        Ok(claims.iter().all(|it| !it.addresses.contains(&address)))
    }

    fn plan(&self, vm: &Vm, plan: &mut Plan) -> Result<()> {
        let backend = match vm.network {
            NetworkKind::Tap => Backend::Tap {
                name: self.instance.tap(vm.id),
            },
            NetworkKind::User => {
                let ssh_port = vm
                    .ssh_port
                    .ok_or_else(|| Error::new(Code::Internal, "the VM has no port for its SSH"))?;
                Backend::User { ssh_port }
            }
        };
        plan.machine.interfaces.push(Interface {
            mac: vm.mac().to_string(),
            mtu: MTU,
            backend,
        });
        let guest = &mut plan.guest;
        match vm.network {
            NetworkKind::Tap => guest.network("network", "eth0", vm.address, 32, vm.gateway, MTU),
            NetworkKind::User => {
                guest.network("network", "eth0", gate::GUEST, 24, gate::GATEWAY, MTU)
            }
        }
    }

    fn prepare(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        if vm.network == NetworkKind::User {
            return Ok(());
        }
        let what = format!("create the TAP `{}`", self.instance.tap(vm.id));
        let op = RootOp::MakeTap(self.tap(vm, host));
        host.change(&self.instance.change(op))
            .during(what)
            .map(drop)
    }

    fn apply(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.prepare(vm, host)
    }

    fn holds(&self, running: &[&Vm], host: &dyn Host) -> Holds {
        let tap_holds = |vm: &Vm| {
            host.tap_holds(self.instance.on_host(), &self.tap(vm, host))
                .during("examine the TAP")
        };
        let guest = |vm: &&Vm| (self.instance.tap(vm.id), vm.address);
        let is_let_in = |vms: &[&Vm]| {
            let guests: Vec<(String, Ipv4Addr)> = vms.iter().map(guest).collect();
            host.firewall_holds(&self.instance.table(), &guests, &[])
                .during("examine the firewall")
        };
        among(running, is_on_tap, |vms| {
            let taps = vms.iter().map(|vm| tap_holds(vm)).collect();
            both(taps, together(vms, is_let_in))
        })
    }

    fn teardown(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let tap = self.instance.tap(vm.id);
        let ours = self.kind == NetworkKind::Tap
            || host
                .interfaces(&tap)
                .during("list the interfaces")?
                .contains(&tap);
        if !ours {
            return Ok(());
        }
        let machine = machine(vm.id);
        let removed = host
            .change(&self.instance.change(RootOp::RemoveTap { machine }))
            .during(format!("remove the TAP `{tap}`"));
        let op = RootOp::ForbidGuest {
            machine,
            address: vm.address,
        };
        let forbidden = host
            .change(&self.instance.change(op))
            .during("remove the guest from the firewall");
        removed.and(forbidden).map(drop)
    }

    fn strangers(&self, vms: &BTreeSet<VmId>, host: &dyn Host) -> Result<Vec<String>> {
        let known: BTreeSet<String> = vms.iter().map(|id| self.instance.tap(*id)).collect();
        let taps = host
            .interfaces(&self.instance.tap_prefix())
            .during("list the interfaces")?;
        let strange = taps.into_iter().filter(|tap| !known.contains(tap));
        let words = strange.map(|tap| {
            format!("the TAP `{tap}` belongs to no VM; remove it: ip link delete {tap}")
        });
        Ok(words.collect())
    }
}

fn is_on_tap(vm: &Vm) -> bool {
    vm.network == NetworkKind::Tap
}

impl Network {
    /// The specification of the VM's TAP.
    fn tap(&self, vm: &Vm, host: &dyn Host) -> GuestTap {
        GuestTap {
            machine: machine(vm.id),
            uid: vm
                .jailed_as()
                .or(vm.owner)
                .map_or_else(|| host.uid(), |owner| owner.uid),
            host_address: vm.gateway,
            guest_address: vm.address,
            mac: vm.mac(),
            mtu: MTU,
        }
    }
}

/// The gateway of every guest: the first address.
fn gateway(subnet: Subnet) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(subnet.network) + 1)
}

/// The address with this index, if the network has one. The first two and the last are reserved.
fn address(subnet: Subnet, index: u32) -> Option<Ipv4Addr> {
    let address = Ipv4Addr::from(
        u32::from(subnet.network)
            .checked_add(2)?
            .checked_add(index)?,
    );
    let next = Ipv4Addr::from(u32::from(address).checked_add(1)?);
    (subnet.contains(address) && subnet.contains(next)).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_end_before_the_broadcast_address() {
        let subnet = Subnet {
            network: Ipv4Addr::new(10, 0, 0, 0),
            prefix: 29,
        };
        assert_eq!(gateway(subnet), Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(address(subnet, 0), Some(Ipv4Addr::new(10, 0, 0, 2)));
        assert_eq!(address(subnet, 4), Some(Ipv4Addr::new(10, 0, 0, 6)));
        assert_eq!(address(subnet, 5), None);
    }
}
