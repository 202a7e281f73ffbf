//! The tools, by the permission that they need.

mod changing;
mod destroying;
mod looking;

use banger_api::VmView;
use serde::Serialize;

/// The properties of a VM that an agent needs.
#[derive(Debug, Serialize)]
struct VmSummary<'a> {
    name: &'a str,
    phase: String,
    image: &'a str,
    vcpu: u32,
    memory_mib: u64,
    nat: bool,
    address: Option<std::net::Ipv4Addr>,
    labels: &'a std::collections::BTreeMap<String, String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
}

impl<'a> VmSummary<'a> {
    fn of(vm: &'a VmView) -> Self {
        Self {
            name: vm.name.as_str(),
            phase: vm.phase.to_string(),
            image: &vm.image,
            vcpu: vm.spec.vcpu,
            memory_mib: vm.spec.memory.0,
            nat: vm.spec.nat,
            address: vm.address,
            labels: &vm.spec.labels,
            notes: &vm.notes,
        }
    }
}
