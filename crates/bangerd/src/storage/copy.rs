//! The `copy` driver: a full copy of the base that preserves holes. It works on every file system.

use std::path::PathBuf;

use banger_api::DiskView;
use banger_host::{FileOp, Host, Op};

use super::{OwnFile, RootDisk};
use crate::error::{During, Result};
use crate::layout::Layout;
use crate::readiness::Check;
use crate::vm::Vm;

/// The `copy` driver.
#[derive(Debug)]
pub(crate) struct Copy {
    file: OwnFile,
}

impl Copy {
    /// Keeps disks below this layout.
    #[must_use]
    pub(crate) fn new(layout: Layout) -> Self {
        Self {
            file: OwnFile { layout },
        }
    }
}

impl RootDisk for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn checks(&self, vm: Option<&Vm>) -> Vec<Check> {
        vm.map(|vm| self.file.check(vm)).into_iter().collect()
    }

    fn file(&self, vm: &Vm) -> PathBuf {
        self.file.path(vm)
    }

    fn usage(&self, vm: &Vm, host: &dyn Host) -> Option<DiskView> {
        self.file.usage(vm, host)
    }

    fn create(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let op = Op::File(FileOp::CopyFile {
            from: self.file.base(vm),
            to: self.file.path(vm),
            owner: vm.owner,
        });
        host.change(&op).during("copy the image")?;
        self.file.grow(vm, host)
    }

    fn grow(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.file.grow(vm, host)
    }

    fn delete(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.file.delete(vm, host)
    }
}
