//! Imported images: immutable, named by their digests, shared by VMs.
//!
//! A VM always starts with the root file system and kernel that it was created with. So the content
//! of the bundle is imported at the first create that uses it, and a new bundle does not change
//! existing VMs.
//!
//! An [`ImageLease`] protects an image from its import until the record of the new VM is on disk,
//! so that [`prune`](Catalog::prune) does not remove it in between.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use banger_api::{Code, Error, Fix, ImageName, InvalidName};
use banger_host::{Finding, Host};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::folder;
use super::lease::{ImageLease, Leases};
use super::names::{NamedImage, Names};
use super::source;
use crate::error::{During, Result};
use crate::layout::Layout;
use crate::readiness::Check;
use crate::vm::Images;

pub(crate) use super::source::Source;

/// The parameters for booting a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// The kernel's own version.
    pub version: String,
    /// The modules within the base archive, in the order of loading.
    pub modules: Vec<String>,
}

/// An image with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: ImageName,
    /// The digests that its VMs start with.
    pub images: Images,
    /// Its origin, for a person.
    pub origin: String,
    /// The time of its creation; `None` for the bundle's own image.
    pub created: Option<Timestamp>,
    /// The length of its root file system, in bytes.
    pub size: u64,
    /// The space that it takes on the host, in bytes.
    pub allocated: u64,
}

impl Entry {
    /// An image with an unusable record.
    fn unreadable(name: ImageName) -> Self {
        Self {
            images: Images {
                name: name.to_string(),
                root: String::new(),
                kernel: String::new(),
            },
            name,
            origin: "unknown: its record cannot be read".to_owned(),
            created: None,
            size: 0,
            allocated: 0,
        }
    }
}

/// The images of one state directory.
#[derive(Debug)]
pub struct Catalog {
    pub(super) layout: Layout,
    pub(super) source: Source,
    /// Serialises imports and prunes.
    importing: Mutex<()>,
    pub(super) leases: Leases,
    pub(super) names: Names,
}

impl Catalog {
    /// The images below this layout, imported from `source`.
    #[must_use]
    pub fn new(layout: Layout, source: Source) -> Self {
        Self {
            names: Names::new(layout.clone()),
            layout,
            source,
            importing: Mutex::new(()),
            leases: Leases::default(),
        }
    }

