//! Validates requests before anything is changed, and turns them into values that are valid by
//! construction.

use std::collections::BTreeMap;
use std::sync::Arc;

use banger_api::{Code, Error, Mib, VmId, VmName, VmSpec};

use super::{Engine, lock};
use crate::engine::hold::Slot;
use crate::error::{During, Result};
use crate::naming::NameSource;
use crate::vm::Vm;
use crate::vm::claim::Claim;

/// An error for settings that no host can provide.
fn invalid(message: String) -> Error {
    Error::new(Code::Invalid, message)
}

/// An error for settings that this host, or the existing VM, does not allow.
fn conflict(message: String) -> Error {
    Error::new(Code::Conflict, message)
}

impl Engine {
    /// Checks that a VM on this host can have this spec; an existing VM has the spec `before`.
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

    /// Rejects settings that a capability cannot provide on this host.
    pub(super) fn admit_vm(&self, vm: &Vm) -> Result<()> {
        let mut capabilities = self.parts.capabilities.iter();
        capabilities.try_for_each(|it| it.admits(vm, self.host()))
    }

    /// The claims of all VMs, such as addresses, including VMs with unreadable records.
    pub(super) fn claims(&self, vms: &BTreeMap<VmId, Arc<Slot>>) -> Vec<Claim> {
        let readable = vms.values().map(|slot| {
            let mut claim = Claim::of(&slot.vm());
            claim.names.extend(slot.next_name());
            claim
        });
        readable.chain(lock(&self.unreadable).clone()).collect()
    }

    /// Assigns the first free index to a new VM, and what capabilities derive from it.
    pub(super) fn allot(&self, vm: &mut Vm, claims: &[Claim]) -> Result<()> {
        let is_free = |index: &u32| claims.iter().all(|claim| !claim.indexes.contains(index));
        for index in (0..=u32::MAX).filter(is_free) {
            vm.index = index;
            let mut fits = true;
            for capability in &self.parts.capabilities {
                fits &= capability.allot(vm, claims)?;
            }
            if fits {
                return Ok(());
            }
        }
        Err(conflict("all indexes are taken".to_owned()))
    }
}

/// An unused name from `source`.
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
    let text = "no unused name was found";
    Err(Error::new(Code::Conflict, text)
        .cause(format!("the last candidate was `{}`", last.escape_debug()))
        .hint("choose one: banger vm create NAME"))
}

/// Checks the requested name.
pub(super) fn given_name(text: &str, claims: &[Claim]) -> Result<VmName> {
    let name: VmName = text.parse().map_err(|cause: banger_api::InvalidName| {
        invalid(cause.to_string()).hint("a name is a DNS label, such as calm-otter")
    })?;
    taken(&name, claims)?;
    Ok(name)
}

/// Rejects a name that another VM has, or that could be mistaken for another VM's id.
pub(super) fn taken(name: &VmName, claims: &[Claim]) -> Result<()> {
    if claims.iter().any(|claim| claim.names.contains(name)) {
        return Err(
            Error::new(Code::Conflict, format!("there is a VM `{name}` already"))
                .hint("choose another name; list all VMs: banger vm list")
                .hint("see those whose records cannot be read: banger daemon status"),
        );
    }
    match claims
        .iter()
        .find(|claim| claim.id.to_string().starts_with(name.as_str()))
    {
        Some(Claim { id, .. }) => Err(Error::new(
            Code::Conflict,
            format!("`{name}` is the beginning of another VM's id, {id}, and would be ambiguous"),
        )
        .hint("choose another name")),
        None => Ok(()),
    }
}
