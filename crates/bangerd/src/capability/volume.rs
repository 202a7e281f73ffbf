//! The volumes of a VM: disks with names, mounted at the directories of its settings.

use banger_host::{Finding, Host};

use super::Capability;
use crate::error::{During, Result};
use crate::layout::Layout;
use crate::machine::Drive;
use crate::plan::Plan;
use crate::readiness::Check;
use crate::vm::Vm;
use crate::volumes::Volumes;

/// The volumes capability.
#[derive(Debug)]
pub struct AttachedVolumes {
    volumes: Volumes,
}

impl AttachedVolumes {
    /// Attaches the volumes below this layout.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self {
            volumes: Volumes::new(layout),
        }
    }
}

impl Capability for AttachedVolumes {
    fn name(&self) -> &'static str {
        "volumes"
    }

    fn checks(&self, vm: Option<&Vm>) -> Vec<Check> {
        let Some(vm) = vm.filter(|vm| !vm.spec.volumes.is_empty()) else {
            return Vec::new();
        };
        let (volumes, vm) = (self.volumes.clone(), vm.clone());
        vec![Check::new("volumes", move |host| {
            let names = vm.spec.volumes.keys();
            let is_gone = |name: &&_| !matches!(volumes.look(name, &[&vm], host), Ok(Some(_)));
            match { names }.find(is_gone) {
                None => Finding::Good(format!("{} are there", vm.spec.volumes.len())),
                Some(name) => Finding::Bad {
                    found: format!("the volume `{name}` is gone"),
                    hint: format!(
                        "start without it: banger vm set {} --no-volume {name}",
                        vm.name
                    ),
                },
            }
        })]
    }

    fn plan(&self, vm: &Vm, plan: &mut Plan) -> Result<()> {
        // A directory comes before those below it.
        let mut volumes: Vec<_> = vm.spec.volumes.iter().collect();
        volumes.sort_by_key(|(_, mount)| *mount);
        for (index, (name, mount)) in volumes.into_iter().enumerate() {
            let device = plan.disk(Drive {
                name: format!("volume{index}"),
                path: Volumes::name_in_machine(name),
                block: false,
                read_only: false,
            });
            plan.guest.disk("volumes", &device, mount)?;
        }
        Ok(())
    }

    fn prepare(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let mut names = vm.spec.volumes.keys();
        names.try_for_each(|name| {
            let attached = self.volumes.attach(vm, name, host);
            attached.during(format!("attach the volume `{name}`"))
        })
    }

    fn teardown(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.volumes.detach_all(vm, host)
    }
}
