//! The verbs on images: list, show, import, rename, export, delete, prune.
//!
//! Every VM with a record uses its image, running or not. While a record cannot be read, the images
//! that it may use stay.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use banger_api::{
    Code, Error, ExportImage, ExportedImage, ImageName, ImageView, ImportImage, InvalidName,
    PruneImages, PrunedImages, RenameImage, VmName, harmless,
};
use banger_host::{FileOp, Op};

use super::{Engine, ProgressSink, copying_step, lock, step};
use crate::error::{During, Result};
use crate::image::catalog::Entry;
use crate::image::import::Import;
use crate::waiter::is_gone;

impl Engine {
    /// All images, by name.
    ///
    /// # Errors
    /// If their names cannot be read.
    pub fn images(&self) -> Result<Vec<ImageView>> {
        let entries = self.parts.catalog.entries(self.host())?;
        Ok(entries.into_iter().map(|it| self.image_view(it)).collect())
    }

    /// One image.
    ///
    /// # Errors
    /// `not-found`, or `not-ready` for the default image without a bundle.
    pub fn image(&self, name: &ImageName) -> Result<ImageView> {
        let entry = self.parts.catalog.get(name, self.host())?;
        Ok(self.image_view(entry))
    }

    /// Creates an image from a root file system, which is copied.
    ///
    /// # Errors
    /// `invalid` for an invalid name, a relative path, or a source that is not a bootable root file
    /// system; `conflict` if the name is taken. Nothing remains after an error.
    pub fn import_image(
        &self,
        request: &ImportImage,
        progress: ProgressSink<'_>,
    ) -> Result<ImageView> {
        let name = image_name(&request.name)?;
        let doing = || format!("import the image `{name}`");
        let path = plain_path(&request.path).during(doing())?.to_owned();
        let origin = request.origin.as_deref().unwrap_or(&request.path);
        let wanted = Import {
            name: name.clone(),
            takes: path.starts_with(self.parts.layout.image_import()),
            path,
            origin: harmless::visible(origin).chars().take(200).collect(),
            at: self.now(),
            kernel: None,
        };
        copying_step(progress, "import", self.host(), &is_gone, |host| {
            self.parts.catalog.import(&wanted, host)
        })
        .during(doing())?;
        self.image(&name)
    }

    /// Deletes an unused image; returns its last state.
    ///
    /// # Errors
    /// `not-found`; `conflict` for the bundle's own image, or if VMs use it, which the error names.
    pub fn delete_image(&self, name: &ImageName) -> Result<ImageView> {
        let doing = || format!("delete the image `{name}`");
        let last = self.image(name).during(doing())?;
        let used = |root: &str| self.image_users(root);
        let forgotten = self.parts.catalog.forget(name, used, self.host());
        forgotten.during(doing())?;
        self.prune();
        Ok(last)
    }

    /// Renames an image; its VMs follow.
    ///
    /// # Errors
    /// `not-found`; `invalid` for an invalid name; `conflict` if it is taken.
    pub fn rename_image(&self, name: &ImageName, request: &RenameImage) -> Result<ImageView> {
        let doing = || format!("rename the image `{name}`");
        let new = image_name(&request.name).during(doing())?;
        if new != *name {
            let renamed = self.parts.catalog.rename(name, &new, self.host());
            renamed.during(doing())?;
        }
        self.image(&new)
    }

    /// Copies an image's root file system to a file, preserving holes.
    ///
    /// # Errors
    /// `invalid` for a relative path, `conflict` if the file exists; or the failure of writing,
    /// after which there is no new file.
    pub fn export_image(
        &self,
        name: &ImageName,
        request: &ExportImage,
        progress: ProgressSink<'_>,
    ) -> Result<ExportedImage> {
        let doing = || format!("export the image `{name}`");
        let to = plain_path(&request.path).during(doing())?;
        self.admit_export(to, request.force).during(doing())?;
        let lease = self.parts.catalog.current(name.as_str(), self.host());
        let lease = lease.during(doing())?;
        let root = &lease.images().root;
        let from = self.parts.layout.image(root).root();
        let size = self.host().stat(&from).during(doing())?;
        copying_step(progress, "copy", self.host(), &is_gone, |host| {
            let to = to.to_owned();
            let owner = None;
            let copy = Op::File(FileOp::CopyFile { from, to, owner });
            host.change(&copy).during(doing())
        })?;
        Ok(ExportedImage {
            path: request.path.clone(),
            sha256: root.clone(),
            size_bytes: size.map_or(0, |it| it.length),
        })
    }

