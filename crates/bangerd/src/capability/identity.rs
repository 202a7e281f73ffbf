//! Who the guest is: its host name, its machine-id, its own `/etc/hosts`, and what it says at login.

use std::net::Ipv4Addr;

use banger_api::NetworkKind;

use super::Capability;
use crate::error::Result;
use crate::plan::Plan;
use crate::vm::Vm;

/// The identity capability.
#[derive(Debug)]
pub struct Identity;

impl Capability for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }

    fn plan(&self, vm: &Vm, plan: &mut Plan) -> Result<()> {
        let guest = &mut plan.guest;
        let own = match vm.network {
            NetworkKind::Tap => vm.address,
            NetworkKind::User => Ipv4Addr::new(127, 0, 1, 1),
        };
        guest.identity("identity", vm.name.as_str(), &vm.machine_id, own.into())?;
        guest.file("identity", "/run/motd.d/10-banger", 0o644, &greeting(vm))
    }
}

/// What a login shows.
fn greeting(vm: &Vm) -> String {
    let mut text = format!(
        "banger VM {}: everything in / and /root is kept until you delete it.\n",
        vm.name
    );
    if !vm.spec.nat {
        text += &format!(
            "It has no way out to the network. On the host: banger vm set {} --nat\n",
            vm.name
        );
    }
    text
}
