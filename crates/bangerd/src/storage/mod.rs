//! The drivers that make a VM's root disk from an image's base.
//!
//! | driver | needs | space of a new disk |
//! |---|---|---|
//! | `reflink` | a state directory on XFS or btrfs | nothing until it is written |
//! | `dm-snapshot` | device-mapper, and the permission to use it | nothing until it is written |
//! | `copy` | nothing | as much as the base; holes are preserved |

pub(crate) mod copy;
pub(crate) mod dm_snapshot;
pub(crate) mod reflink;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use banger_api::{Code, DiskView, Error, Mib, VmId};
use banger_host::{FileOp, Finding, Host, Op, Owner, PackEntry};

use crate::error::{During, Result, is_unsupported};
use crate::layout::{Layout, machine};
use crate::readiness::Check;
use crate::vm::Vm;

/// A driver: makes a writable disk over a base.
pub trait RootDisk: fmt::Debug + Send + Sync {
    /// Its name in the configuration and in records.
    fn name(&self) -> &'static str;

    /// Its requirements; with a VM, those of that VM's disk.
    fn checks(&self, vm: Option<&Vm>) -> Vec<Check>;

    /// The path of the disk for the machine.
    fn path(&self, _vm: &Vm) -> String {
        machine::ROOT_DISK.to_owned()
    }

    /// Whether that path is a block device of the host instead of a file.
    fn is_block(&self) -> bool {
        false
    }

    /// Whether a full file system of the host breaks the disk of a running VM. Such a VM is paused
    /// early enough that the host can still write its cached data.
    fn breaks_when_full(&self) -> bool {
        false
    }

    /// A note about the disk for the VM's user, determined before a start.
    fn notes(&self, _vm: &Vm, _host: &dyn Host) -> Vec<String> {
        Vec::new()
    }

    /// The file that grows with the disk.
    fn file(&self, vm: &Vm) -> PathBuf;

    /// The size of that file for a disk of this size, both in MiB.
    fn file_mib(&self, disk_mib: u64) -> u64 {
        disk_mib
    }

    /// The space that the disk uses on the host, if known.
    fn usage(&self, vm: &Vm, host: &dyn Host) -> Option<DiskView>;

    /// Creates the disk.
    ///
    /// # Errors
    /// The disk does not exist afterwards.
    fn create(&self, vm: &Vm, host: &dyn Host) -> Result<()>;

    /// Creates the disk as a copy of another VM's, which does not run, and grows it to the VM's
    /// setting.
    ///
    /// # Errors
    /// The disk does not exist afterwards.
    fn duplicate(&self, of: &Vm, vm: &Vm, host: &dyn Host) -> Result<()> {
        duplicate(&self.file(of), &self.file(vm), vm.owner, host)?;
        self.grow(vm, host)
    }

    /// The content of the disk of a VM that does not run.
    ///
    /// # Errors
    /// If the disk is missing, or cannot be read.
    fn content(&self, vm: &Vm, host: &dyn Host) -> Result<PackEntry> {
        whole_file(self.file(vm), host)
    }

    /// Grows the disk to the VM's setting; it never shrinks.
    ///
    /// # Errors
    /// The disk is smaller afterwards.
    fn grow(&self, vm: &Vm, host: &dyn Host) -> Result<()>;

