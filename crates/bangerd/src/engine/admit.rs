//! What is refused before anything is done: a request is turned into values that cannot be wrong.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use banger_api::{Code, Error, Mib, VmId, VmName, VmSpec};
use banger_host::Subnet;

use super::{Engine, lock};
use crate::engine::hold::Slot;
use crate::error::{During, Result};
use crate::naming::NameSource;
use crate::vm::Vm;
use crate::vm::claim::Claim;
use crate::vm::names::MOST_VMS;

/// What must stay free on the state directory's file system when a VM is made.
const SPARE: u64 = 512;

/// What no host can give.
fn invalid(message: String) -> Error {
    Error::new(Code::Invalid, message)
}

/// What this host, or what there is already, cannot give.
fn conflict(message: String) -> Error {
    Error::new(Code::Conflict, message)
}

impl Engine {
    /// Passes on a spec that a VM on this host can have, where there is one already after `before`.
    pub(super) fn admit(&self, spec: VmSpec, before: Option<&VmSpec>) -> Result<VmSpec> {
        spec.check(before).map_err(invalid)?;
        if let Some(hypervisor) = self.parts.hypervisors.first() {
            let most = hypervisor.features().most_vcpus;
            if spec.vcpu > most {
                return Err(conflict(format!(
                    "the number of vCPUs must be 1 to {most} with {}, not {}",
                    hypervisor.name(),
                    spec.vcpu
                )));
            }
        }
        let host = Mib(self.host().memory_mib().during("read the host's memory")?);
        if spec.memory > host {
            return Err(conflict(format!(
                "memory must be at most {host}, all that this host has, not {}",
                spec.memory
            )));
        }
        Ok(spec)
    }

    /// Refuses settings that a capability cannot give on this host.
    pub(super) fn admit_vm(&self, vm: &Vm) -> Result<()> {
        let mut capabilities = self.parts.capabilities.iter();
        capabilities.try_for_each(|it| it.admits(vm, self.host()))
    }

    /// Refuses a system disk that is smaller than its image, and a host without room for it.
    pub(super) fn check_room(&self, spec: &VmSpec, root_digest: &str) -> Result<()> {
        let image = self.parts.layout.image(root_digest).root();
        let Some(stat) = self.host().stat(&image).during("look at the image")? else {
            return Err(Error::new(
                Code::NotReady,
                format!("the image `{}` is gone", image.display()),
            )
            .hint("banger bundle build"));
        };
        let least = Mib(stat.length.div_ceil(1 << 20));
        if spec.system_disk_size < least {
            return Err(conflict(format!(
                "{} for the system disk is too small: the image takes {least}",
                spec.system_disk_size
            )));
        }
        let needed = stat.allocated.div_ceil(1 << 20) + SPARE;
        let state = self.parts.layout.state();
        let free = self
            .host()
            .free_mib(state)
            .during("look at the free space")?;
        if free < needed {
            return Err(Error::new(
                Code::NotReady,
                format!(
                    "{} MiB are free for `{}`, and a new VM needs {needed} MiB",
                    free,
                    state.display()
                ),
            )
            .hint("free some space, or delete a VM: banger vm list"));
        }
        Ok(())
    }

    /// What every VM has that no other may have, those with unreadable records included.
    pub(super) fn claims(&self, vms: &BTreeMap<VmId, Arc<Slot>>) -> Vec<Claim> {
        let readable = vms.values().map(|slot| {
            let mut claim = Claim::of(&slot.vm());
            claim.names.extend(slot.next_name());
            claim
        });
        readable.chain(lock(&self.unreadable).clone()).collect()
    }

    /// The first free index, with its address.
    pub(super) fn admit_place(&self, claims: &[Claim]) -> Result<(u32, Ipv4Addr)> {
        let subnet = self.parts.subnet;
        let most = if self.parts.own_users {
            MOST_VMS
        } else {
            u32::MAX
        };
        let is_free = |index: u32, address: Ipv4Addr| {
            let uid = self.parts.instance.owner(index).uid;
            !claims.iter().any(|claim| {
                claim.indexes.contains(&index)
                    || claim.addresses.contains(&address)
                    || claim.uids.contains(&uid)
            })
        };
        (0..most)
            .map_while(|index| Some((index, address(subnet, index)?)))
            .find(|(index, address)| is_free(*index, *address))
            .ok_or_else(|| {
                Error::new(
                    Code::Conflict,
                    format!("all addresses of `{subnet}` are taken"),
                )
                .hint("delete a VM, or set a larger `subnet` in the configuration")
            })
    }
}

/// A name that nobody has, made up by `source`.
pub(super) fn made_up_name(source: &NameSource, claims: &[Claim]) -> Result<VmName> {
    let candidates = source.candidates()?;
    let mut last = String::new();
    for _ in 0..candidates.patience() {
        last = candidates.next()?;
        if let Ok(name) = last.parse::<VmName>()
            && taken(&name, claims).is_ok()
        {
            return Ok(name);
        }
    }
    let last: String = last.chars().take(80).collect();
    let text = "no name could be made up that is not taken";
    Err(Error::new(Code::Conflict, text)
        .cause(format!("the last candidate was `{}`", last.escape_debug()))
        .hint("give one: banger vm create NAME"))
}

/// The name that was asked for.
pub(super) fn given_name(text: &str, claims: &[Claim]) -> Result<VmName> {
    let name: VmName = text.parse().map_err(|cause: banger_api::InvalidName| {
        invalid(cause.to_string()).hint("a name is a DNS label, such as calm-otter")
    })?;
    taken(&name, claims)?;
    Ok(name)
}

/// The gateway of every guest: the first address.
pub(super) fn gateway(subnet: Subnet) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(subnet.network) + 1)
}

/// The address at a place, where the network has one: neither its first two nor its last.
fn address(subnet: Subnet, index: u32) -> Option<Ipv4Addr> {
    let address = Ipv4Addr::from(
        u32::from(subnet.network)
            .checked_add(2)?
            .checked_add(index)?,
    );
    let next = Ipv4Addr::from(u32::from(address).checked_add(1)?);
    (subnet.contains(address) && subnet.contains(next)).then_some(address)
}

/// Refuses a name that somebody has, or that would be taken for somebody's id.
pub(super) fn taken(name: &VmName, claims: &[Claim]) -> Result<()> {
    if claims.iter().any(|claim| claim.names.contains(name)) {
        return Err(
            Error::new(Code::Conflict, format!("there is a VM `{name}` already"))
                .hint("choose another name, or see it: banger vm list")
                .hint("see those whose records cannot be read: banger daemon status"),
        );
    }
    match claims
        .iter()
        .find(|claim| claim.id.to_string().starts_with(name.as_str()))
    {
        Some(Claim { id, .. }) => Err(Error::new(
            Code::Conflict,
            format!("`{name}` begins the id of another VM, {id}, and would be taken for it"),
        )
        .hint("choose another name")),
        None => Ok(()),
    }
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