    pub(super) fn admit_export(&self, to: &Path, force: bool) -> Result<()> {
        let shown = to.display();
        let folder = to.parent().unwrap_or(to);
        let folder_stat = self.host().stat(folder).during("examine the folder")?;
        if !folder_stat.is_some_and(|stat| stat.is_directory) && folder != Path::new("/") {
            let what = format!("there is no folder `{}`", folder.display());
            return Err(Error::new(Code::NotFound, what));
        }
        match self.host().stat(to).during("examine the file")? {
            Some(stat) if stat.is_directory => Err(Error::new(
                Code::Conflict,
                format!("`{shown}` is a directory"),
            )
            .hint("include the file's name")),
            Some(_) if !force => Err(Error::new(Code::Conflict, format!("`{shown}` exists"))
                .hint("to replace it, add --force")),
            _ => Ok(()),
        }
    }

    /// Removes unused images without a name; with `all`, also those with a name.
    ///
    /// # Errors
    /// If an unused image remains.
    pub fn prune_images(
        &self,
        request: &PruneImages,
        progress: ProgressSink<'_>,
    ) -> Result<PrunedImages> {
        let mut pruned = PrunedImages::default();
        step(progress, "prune", || {
            if request.all {
                for image in self.images()? {
                    let used = |root: &str| self.image_users(root);
                    let catalog = &self.parts.catalog;
                    if !image.name.is_default()
                        && image.users.is_empty()
                        && catalog.forget(&image.name, used, self.host()).is_ok()
                    {
                        pruned.names.push(image.name);
                    }
                }
            }
            pruned.freed_bytes = self.prune_unused()?;
            Ok(())
        })?;
        Ok(pruned)
    }

    fn image_view(&self, entry: Entry) -> ImageView {
        ImageView {
            is_default: entry.name.as_str() == self.parts.defaults.image,
            users: self.users_of(&entry.images.root),
            name: entry.name,
            origin: entry.origin,
            digest: entry.images.root,
            kernel: entry.images.kernel,
            size_bytes: entry.size,
            allocated_bytes: entry.allocated,
            created: entry.created,
        }
    }

    /// The VMs that start from this root file system, by name; those in the trash, too.
    fn users_of(&self, root: &str) -> Vec<VmName> {
        let slots = self.all_slots();
        let vms = slots.iter().map(|slot| slot.vm());
        let users = vms.filter(|vm| vm.images.root == root);
        let mut users: Vec<VmName> = users.map(|vm| vm.name.clone()).collect();
        users.sort();
        users
    }

    /// The same, plus the ids of VMs whose records cannot be read.
    fn image_users(&self, root: &str) -> Vec<String> {
        let readable = self.users_of(root).into_iter().map(|it| it.to_string());
        let unreadable = lock(&self.unreadable);
        let claims = unreadable.iter().filter(|it| it.digests.contains(root));
        readable.chain(claims.map(|it| it.id.to_string())).collect()
    }

    /// Removes unused images; one that remains does no harm.
    pub(super) fn prune(&self) {
        if let Err(error) = self.prune_unused() {
            tracing::warn!(%error, "unused images remain");
        }
    }

    fn prune_unused(&self) -> Result<u64> {
        let used = || {
            let in_memory = self.all_slots().into_iter().flat_map(|slot| {
                let images = &slot.vm().images;
                [images.root.clone(), images.kernel.clone()]
            });
            let on_disk = self.store.images_in_use(self.host())?;
            Ok(on_disk
                .map(|digests: BTreeSet<String>| digests.into_iter().chain(in_memory).collect()))
        };
        self.parts.catalog.prune(used, self.host())
    }
}

pub(super) fn image_name(text: &str) -> Result<ImageName> {
    text.parse()
        .map_err(|cause: InvalidName| Error::new(Code::Invalid, cause.to_string()))
}

/// Checks that a path is absolute and without `..`.
pub(super) fn plain_path(text: &str) -> Result<&Path> {
    let path = Path::new(text);
    let is_plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    if path.is_absolute() && path.components().all(is_plain) && !text.chars().any(char::is_control)
    {
        return Ok(path);
    }
    let what = format!("{text:?} is not an absolute path without `..`");
    Err(Error::new(Code::Invalid, what))
}
