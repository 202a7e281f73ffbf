//! How a VM's root disk is made from an image's base: the drivers behind one trait.
//!
//! | driver | needs | a new disk takes |
//! |---|---|---|
//! | `reflink` | a state directory on XFS or btrfs | nothing until it is written |
//! | `dm-snapshot` | device-mapper, and the right to use it | nothing until it is written |
//! | `copy` | nothing | the base's own blocks, holes stay holes |

pub mod copy;
pub mod dm_snapshot;
pub mod reflink;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use banger_api::{Code, DiskView, Error, Mib, VmId};
use banger_host::{FileOp, Finding, Host, Op};

use crate::error::{During, Result};
use crate::layout::{Layout, machine};
use crate::readiness::Check;
use crate::vm::Vm;

/// One way of giving a VM a writable disk over a base.
pub trait RootDisk: fmt::Debug + Send + Sync {
    /// The word in the configuration and in records.
    fn name(&self) -> &'static str;

    /// What must hold for it; with a VM, for that VM's disk.
    fn checks(&self, vm: Option<&Vm>) -> Vec<Check>;

    /// The disk, as the machine is given it.
    fn path(&self, _vm: &Vm) -> String {
        machine::ROOT_DISK.to_owned()
    }

    /// Whether that is a block device of the host, not a file.
    fn is_block(&self) -> bool {
        false
    }

    /// Whether the disk of a running VM breaks when a write finds the host's file system full, so
    /// that the VM must be paused in time for what the host has not written yet, too.
    fn breaks_when_full(&self) -> bool {
        false
    }

    /// What a VM's user should know of its disk, looked at before a start.
    fn notes(&self, _vm: &Vm, _host: &dyn Host) -> Vec<String> {
        Vec::new()
    }

    /// The file that grows with the disk.
    fn file(&self, vm: &Vm) -> PathBuf;

    /// How long that file is for a disk of this size, in MiB.
    fn file_mib(&self, disk_mib: u64) -> u64 {
        disk_mib
    }

    /// What the disk takes on the host, if that can be told.
    fn usage(&self, vm: &Vm, host: &dyn Host) -> Option<DiskView>;

    /// Makes the disk.
    ///
    /// # Errors
    /// When it is not there afterwards.
    fn create(&self, vm: &Vm, host: &dyn Host) -> Result<()>;

    /// Makes it as large as the VM says; it never shrinks.
    ///
    /// # Errors
    /// When it is smaller afterwards.
    fn grow(&self, vm: &Vm, host: &dyn Host) -> Result<()>;

