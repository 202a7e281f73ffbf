//! The identity of the guest: its host name, machine-id, `/etc/hosts`, and login message.

use std::net::Ipv4Addr;

use banger_api::{NetworkKind, Phase};
use banger_guest::config::{GREETING_PATH, NewName};
use banger_host::Host;

use super::Capability;
use crate::error::{During, Result};
use crate::guest::Guest;
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
        guest.host_name("identity", vm.name.as_str(), former(vm), own.into())?;
        guest.machine_id("identity", &vm.machine_id, &vm.former_machine_ids)?;
        guest.file("identity", GREETING_PATH, 0o644, &greeting(vm))
    }

    fn notes(&self, vm: &Vm, _host: &dyn Host) -> Vec<String> {
        let has_guest = vm.phase == Phase::Running && !vm.is_in_rescue();
        let former = vm.former_names.last().filter(|_| has_guest);
        let note = former.map(|former| {
            format!(
                "its guest has the host name `{former}` until its next start: banger vm restart {}",
                vm.name
            )
        });
        note.into_iter().collect()
    }

    fn on_rename(&self, vm: &Vm, guest: &mut dyn Guest) -> Result<()> {
        let name = NewName {
            former: former(vm),
            hostname: vm.name.to_string(),
            greeting: greeting(vm),
        };
        guest.rename(&name).during("rename the guest")
    }
}

fn former(vm: &Vm) -> Vec<String> {
    vm.former_names.iter().map(ToString::to_string).collect()
}

/// The login message.
fn greeting(vm: &Vm) -> String {
    let mut text = format!(
        "banger VM {}: everything in / and /root is kept until you delete it.\n",
        vm.name
    );
    if !vm.spec.nat {
        text += &format!(
            "It has no network access beyond its host. To change that, on the host: banger vm set {} --nat\n",
            vm.name
        );
    }
    text
}
