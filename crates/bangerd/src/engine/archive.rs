//! `vm export` and `vm import`: a VM as one file, and a new VM from such a file.
//!
//! ```text
//! export:  hold ► the files of each capability ► one archive, beside its name ► its name
//! import:  head, checked ► image-work/vm-<number>/, digest checked ► images ► a VM as `create` makes it
//! ```
//!
//! An imported VM is like a clone from another host: it has an identity of its own. The disk in the
//! archive becomes the base of its root disk, so every driver of this host can be used. The next
//! daemon removes what a crash leaves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use banger_api::{Code, Error, ExportVm, ExportedVm, ImportVm, VmView};
use banger_host::archive::{BEFORE_HEAD, DIGEST, head_length};
use banger_host::{FileOp, Host, Op, UnpackEntry};

use super::create::random;
use super::hold::{Hold, Slot};
use super::images::plain_path;
use super::operations::OpenOperation;
use super::{Engine, ProgressSink, admit, copying_step, disk_pressure, lock};
use crate::error::{During, Result};
use crate::image::lease::ImageLease;
use crate::manifest::Manifest;
use crate::readiness;
use crate::vm::phase::{Verb, may};
use crate::waiter::is_gone;

/// The free space to leave on the host's file system beside an archive's content, in MiB.
const SPARE: u64 = 512;

/// A folder that is removed when dropped.
struct WorkFolder<'h> {
    path: PathBuf,
    host: &'h dyn Host,
}

impl Drop for WorkFolder<'_> {
    fn drop(&mut self) {
        let path = self.path.clone();
        // The next daemon removes one that remains.
        let _ = self
            .host
            .change(&Op::File(FileOp::RemoveDirectory { path }));
    }
}

impl Engine {
    pub(super) fn export_vm(
        &self,
        slot: &Arc<Slot>,
        request: &ExportVm,
        progress: ProgressSink<'_>,
    ) -> Result<ExportedVm> {
        let name = slot.vm().name.clone();
        let doing = || format!("export `{name}`");
        // The hold keeps other verbs from starting it while its disks are read.
        let hold = slot.hold("export").during(doing())?;
        let vm = hold.vm();
        may(Verb::Clone, vm.phase, &vm.name).during(doing())?;
        let to = plain_path(&request.path).during(doing())?;
        self.admit_export(to, request.force).during(doing())?;
        let mut contents = Vec::new();
        for capability in &self.parts.capabilities {
            contents.extend(capability.contents(&vm, self.host()).during(doing())?);
        }
        let kernel = self.parts.catalog.kernel(&vm.images.kernel, self.host());
        let manifest = Manifest::of(&vm, kernel.during(doing())?, &contents);
        let head = serde_json::to_vec_pretty(&manifest).map_err(|cause| {
            Error::new(Code::Internal, "describe the VM").cause(cause.to_string())
        })?;
        copying_step(
            progress,
            "write the archive",
            self.host(),
            &is_gone,
            |host| {
                let files = contents.into_iter().map(|it| it.file).collect();
                let to = to.to_owned();
                let pack = Op::File(FileOp::PackFiles { to, head, files });
                host.change(&pack).during(doing())
            },
        )?;
        let (digest, size_bytes) = self.digest_of(to).during(doing())?;
        Ok(ExportedVm {
            path: request.path.clone(),
            digest,
            size_bytes,
        })
    }

    /// The digest at the end of an archive, and the archive's length.
    fn digest_of(&self, archive: &Path) -> Result<(String, u64)> {
        let stat = self.host().stat(archive).during("look at the archive")?;
        let length = stat.map_or(0, |it| it.length);
        let limit = usize::try_from(DIGEST).unwrap_or(0);
        let at = length.saturating_sub(DIGEST);
        let bytes = self.host().read_at(archive, at, limit);
        let bytes = bytes.during("read the archive's digest")?;
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        Ok((digits.collect(), length))
    }