    /// Makes it usable before a boot.
    ///
    /// # Errors
    /// When it is not.
    fn prepare(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Takes down what `prepare` made.
    ///
    /// # Errors
    /// When something is left.
    fn teardown(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// What bears this banger's name on the host and belongs to none of these VMs' disks, each in
    /// words with the command that removes it.
    ///
    /// # Errors
    /// When the host cannot be asked.
    fn strangers(&self, _vms: &BTreeSet<VmId>, _host: &dyn Host) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Removes it for good.
    ///
    /// # Errors
    /// When something is left.
    fn delete(&self, vm: &Vm, host: &dyn Host) -> Result<()>;
}

/// The disk is a file of its own: what `reflink` and `copy` share.
#[derive(Debug, Clone)]
struct OwnFile {
    layout: Layout,
}

impl OwnFile {
    fn path(&self, vm: &Vm) -> PathBuf {
        self.layout.vm(vm.id).in_machine(machine::ROOT_DISK)
    }

    fn base(&self, vm: &Vm) -> PathBuf {
        self.layout.image(&vm.images.root).root()
    }

    fn grow(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let op = Op::File(FileOp::GrowFile {
            path: self.path(vm),
            size_mib: vm.spec.system_disk_size.0,
        });
        host.change(&op)
            .during("make it as large as asked")
            .map(drop)
    }

    fn delete(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        host.change(&Op::File(FileOp::RemoveFile {
            path: self.path(vm),
        }))
        .during("remove its file")
        .map(drop)
    }

    fn usage(&self, vm: &Vm, host: &dyn Host) -> Option<DiskView> {
        let stat = host.stat(&self.path(vm)).ok().flatten()?;
        Some(DiskView {
            name: "root".to_owned(),
            size_bytes: stat.length,
            allocated_bytes: stat.allocated,
            shared_bytes: Some(0),
        })
    }

    fn check(&self, vm: &Vm) -> Check {
        let path = self.path(vm);
        Check::new("root disk", move |host| match host.stat(&path) {
            Ok(Some(stat)) => Finding::Good(format!("{} MiB", stat.length >> 20)),
            Ok(None) | Err(_) => Finding::Bad {
                found: format!("`{}` is gone", path.display()),
                hint: "restore it from a backup, or delete the VM".to_owned(),
            },
        })
    }
}

/// Refuses a size that the disk's file cannot have: smaller than it is, as disks only grow, or larger
/// than the file system takes. `what` names the disk; `file_mib` says how long its file is for a
/// size in MiB, and grows with it.
///
/// # Errors
/// `conflict`, with the limit.
pub fn admit_size(
    what: &str,
    size: Mib,
    file: &Path,
    file_mib: impl Fn(u64) -> u64,
    host: &dyn Host,
) -> Result<()> {
    // The largest disk whose file is no longer than so many bytes.
    let disk_of = |bytes: u64| Mib(largest(bytes >> 20, &file_mib));
    let conflict = |message: String| Error::new(Code::Conflict, message);
    let stat = host.stat(file).during("look at the disk")?;
    let now = stat.map_or(Mib(0), |stat| disk_of(stat.length));
    if size < now {
        return Err(
            conflict(format!("the {what} cannot shrink from {now} to {size}"))
                .hint("disks only grow; for a smaller one make a new VM: banger vm create"),
        );
    }
    let folder = file.ancestors().find(|above| {
        let stat = host.stat(above);
        matches!(stat, Ok(Some(stat)) if stat.is_directory)
    });
    let Some(folder) = folder else { return Ok(()) };
    let most = disk_of(
        host.largest_file(folder)
            .during("look at the file system")?,
    );
    if size > most {
        return Err(conflict(format!(
            "{size} for the {what} is too large: the file system of `{}` takes files up to {most}",
            folder.display()
        ))
        .hint("keep the state directory on XFS or btrfs for larger disks"));
    }
    Ok(())
}

/// The largest number that `grows` does not take past `most`; it returns no less than it is given.
fn largest(most: u64, grows: &impl Fn(u64) -> u64) -> u64 {
    let (mut fits, mut too_large) = (0, most + 1);
    while too_large - fits > 1 {
        let middle = fits + (too_large - fits) / 2;
        if grows(middle) <= most {
            fits = middle;
        } else {
            too_large = middle;
        }
    }
    fits
}

/// The driver that new VMs get: the one named, or with `auto` the first whose checks pass.
///
/// # Errors
/// `not-ready` when the one that is named does not pass.
pub fn choose<'a>(
    wanted: &str,
    drivers: &'a [Box<dyn RootDisk>],
    host: &dyn Host,
) -> Result<&'a dyn RootDisk> {
    let mut refusals = Vec::new();
    for driver in drivers
        .iter()
        .filter(|driver| wanted == "auto" || wanted == driver.name())
    {
        match crate::readiness::require(host, &driver.checks(None)) {
            Ok(_) => return Ok(&**driver),
            Err(error) => refusals.push(error),
        }
    }
    Err(refusals.pop().unwrap_or_else(|| {
        let known: Vec<&str> = drivers.iter().map(|driver| driver.name()).collect();
        Error::new(
            Code::NotReady,
            format!("there is no root-disk driver `{wanted}`"),
        )
        .hint(format!(
            "set `root_disk` in the configuration to one of: auto, {}",
            known.join(", ")
        ))
    }))
}

#[cfg(test)]
mod tests {
    use banger_host::Sim;

    use super::*;

    #[test]
    fn a_disk_is_as_large_as_its_file_allows() {
        assert_eq!(largest(100, &|size| size), 100);
        assert_eq!(largest(100, &|size| size + size.div_ceil(10) + 1), 90);
        assert_eq!(largest(0, &|size| size + 1), 0);
    }

    #[test]
    fn a_size_past_the_largest_file_is_refused_with_the_limit() {
        let sim = Sim::new();
        sim.set_largest_file((16 << 40) - 4096);
        let op = Op::File(FileOp::MakeDirectory {
            path: "/state".into(),
            mode: 0o700,
            owner: None,
        });
        sim.change(&op).unwrap();
        let admit = |size: u64| {
            let file = Path::new("/state/vms/x/machine/work.img");
            admit_size("work disk", Mib(size), file, |mib| mib, &sim)
        };
        assert_eq!(admit((16 << 20) - 1), Ok(()));
        let error = admit(20 << 20).unwrap_err();
        assert!(error.message.contains("16777215M"), "{error}");
        assert!(error.message.contains("`/state`"), "{error}");
    }
}
