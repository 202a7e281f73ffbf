//! The user that a machine's hypervisor runs as, and its jail. The jail is removed when the machine
//! ends, whatever the configuration says by then. Its content has other names elsewhere, or
//! belonged to the hypervisor alone.

use banger_api::{Code, Error};
use banger_host::{FileOp, Host, Op};

use super::Capability;
use crate::error::{During, Result};
use crate::layout::Layout;
use crate::vm::Vm;
use crate::vm::claim::Claim;
use crate::vm::names::{Instance, MOST_VMS};

/// The jails below one state directory.
#[derive(Debug)]
pub struct Jails {
    layout: Layout,
    instance: Instance,
    user: HypervisorUser,
}

/// The user that the hypervisor of a new start runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HypervisorUser {
    /// The daemon's own user.
    Daemon,
    /// A user for each VM, because the daemon is root.
    OfVm,
    /// A user for each VM, as which the root helper starts it in a jail. The files belong to the
    /// daemon.
    OfVmInJail,
}

impl Jails {
    /// The jails of this installation, below this layout.
    #[must_use]
    pub fn new(layout: Layout, instance: Instance, user: HypervisorUser) -> Self {
        Self {
            layout,
            instance,
            user,
        }
    }
}

impl Capability for Jails {
    fn name(&self) -> &'static str {
        "jail"
    }

    fn choose(&self, vm: &mut Vm, _host: &dyn Host) -> Result<()> {
        let in_jail = self.user == HypervisorUser::OfVmInJail;
        let user = in_jail.then(|| self.instance.owner(vm.index));
        vm.note_run(|run| run.jailed_as = user);
        Ok(())
    }

    fn allot(&self, vm: &mut Vm, claims: &[Claim]) -> Result<bool> {
        let user = self.instance.owner(vm.index);
        vm.owner = None;
        if self.user == HypervisorUser::OfVm {
            if vm.index >= MOST_VMS {
                let text = format!("all {MOST_VMS} users for hypervisors are taken");
                return Err(Error::new(Code::Conflict, text).hint("delete a VM: banger vm list"));
            }
            vm.owner = Some(user);
        }
        Ok(claims.iter().all(|it| !it.uids.contains(&user.uid)))
    }

    fn teardown(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let jails = self.layout.jails();
        let doing = "remove the machine's jail";
        let name = self.instance.process(vm.id);
        // There may be a folder for each name that Firecracker's program ever had.
        let programs = host.list(&jails).during(doing)?;
        let mut first = Ok(());
        for program in programs {
            let path = jails.join(program).join(&name);
            let removed = host
                .change(&Op::File(FileOp::RemoveDirectory { path }))
                .during(doing);
            first = first.and(removed.map(drop));
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble::tests::made;
    use banger_host::Look as _;

    #[test]
    fn a_jail_goes_whole_whatever_firecracker_was_called_and_others_stay() {
        let (sim, vm, _) = made();
        let layout = Layout::new("/state");
        let instance = Instance::new(sim.uid(), layout.state());
        let (mode, owner) = (0o711, None);
        let name = instance.process(vm.id);
        for below in [
            format!("firecracker/{name}/root/dev/net"),
            format!("firecracker-1.16/{name}/root"),
            "firecracker/banger-1-ffff-00000000/root".to_owned(),
        ] {
            let path = layout.jails().join(below);
            sim.change(&Op::File(FileOp::MakeDirectory { path, mode, owner }))
                .unwrap();
        }
        let jails = Jails::new(layout.clone(), instance, HypervisorUser::Daemon);
        jails.teardown(&vm, &sim).unwrap();
        let left = sim.list(&layout.jails().join("firecracker")).unwrap();
        assert_eq!(left, ["banger-1-ffff-00000000"]);
        let left = sim.list(&layout.jails().join("firecracker-1.16")).unwrap();
        assert!(left.is_empty(), "{left:?}");
        jails.teardown(&vm, &sim).unwrap();
    }
}