    pub(super) fn import_vm(
        &self,
        request: &ImportVm,
        operation: &OpenOperation<'_>,
        progress: ProgressSink<'_>,
    ) -> Result<VmView> {
        let doing = || format!("import a VM from {:?}", request.path);
        let path = plain_path(&request.path).during(doing())?;
        let manifest = self.read_manifest(path).during(doing())?;
        let name = request.name.as_deref().unwrap_or(manifest.name.as_str());
        // The check precedes the unpacking, which may take a while.
        self.admit_import(path, name, &manifest).during(doing())?;
        let number = format!("{:016x}", u64::from_le_bytes(random()?));
        let folder = self.work_folder(&number).during(doing())?;
        copying_step(progress, "unpack", self.host(), &is_gone, |host| {
            unpack(path, &manifest, &folder.path, host)
        })
        .during(doing())?;
        let lease = self.parts.catalog.adopt(
            &folder.path,
            &number,
            &manifest.image,
            &manifest.kernel,
            self.host(),
        );
        let hold = self
            .reserve_import(name, &manifest, &lease.during(doing())?)
            .during(doing())?;
        operation.is_about(&hold.vm());
        self.furnish(&hold, progress, &is_gone, |capability, vm, host| {
            capability.restore(&folder.path, vm, host)
        })
        .during(doing())?;
        Ok(self.view(&hold.vm()))
    }

    fn read_manifest(&self, path: &Path) -> Result<Manifest> {
        // The request may be right and the file wrong; a later file with this path may be right.
        let conflict = |what: String| Error::new(Code::Conflict, what);
        let what = "read the archive";
        match self.host().stat(path).during(what)? {
            None => {
                let what = format!("there is no file `{}`", path.display());
                return Err(Error::new(Code::NotFound, what));
            }
            Some(stat) if stat.is_directory => {
                let what = format!("`{}` is a directory", path.display());
                return Err(Error::new(Code::Conflict, what).hint("give the file's name, too"));
            }
            Some(_) => {}
        }
        let before = self.host().read_at(path, 0, BEFORE_HEAD).during(what)?;
        let length = head_length(&before).map_err(|cause| {
            conflict(cause).hint("an archive is made by: banger vm export NAME FILE")
        })?;
        let head = self.host().read_at(path, BEFORE_HEAD as u64, length);
        Manifest::read(&head.during(what)?).during("read what the archive says of its VM")
    }

    fn admit_import(&self, path: &Path, name: &str, manifest: &Manifest) -> Result<()> {
        self.admit(manifest.spec.clone(), None)?;
        admit::given_name(name, &self.claims(&lock(&self.vms)))
            .map_err(|error| error.hint("give it another name: --name NAME"))?;
        // Holes are not in the archive, so the content takes at most as much space as the archive.
        let stat = self.host().stat(path).during("look at the archive")?;
        let needed = stat.map_or(0, |it| it.length.div_ceil(1 << 20)) + SPARE;
        let state = self.parts.layout.state();
        let free = self
            .host()
            .free_mib(state)
            .during("look at the free space")?;
        if free >= needed {
            return Ok(());
        }
        let shown = state.display();
        let what = format!("{free} MiB are free for `{shown}`, and the VM needs {needed} MiB");
        Err(Error::new(Code::NotReady, what)
            .hint("free some space, or delete a VM: banger vm list"))
    }

    fn work_folder(&self, number: &str) -> Result<WorkFolder<'_>> {
        let path = self.parts.layout.image_work().join(format!("vm-{number}"));
        let host = self.host();
        let folder = WorkFolder { path, host };
        host.change(&Op::File(FileOp::MakeDirectory {
            path: folder.path.clone(),
            mode: 0o700,
            owner: None,
        }))
        .during("make a folder to work in")?;
        Ok(folder)
    }

    fn reserve_import(&self, name: &str, manifest: &Manifest, lease: &ImageLease) -> Result<Hold> {
        loop {
            let claims = self.claims(&lock(&self.vms));
            let name = admit::given_name(name, &claims)?;
            let spec = self.admit(manifest.spec.clone(), None)?;
            let mut vm = self.fresh(name, spec, lease.images().clone(), &claims)?;
            self.choose(&mut vm)?;
            vm.former_names.clone_from(&manifest.names);
            vm.former_machine_ids.clone_from(&manifest.machine_ids);
            self.admit_vm(&vm)?;
            let room = disk_pressure::check(&self.parts.layout, self.breaks_when_full(&vm));
            readiness::require(self.host(), &[room])?;
            if let Some(hold) = self.reserve(vm, false, "import")? {
                return Ok(hold);
            }
        }
    }
}

fn unpack(from: &Path, manifest: &Manifest, folder: &Path, host: &dyn Host) -> Result<()> {
    let unpacked = |entry: &crate::manifest::Entry| UnpackEntry {
        path: folder.join(&entry.name),
        size: entry.size,
    };
    let op = Op::File(FileOp::UnpackFiles {
        from: from.to_owned(),
        to: manifest.files.iter().map(unpacked).collect(),
    });
    host.change(&op).during("unpack it").map(drop)
}
