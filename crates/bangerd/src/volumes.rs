//! Volumes: disks with names, which outlive the VMs that use them.
//!
//! A volume is one file in the folder of volumes. While a VM runs with it, the file has a second
//! hard link in the machine's folder. The root helper's jail rejects files with two links: there
//! the link in the machine's folder is the only one until the VM is taken down. A machine's folder
//! with a volume is never removed.

use std::path::PathBuf;

use banger_api::{Code, Error, Mib, VolumeName};
use banger_host::{FileOp, Host, Op, Stat};

use crate::error::{During, Result};
use crate::layout::{Layout, machine};
use crate::vm::Vm;

/// The suffix of the files' names.
const END: &str = ".img";

/// The volumes of one state directory.
#[derive(Debug, Clone)]
pub(crate) struct Volumes {
    layout: Layout,
}

impl Volumes {
    /// The volumes below this layout.
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout }
    }

    /// A volume's file.
    fn path(&self, name: &VolumeName) -> PathBuf {
        self.layout.volumes().join(format!("{name}{END}"))
    }

    /// The name of a volume's link in the folder of its VM's machine.
    pub(crate) fn name_in_machine(name: &VolumeName) -> String {
        format!("{}{name}{END}", machine::VOLUME)
    }

    fn path_in(&self, vm: &Vm, name: &VolumeName) -> PathBuf {
        self.layout
            .vm(vm.id)
            .in_machine(&Self::name_in_machine(name))
    }

    /// The names of the volumes in the folder of volumes.
    pub(crate) fn names(&self, host: &dyn Host) -> Result<Vec<VolumeName>> {
        let files = host
            .list(&self.layout.volumes())
            .during("list the volumes")?;
        let name = |file: &String| file.strip_suffix(END)?.parse().ok();
        Ok(files.iter().filter_map(name).collect())
    }

    /// The file of a volume, there or in the machine's folder of one of its `users`.
    pub(crate) fn look(
        &self,
        name: &VolumeName,
        users: &[&Vm],
        host: &dyn Host,
    ) -> Result<Option<Stat>> {
        let places = users.iter().map(|vm| self.path_in(vm, name));
        for path in [self.path(name)].into_iter().chain(places) {
            if let Some(stat) = host.stat(&path).during("look at the volume")? {
                return Ok(Some(stat));
            }
        }
        Ok(None)
    }

    /// Makes an empty volume.
    pub(crate) fn create(&self, name: &VolumeName, size: Mib, host: &dyn Host) -> Result<()> {
        host.change(&Op::File(FileOp::MakeDirectory {
            path: self.layout.volumes(),
            mode: 0o700,
            owner: None,
        }))
        .during("make the folder of volumes")?;
        host.change(&Op::File(FileOp::MakeFilesystem {
            path: self.path(name),
            size_mib: size.0,
            label: "banger-volume".to_owned(),
            owner: None,
        }))
        .during("make its file")
        .map(drop)
    }

    /// Removes an unused volume.
    pub(crate) fn remove(&self, name: &VolumeName, host: &dyn Host) -> Result<()> {
        let path = self.path(name);
        host.change(&Op::File(FileOp::RemoveFile { path }))
            .during("remove its file")
            .map(drop)
    }

    /// Links a volume into the folder of a machine that is about to start.
    pub(crate) fn attach(&self, vm: &Vm, name: &VolumeName, host: &dyn Host) -> Result<()> {
        let (own, lent) = (self.path(name), self.path_in(vm, name));
        // If there is no link here, a start that did not finish has left the only one in the jail's
        // folder.
        if host.stat(&own).during("look at it")?.is_some() {
            host.change(&Op::File(FileOp::LinkFile {
                from: own.clone(),
                to: lent.clone(),
            }))
            .during("link it into the machine's folder")?;
        }
        if let Some(owner) = vm.owner {
            let path = lent.clone();
            host.change(&Op::File(FileOp::GiveFile { path, owner }))
                .during("give it to the hypervisor's user")?;
        }
        if vm.jailed_as().is_some() {
            host.change(&Op::File(FileOp::RemoveFile { path: own }))
                .during("remove its link in the folder of volumes")?;
        }
        Ok(())
    }

    /// Removes the links of all volumes from a machine's folder. A file whose only link is there
    /// gets the one in the folder of volumes first.
    pub(crate) fn detach_all(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let folder = self.layout.vm(vm.id).machine();
        let mut first = Ok(());
        for file in host.list(&folder).during("list the machine's folder")? {
            let name = file.strip_prefix(machine::VOLUME);
            let name = name.and_then(|rest| rest.strip_suffix(END)?.parse().ok());
            if let Some(name) = name {
                first = first.and(self.detach(vm, &name, host));
            }
        }
        first
    }

    fn detach(&self, vm: &Vm, name: &VolumeName, host: &dyn Host) -> Result<()> {
        let (own, lent) = (self.path(name), self.path_in(vm, name));
        let what = || format!("release the volume `{name}`");
        // A file that the hypervisor created under such a name is not a volume.
        let has = vm.spec.volumes.contains_key(name) || vm.given().volumes.contains_key(name);
        if has && host.stat(&own).during(what())?.is_none() {
            let (from, to) = (lent.clone(), own);
            host.change(&Op::File(FileOp::LinkFile { from, to }))
                .during(what())?;
        }
        host.change(&Op::File(FileOp::RemoveFile { path: lent }))
            .during(what())
            .map(drop)
    }

    /// Fails if a machine's folder, which is about to be removed, still has a volume.
    pub(crate) fn refuse_attached(layout: &Layout, vm: &Vm, host: &dyn Host) -> Result<()> {
        let folder = layout.vm(vm.id).machine();
        let files = host.list(&folder).during("list the machine's folder")?;
        match files.iter().find(|file| file.starts_with(machine::VOLUME)) {
            None => Ok(()),
            Some(file) => {
                let what = format!(
                    "`{}` is a volume and must not be removed",
                    folder.join(file).display()
                );
                Err(Error::new(Code::Host, what)
                    .hint("repeat the command; if it fails again, see: banger daemon logs"))
            }
        }
    }
}