    /// Makes the disk usable before a boot.
    ///
    /// # Errors
    /// The disk is not usable.
    fn prepare(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Undoes `prepare`.
    ///
    /// # Errors
    /// Something is left.
    fn teardown(&self, _vm: &Vm, _host: &dyn Host) -> Result<()> {
        Ok(())
    }

    /// Objects on the host with this banger's names that belong to none of these VMs' disks: a
    /// description of each, with the command that removes it.
    ///
    /// # Errors
    /// The host cannot be queried.
    fn strangers(&self, _vms: &BTreeSet<VmId>, _host: &dyn Host) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Deletes the disk.
    ///
    /// # Errors
    /// Something is left.
    fn delete(&self, vm: &Vm, host: &dyn Host) -> Result<()>;
}

/// A disk that is one file: the common part of `reflink` and `copy`.
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
        host.change(&op).during("resize it").map(drop)
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

/// Rejects a size that is smaller than the disk, which only grows, or larger than the file system
/// allows. `what` names the disk; `file_mib` maps the size of a disk to that of its file, both in
/// MiB, and increases monotonically.
///
/// # Errors
/// `conflict`, with the limit.
pub(crate) fn admit_size(
    what: &str,
    size: Mib,
    file: &Path,
    file_mib: impl Fn(u64) -> u64,
    host: &dyn Host,
) -> Result<()> {
    // The largest disk whose file has at most this many bytes.
    let disk_of = |bytes: u64| Mib(largest(bytes >> 20, &file_mib));
    let conflict = |message: String| Error::new(Code::Conflict, message);
    let stat = host.stat(file).during("examine the disk")?;
    let now = stat.map_or(Mib(0), |stat| disk_of(stat.length));
    if size < now {
        return Err(
            conflict(format!("the {what} cannot shrink from {now} to {size}"))
                .hint("disks only grow; for a smaller one create a new VM: banger vm create"),
        );
    }
    let folder = file.ancestors().find(|above| {
        let stat = host.stat(above);
        matches!(stat, Ok(Some(stat)) if stat.is_directory)
    });
    let Some(folder) = folder else { return Ok(()) };
    let most = disk_of(
        host.largest_file(folder)
            .during("examine the file system")?,
    );
    if size > most {
        return Err(conflict(format!(
            "{size} for the {what} is too large: the file system of `{}` supports files up to {most}",
            folder.display()
        ))
        .hint("keep the state directory on XFS or btrfs for larger disks"));
    }
    Ok(())
}

/// A file in the form that an archive contains.
///
/// # Errors
/// `not-ready` if it is missing.
pub(crate) fn whole_file(path: PathBuf, host: &dyn Host) -> Result<PackEntry> {
    let stat = host.stat(&path).during("look at its file")?;
    let Some(size) = stat.map(|stat| stat.length) else {
        let what = format!("`{}` is gone", path.display());
        return Err(Error::new(Code::NotReady, what).hint("restore it from a backup"));
    };
    Ok(PackEntry {
        path,
        store: None,
        size,
    })
}

/// The free space to leave on the file system of a copy, in MiB.
const SPARE: u64 = 512;

/// Makes `to` a copy of the disk `from`. The blocks are shared if the file system supports that,
/// and copied otherwise; holes stay holes.
///
/// # Errors
/// `not-ready` if the file system has no space for a copy; nothing is copied then.
pub(crate) fn duplicate(
    from: &Path,
    to: &Path,
    owner: Option<Owner>,
    host: &dyn Host,
) -> Result<()> {
    let (source, copy) = (from.to_owned(), to.to_owned());
    let clone = Op::File(FileOp::CloneFile {
        from: source.clone(),
        to: copy.clone(),
        owner,
    });
    match host.change(&clone) {
        Err(error) if is_unsupported(&error) => {}
        shared => return shared.map(drop).during("share its blocks"),
    }
    let stat = host.stat(from).during("look at the disk")?;
    let needed = stat.map_or(0, |it| it.allocated.div_ceil(1 << 20)) + SPARE;
    let folder = to.parent().unwrap_or(to);
    let free = host.free_mib(folder).during("look at the free space")?;
    if free < needed {
        let found = format!(
            "{free} MiB are free for `{}`, and the copy needs {needed} MiB",
            folder.display()
        );
        return Err(Error::new(Code::NotReady, found)
            .hint("free some space, or delete a VM: banger vm list"));
    }
    let copy = Op::File(FileOp::CopyFile {
        from: source,
        to: copy,
        owner,
    });
    host.change(&copy).during("copy its content").map(drop)
}

/// Makes `to` the disk `from`, whose folder is on the same file system and goes.
///
/// # Errors
/// If it cannot be put in place.
pub(crate) fn take_over(
    from: &Path,
    to: &Path,
    owner: Option<Owner>,
    host: &dyn Host,
) -> Result<()> {
    let (from, path) = (from.to_owned(), to.to_owned());
    let link = Op::File(FileOp::LinkFile { from, to: path });
    host.change(&link).during("put it in place")?;
    if let Some(owner) = owner {
        let path = to.to_owned();
        let give = Op::File(FileOp::GiveFile { path, owner });
        host.change(&give).during("give it to its VM")?;
    }
    Ok(())
}

/// The largest number that `grows` maps to at most `most`. `grows` never returns less than its
/// argument.
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

/// The driver of new VMs: the named one, or with `auto` the first whose checks pass.
///
/// # Errors
/// `not-ready` if the named driver fails its checks.
pub(crate) fn choose<'a>(
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
            format!("unknown root-disk driver `{wanted}`"),
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
