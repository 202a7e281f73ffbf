//! The disk that the guest has at `/`: the VM's own writable layer over an image's base.
//!
//! How the layer is made is a storage driver's matter; a VM keeps the driver that it was made with.

use std::collections::BTreeSet;

use banger_api::{Code, DiskView, Error, VmId};
use banger_host::Host;

use super::Capability;
use crate::error::{During, Result};
use crate::machine::Drive;
use crate::plan::Plan;
use crate::readiness::Check;
use crate::storage::{self, RootDisk};
use crate::vm::Vm;

/// The root disk, through whichever driver a VM has.
#[derive(Debug)]
pub struct RootDisks {
    drivers: Vec<Box<dyn RootDisk>>,
    wanted: &'static str,
}

impl RootDisks {
    /// The drivers to choose from; a VM names one of them. `wanted` is the word of the
    /// configuration for new VMs, `auto` or a driver's name.
    #[must_use]
    pub fn new(drivers: Vec<Box<dyn RootDisk>>, wanted: &'static str) -> Self {
        Self { drivers, wanted }
    }

    fn driver(&self, vm: &Vm) -> Result<&dyn RootDisk> {
        self.drivers
            .iter()
            .find(|driver| driver.name() == vm.root_disk)
            .map(|driver| &**driver)
            .ok_or_else(|| {
                Error::new(
                    Code::NotReady,
                    format!("this banger has no root-disk driver `{}`", vm.root_disk),
                )
                .hint("run the banger that made the VM, or a newer one")
            })
    }
}

impl Capability for RootDisks {
    fn name(&self) -> &'static str {
        "root disk"
    }

    fn checks(&self, vm: Option<&Vm>) -> Vec<Check> {
        match vm {
            Some(vm) => self
                .driver(vm)
                .map(|driver| driver.checks(Some(vm)))
                .unwrap_or_default(),
            // With `auto` a driver that does not pass is passed over, and nothing is amiss.
            None => {
                let wanted = self
                    .drivers
                    .iter()
                    .filter(|driver| driver.name() == self.wanted);
                wanted.flat_map(|driver| driver.checks(None)).collect()
            }
        }
    }

    fn choose(&self, vm: &mut Vm, host: &dyn Host) -> Result<()> {
        // Those of a start stay with its run, which mends what they tell of.
        let notes = self.notes(vm, host);
        vm.note_run(|run| run.notes.extend(notes));
        Ok(())
    }

    fn admits(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let driver = self.driver(vm)?;
        let (size, file) = (vm.spec.system_disk_size, driver.file(vm));
        storage::admit_size("system disk", size, &file, |mib| driver.file_mib(mib), host)
    }

    fn plan(&self, vm: &Vm, plan: &mut Plan) -> Result<()> {
        let driver = self.driver(vm)?;
        let device = plan.disk(Drive {
            name: "root".to_owned(),
            path: driver.path(vm),
            block: driver.is_block(),
            read_only: false,
        });
        plan.guest.root("root disk", &device)
    }

    fn notes(&self, vm: &Vm, host: &dyn Host) -> Vec<String> {
        self.driver(vm)
            .map(|driver| driver.notes(vm, host))
            .unwrap_or_default()
    }

    fn disks(&self, vm: &Vm, host: &dyn Host) -> Vec<DiskView> {
        let driver = self.driver(vm).ok();
        let usage = driver.and_then(|driver| driver.usage(vm, host));
        usage.into_iter().collect()
    }

    fn breaks_when_full(&self, vm: &Vm) -> bool {
        self.driver(vm).is_ok_and(RootDisk::breaks_when_full)
    }

    fn create(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.driver(vm)?
            .create(vm, host)
            .during("make the root disk")
    }

    fn grow(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.driver(vm)?.grow(vm, host).during("grow the root disk")
    }

    fn prepare(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.driver(vm)?
            .prepare(vm, host)
            .during("attach the root disk")
    }

    fn teardown(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.driver(vm)?
            .teardown(vm, host)
            .during("detach the root disk")
    }

    fn strangers(&self, vms: &BTreeSet<VmId>, host: &dyn Host) -> Result<Vec<String>> {
        let strangers = self.drivers.iter().map(|it| it.strangers(vms, host));
        Ok(strangers.collect::<Result<Vec<_>>>()?.concat())
    }

    fn delete(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.driver(vm)?
            .delete(vm, host)
            .during("remove the root disk")
    }
}
