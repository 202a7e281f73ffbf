//! The `reflink` driver: a file that shares its blocks with the base until they are written
//! (FICLONE), on XFS and btrfs.

use std::path::PathBuf;

use banger_api::DiskView;
use banger_host::{FileOp, Host, Op, Probe};

use super::{OwnFile, RootDisk};
use crate::error::{During, Result};
use crate::layout::Layout;
use crate::readiness::Check;
use crate::vm::Vm;

/// The `reflink` driver.
#[derive(Debug)]
pub(crate) struct Reflink {
    file: OwnFile,
}

impl Reflink {
    /// Keeps disks below this layout.
    #[must_use]
    pub(crate) fn new(layout: Layout) -> Self {
        Self {
            file: OwnFile { layout },
        }
    }
}

impl RootDisk for Reflink {
    fn name(&self) -> &'static str {
        "reflink"
    }

    fn checks(&self, vm: Option<&Vm>) -> Vec<Check> {
        match vm {
            Some(vm) => vec![self.file.check(vm)],
            None => {
                let directory = self.file.layout.state().to_owned();
                vec![Check::probe("reflink", Probe::Reflink { directory })]
            }
        }
    }

    fn file(&self, vm: &Vm) -> PathBuf {
        self.file.path(vm)
    }

    fn usage(&self, vm: &Vm, host: &dyn Host) -> Option<DiskView> {
        let mut usage = self.file.usage(vm, host)?;
        usage.shared_bytes = host.shared(&self.file.path(vm)).ok().flatten();
        Some(usage)
    }

    fn create(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let op = Op::File(FileOp::CloneFile {
            from: self.file.base(vm),
            to: self.file.path(vm),
            owner: vm.owner,
        });
        host.change(&op).during("reflink the image")?;
        self.file.grow(vm, host)
    }

    fn grow(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.file.grow(vm, host)
    }

    fn delete(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        self.file.delete(vm, host)
    }
}
