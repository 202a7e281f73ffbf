//! The guest's disk at `/root`: a new ext4 file system, which the guest fills from the image's own
//! `/root` on first use.

use std::path::Path;

use banger_api::DiskView;
use banger_host::{FileOp, Host, Op};

use super::Capability;
use crate::error::{During, Result};
use crate::layout::{Layout, machine};
use crate::machine::Drive;
use crate::manifest::{self, Content};
use crate::plan::Plan;
use crate::storage;
use crate::vm::Vm;

/// The work disk.
#[derive(Debug)]
pub struct WorkDisk {
    layout: Layout,
}

impl WorkDisk {
    /// Keeps its files below this layout.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self { layout }
    }
}

impl Capability for WorkDisk {
    fn name(&self) -> &'static str {
        "work disk"
    }

    fn admits(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let path = self.layout.vm(vm.id).in_machine(machine::WORK_DISK);
        storage::admit_size("work disk", vm.spec.disk_size, &path, |mib| mib, host)
    }

    fn plan(&self, _vm: &Vm, plan: &mut Plan) -> Result<()> {
        let device = plan.disk(Drive {
            name: "work".to_owned(),
            path: machine::WORK_DISK.to_owned(),
            block: false,
            read_only: false,
        });
        plan.guest.disk("work disk", &device, "/root")
    }

    fn disks(&self, vm: &Vm, host: &dyn Host) -> Vec<DiskView> {
        let path = self.layout.vm(vm.id).in_machine(machine::WORK_DISK);
        let stat = host.stat(&path).ok().flatten();
        let view = stat.map(|stat| DiskView {
            name: "work".to_owned(),
            size_bytes: stat.length,
            allocated_bytes: stat.allocated,
            shared_bytes: Some(0),
        });
        view.into_iter().collect()
    }

    fn create(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let op = Op::File(FileOp::MakeFilesystem {
            path: self.layout.vm(vm.id).in_machine(machine::WORK_DISK),
            size_mib: vm.spec.disk_size.0,
            label: "banger-work".to_owned(),
            owner: vm.owner,
        });
        host.change(&op).during("create the work disk").map(drop)
    }

    fn duplicate(&self, of: &Vm, vm: &Vm, host: &dyn Host) -> Result<()> {
        let path = |vm: &Vm| self.layout.vm(vm.id).in_machine(machine::WORK_DISK);
        storage::duplicate(&path(of), &path(vm), vm.owner, host).during("copy the work disk")?;
        self.grow(vm, host)
    }

    fn contents(&self, vm: &Vm, host: &dyn Host) -> Result<Vec<Content>> {
        let path = self.layout.vm(vm.id).in_machine(machine::WORK_DISK);
        let file = storage::whole_file(path, host).during("look at the work disk")?;
        let name = manifest::WORK;
        Ok(vec![Content { name, file }])
    }

    fn restore(&self, from: &Path, vm: &Vm, host: &dyn Host) -> Result<()> {
        let path = self.layout.vm(vm.id).in_machine(machine::WORK_DISK);
        let from = from.join(manifest::WORK);
        storage::take_over(&from, &path, vm.owner, host).during("take the work disk over")?;
        self.grow(vm, host)
    }

    fn grow(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let path = self.layout.vm(vm.id).in_machine(machine::WORK_DISK);
        let op = Op::File(FileOp::GrowFile {
            path,
            size_mib: vm.spec.disk_size.0,
        });
        host.change(&op).during("grow the work disk").map(drop)
    }

    fn delete(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let path = self.layout.vm(vm.id).in_machine(machine::WORK_DISK);
        host.change(&Op::File(FileOp::RemoveFile { path }))
            .during("remove the work disk")
            .map(drop)
    }
}
