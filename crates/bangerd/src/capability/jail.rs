//! The jail that a machine may have run in: whatever the configuration says now, it goes when the
//! machine ends. What is in it has other names elsewhere, or was the hypervisor's own.

use banger_host::{FileOp, Host, Op};

use super::Capability;
use crate::error::{During, Result};
use crate::layout::Layout;
use crate::plan::Plan;
use crate::vm::Vm;
use crate::vm::names::Instance;

/// The jails below one state directory.
#[derive(Debug)]
pub struct Jails {
    layout: Layout,
    instance: Instance,
    by_root: bool,
}

impl Jails {
    /// Jails of this banger, below this layout. `by_root`: whether the root helper makes those of
    /// new starts, as a user of the VM's own.
    #[must_use]
    pub fn new(layout: Layout, instance: Instance, by_root: bool) -> Self {
        Self {
            layout,
            instance,
            by_root,
        }
    }
}

impl Capability for Jails {
    fn name(&self) -> &'static str {
        "jail"
    }

    fn choose(&self, vm: &mut Vm, _host: &dyn Host) -> Result<()> {
        let user = self.by_root.then(|| self.instance.owner(vm.index));
        vm.note_run(|run| run.jailed_as = user);
        Ok(())
    }

    fn plan(&self, vm: &Vm, plan: &mut Plan) -> Result<()> {
        plan.machine.jailed_as = vm.jailed_as();
        Ok(())
    }

    fn teardown(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let jails = self.layout.jails();
        let doing = "remove the machine's jail";
        let name = self.instance.process(vm.id);
        // A folder for each name that Firecracker's program ever had.
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
        let jails = Jails::new(layout.clone(), instance, false);
        jails.teardown(&vm, &sim).unwrap();
        let left = sim.list(&layout.jails().join("firecracker")).unwrap();
        assert_eq!(left, ["banger-1-ffff-00000000"]);
        let left = sim.list(&layout.jails().join("firecracker-1.16")).unwrap();
        assert!(left.is_empty(), "{left:?}");
        jails.teardown(&vm, &sim).unwrap();
    }
}
