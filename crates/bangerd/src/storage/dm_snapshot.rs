//! The `dm-snapshot` driver: VMs share the base, and each VM's writes go to its own sparse store,
//! on any file system. It needs device-mapper and the permission to use it.
//!
//! A store has room for every chunk of its disk, so it never overflows. But the kernel invalidates
//! a store when a write to it fails, for instance because the host's file system is full. So VMs
//! are paused before that ([`RootDisk::breaks_when_full`]), and the next start restores an
//! invalidated store.

use std::collections::BTreeSet;
use std::path::PathBuf;

use banger_api::{DiskView, VmId};
use banger_host::cow::{HEADER_LENGTH, Header, length_mib};
use banger_host::{
    FileOp, Finding, Host, Op, PackEntry, Probe, RootOp, SnapshotFiles, snapshot_node,
};

use super::RootDisk;
use crate::error::{During, Result};
use crate::layout::Layout;
use crate::readiness::Check;
use crate::vm::Vm;
use crate::vm::names::{Instance, machine};

/// The `dm-snapshot` driver.
#[derive(Debug)]
pub(crate) struct DmSnapshot {
    layout: Layout,
    instance: Instance,
}

impl DmSnapshot {
    /// Keeps stores below this layout, and names devices of this instance.
    #[must_use]
    pub(crate) fn new(layout: Layout, instance: Instance) -> Self {
        Self { layout, instance }
    }

    fn store(&self, vm: &Vm) -> PathBuf {
        self.layout.vm(vm.id).root_store()
    }

    fn base(&self, vm: &Vm) -> PathBuf {
        self.layout.image(&vm.images.root).root()
    }
}

/// The header of a store.
fn header(store: &std::path::Path, host: &dyn Host) -> Result<Header> {
    let bytes = host
        .read_at(store, 0, HEADER_LENGTH)
        .during("read the header of its store")?;
    Ok(Header::read(&bytes))
}

impl RootDisk for DmSnapshot {
    fn name(&self) -> &'static str {
        "dm-snapshot"
    }

    fn checks(&self, vm: Option<&Vm>) -> Vec<Check> {
        let mut checks = vec![Check::probe("dm-snapshot", Probe::Snapshot)];
        if let Some(vm) = vm {
            let files = (self.base(vm), self.store(vm));
            checks.push(Check::new("root disk", move |host| check(&files, host)));
        }
        checks
    }

    fn path(&self, vm: &Vm) -> String {
        snapshot_node(&self.instance.process(vm.id))
            .display()
            .to_string()
    }

    fn is_block(&self) -> bool {
        true
    }

    fn breaks_when_full(&self) -> bool {
        true
    }

    fn notes(&self, vm: &Vm, host: &dyn Host) -> Vec<String> {
        match header(&self.store(vm), host) {
            Ok(Header::GivenUp { .. }) => vec![format!(
                "the host's file system was full, and its root disk was invalidated. Free some space; a restart restores it up to the last stored write: banger vm restart {}",
                vm.name
            )],
            Ok(Header::Fresh | Header::Valid { .. } | Header::Odd(_)) | Err(_) => Vec::new(),
        }
    }

    fn file(&self, vm: &Vm) -> PathBuf {
        self.store(vm)
    }

    fn file_mib(&self, disk_mib: u64) -> u64 {
        length_mib(disk_mib)
    }

    fn usage(&self, vm: &Vm, host: &dyn Host) -> Option<DiskView> {
        let store = host.stat(&self.store(vm)).ok().flatten()?;
        let base = host.stat(&self.base(vm)).ok().flatten();
        Some(DiskView {
            name: "root".to_owned(),
            size_bytes: vm.given().system_disk_size.0 << 20,
            allocated_bytes: store.allocated,
            shared_bytes: base.map(|base| base.allocated),
        })
    }

    fn create(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let op = Op::File(FileOp::WriteFile {
            path: self.store(vm),
            contents: Vec::new(),
            mode: 0o600,
            owner: None,
        });
        host.change(&op).during("make its store")?;
        self.grow(vm, host)
    }

    fn duplicate(&self, of: &Vm, vm: &Vm, host: &dyn Host) -> Result<()> {
        super::duplicate(&self.store(of), &self.store(vm), None, host)?;
        self.grow(vm, host)
    }

    fn content(&self, vm: &Vm, host: &dyn Host) -> Result<PackEntry> {
        let path = self.store(vm);
        host.change(&Op::File(FileOp::RestoreStore { path }))
            .during("restore its store")?;
        Ok(PackEntry {
            path: self.base(vm),
            store: Some(self.store(vm)),
            size: vm.spec.system_disk_size.0 << 20,
        })
    }

    fn grow(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let op = Op::File(FileOp::GrowFile {
            path: self.store(vm),
            size_mib: length_mib(vm.spec.system_disk_size.0),
        });
        host.change(&op).during("extend its store").map(drop)
    }

    fn prepare(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let path = self.store(vm);
        host.change(&Op::File(FileOp::RestoreStore { path }))
            .during("restore its store")?;
        let op = RootOp::MakeSnapshot {
            machine: machine(vm.id),
            size_mib: vm.spec.system_disk_size.0,
            files: SnapshotFiles {
                base: self.base(vm),
                cow: self.store(vm),
                owner: vm.owner,
            },
        };
        host.change(&self.instance.change(op))
            .during("lay it over the image")
            .map(drop)
    }

    fn teardown(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let op = RootOp::RemoveSnapshot {
            machine: machine(vm.id),
        };
        host.change(&self.instance.change(op))
            .during("detach it from the image")
            .map(drop)
    }

    fn strangers(&self, vms: &BTreeSet<VmId>, host: &dyn Host) -> Result<Vec<String>> {
        let known: BTreeSet<String> = vms.iter().map(|id| self.instance.process(*id)).collect();
        let devices = host
            .snapshots(&self.instance.process_prefix())
            .during("list the snapshots")?;
        let strange = devices.into_iter().filter(|name| !known.contains(name));
        let words = strange.map(|name| {
            format!(
                "the device `{name}` belongs to no VM; remove it: sudo dmsetup remove {name} {name}-origin"
            )
        });
        Ok(words.collect())
    }

    fn delete(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let path = self.store(vm);
        host.change(&Op::File(FileOp::RemoveFile { path }))
            .during("remove its store")
            .map(drop)
    }
}

fn check((base, store): &(PathBuf, PathBuf), host: &dyn Host) -> Finding {
    let bad = |found: String| Finding::Bad {
        found,
        hint: "restore it from a backup, or delete the VM".to_owned(),
    };
    for path in [base, store] {
        if !matches!(host.stat(path), Ok(Some(stat)) if !stat.is_directory) {
            return bad(format!("`{}` is gone", path.display()));
        }
    }
    match header(store, host) {
        Ok(Header::Fresh | Header::Valid { .. }) => Finding::Good(format!("`{}`", store.display())),
        Ok(Header::GivenUp { .. }) => Finding::Good(format!(
            "`{}` was invalidated when the host was full; a start restores it",
            store.display()
        )),
        Ok(Header::Odd(what)) => bad(format!("`{}` is not a store: {what}", store.display())),
        Err(error) => bad(error.report()),
    }
}