    /// The requirement of a complete bundle.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let Source::Bundle(folder, reason, own) = &self.source else {
            return Vec::new();
        };
        let (folder, reason, own) = (folder.clone(), reason.clone(), own.clone());
        vec![
            Check::new("bundle", move |host| {
                match source::load(&folder, &own, host) {
                    Ok(bundle) => Finding::Good(format!(
                        "`{}`: {} with Linux {} ({reason})",
                        folder.display(),
                        bundle.suite(),
                        bundle.kernel_version()
                    )),
                    Err(error) => Finding::Bad {
                        found: crate::error::chain(&error),
                        hint: match error.hints.into_iter().next() {
                            Some(hint) if own.is_configured() => hint,
                            _ => "banger bundle build".to_owned(),
                        },
                    },
                }
            })
            .fixed_by(|_| Some(Fix::banger("build the bundle", &["bundle", "build"]))),
        ]
    }

    /// The digests that a new VM of this image starts with, imported if necessary, and protected
    /// until the lease is dropped.
    ///
    /// # Errors
    /// `not-found` for an unknown image, `not-ready` if the bundle is missing or damaged.
    pub fn current(&self, name: &str, host: &dyn Host) -> Result<ImageLease> {
        let name: ImageName = name.parse().map_err(|cause: InvalidName| {
            Error::new(Code::Invalid, cause.to_string()).hint("list all images: banger image list")
        })?;
        let _importing = self.lock();
        let images = if name.is_default() {
            self.source.import(&self.layout, host)?
        } else {
            self.whole(&name, host)?
        };
        Ok(self.leases.take(images))
    }

    /// The parameters for booting this kernel.
    ///
    /// # Errors
    /// If its record is gone.
    pub fn kernel(&self, digest: &str, host: &dyn Host) -> Result<Kernel> {
        let path = self.layout.image(digest).record();
        let what = || format!("read the kernel's record `{}`", path.display());
        let bytes = host.read(&path).during(what())?.ok_or_else(|| {
            Error::new(
                Code::NotReady,
                format!("the kernel's record `{}` is gone", path.display()),
            )
        })?;
        serde_json::from_slice(&bytes)
            .map_err(|cause| Error::new(Code::Internal, cause.to_string()).within(what()))
    }

    /// The first archive of a kernel's initramfs.
    ///
    /// # Errors
    /// If it is gone.
    pub fn base_archive(&self, digest: &str, host: &dyn Host) -> Result<Vec<u8>> {
        let path = self.layout.image(digest).base_archive();
        host.read(&path)
            .during("read the base archive")?
            .ok_or_else(|| {
                Error::new(
                    Code::NotReady,
                    format!("the base archive `{}` is gone", path.display()),
                )
            })
    }

    /// All images with a name, by name; the default one only if there is a bundle.
    ///
    /// # Errors
    /// If the names cannot be read.
    pub fn entries(&self, host: &dyn Host) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = self.default_entry(host).into_iter().collect();
        for (name, image) in self.names.all(host)? {
            entries.push(self.entry(name, image, host)?);
        }
        let unreadable = self.names.unreadable(host)?;
        entries.extend(unreadable.into_iter().map(Entry::unreadable));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn default_entry(&self, host: &dyn Host) -> Result<Entry> {
        let bundled = self.source.look(host)?;
        let imported = self.layout.image(&bundled.images.root).root();
        let mut stat = host.stat(&imported).during("examine the image")?;
        if let (None, Some(root)) = (stat, &bundled.root) {
            stat = host.stat(root).during("examine the bundle")?;
        }
        Ok(Entry {
            name: ImageName::DEFAULT
                .parse()
                .map_err(|cause: InvalidName| Error::new(Code::Internal, cause.to_string()))?,
            images: bundled.images,
            origin: bundled.origin,
            created: None,
            size: stat.map_or(0, |it| it.length),
            allocated: stat.map_or(0, |it| it.allocated),
        })
    }

    fn entry(&self, name: ImageName, image: NamedImage, host: &dyn Host) -> Result<Entry> {
        let stat = host.stat(&self.layout.image(&image.root).root());
        let stat = stat.during(format!("examine the image `{name}`"))?;
        Ok(Entry {
            images: Images {
                name: name.to_string(),
                root: image.root,
                kernel: image.kernel,
            },
            name,
            origin: image.origin,
            created: Some(image.created),
            size: stat.map_or(0, |it| it.length),
            allocated: stat.map_or(0, |it| it.allocated),
        })
    }

    /// One image.
    ///
    /// # Errors
    /// `not-found`; `not-ready` if the bundle cannot be read.
    pub fn get(&self, name: &ImageName, host: &dyn Host) -> Result<Entry> {
        if name.is_default() {
            return self.default_entry(host);
        }
        if self.names.unreadable(host)?.contains(name) {
            return Ok(Entry::unreadable(name.clone()));
        }
        let image = self.names.get(name, host)?;
        self.entry(name.clone(), image, host)
    }

    /// The digests of an image with a record, if it is complete.
    fn whole(&self, name: &ImageName, host: &dyn Host) -> Result<Images> {
        let image = self.names.get(name, host)?;
        for digest in [&image.root, &image.kernel] {
            if folder::is_missing(&self.layout.image(digest), host)? {
                let path = self.layout.image(digest).folder().to_owned();
                return Err(Error::new(
                    Code::NotReady,
                    format!("the image `{name}` lacks `{}`", path.display()),
                )
                .hint(format!("remove it: banger image delete {name}")));
            }
        }
        Ok(Images {
            name: name.to_string(),
            root: image.root,
            kernel: image.kernel,
        })
    }

    /// Removes an image's name, unless `used` returns VMs that use its root file system, or one is
    /// being created. Content with another name stays, also if that is the bundle's own image. The
    /// next prune removes the rest.
    ///
    /// # Errors
    /// `not-found`, or `conflict` with its users.
    pub fn forget(
        &self,
        name: &ImageName,
        used: impl FnOnce(&str) -> Vec<String>,
        host: &dyn Host,
    ) -> Result<()> {
        refuse_default(name, "deleted")?;
        let _importing = self.lock();
        let all = self.names.all(host)?;
        if let Some(image) = all.get(name) {
            let others = all.iter().filter(|(other, _)| *other != name);
            let bundled = self.source.look(host).ok();
            let has_other_name = { others }.any(|(_, other)| other.root == image.root)
                || bundled.is_some_and(|it| it.images.root == image.root);
            let is_leased = self.leases.digests().contains(&image.root);
            let users = used(&image.root);
            if !has_other_name && (is_leased || !users.is_empty()) {
                return Err(in_use(name, &users));
            }
        } else if let Err(error) = self.names.get(name, host)
            && error.code == Code::NotFound
        {
            return Err(error);
        }
        self.names.remove(name, host)
    }

    /// Renames an image.
    ///
    /// # Errors
    /// `not-found`, or `conflict` if the new name is taken; nothing is changed then.
    pub fn rename(&self, old: &ImageName, new: &ImageName, host: &dyn Host) -> Result<()> {
        refuse_default(old, "renamed")?;
        let _importing = self.lock();
        self.names.rename(old, new, host)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ()> {
        self.importing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes unused images: those without a name, a lease, or a digest that `used` returns.
    /// Returns the freed bytes. `used` is called after the leases are read, so that a record which
    /// is written meanwhile is seen by one or the other. Removes nothing if `used` returns `None`
    /// or a name cannot be read, because any image may then be in use, and nothing during an
    /// import.
    ///
    /// # Errors
    /// If an unused image remains.
    pub fn prune(
        &self,
        used: impl FnOnce() -> Result<Option<BTreeSet<String>>>,
        host: &dyn Host,
    ) -> Result<u64> {
        let _importing = match self.importing.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(0),
        };
        let mut keep = self.leases.digests();
        let (Some(used), Some(named)) = (used()?, self.names.digests(host)?) else {
            return Ok(0);
        };
        keep.extend(used.into_iter().chain(named));
        match self.source.look(host) {
            Ok(bundled) => keep.extend([bundled.images.root, bundled.images.kernel]),
            // A bundle under repair may come back with the same images.
            Err(error) if error.code == Code::NotReady => return Ok(0),
            Err(error) => return Err(error),
        }
        let mut freed = 0;
        for name in host.list(&self.layout.images()).during("list the images")? {
            if !keep.contains(&name) {
                freed += folder::remove(&self.layout.image(&name), host)
                    .during(format!("remove the image `{name}`"))?;
            }
        }
        Ok(freed)
    }
}

/// The bundle's own image follows the bundle, and cannot be removed or renamed.
fn refuse_default(name: &ImageName, done: &str) -> Result<()> {
    if !name.is_default() {
        return Ok(());
    }
    Err(Error::new(
        Code::Conflict,
        format!("`{name}` is the bundle's own image and cannot be {done}"),
    )
    .hint("to use another image for new VMs: banger config set default_rootfs NAME"))
}

fn in_use(name: &ImageName, users: &[String]) -> Error {
    let error = Error::new(Code::Conflict, format!("the image `{name}` is in use"));
    match users {
        [] => error
            .cause("a VM is being created from it")
            .hint("try again"),
        users => error
            .cause(format!("by {}", users.join(", ")))
            .hint(format!(
                "delete them first: banger vm delete {}",
                users.join(" ")
            )),
    }
}

#[cfg(test)]
mod tests;
