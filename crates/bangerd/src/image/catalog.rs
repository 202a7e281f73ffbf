//! Imported images: immutable, named by their digests, shared by VMs.
//!
//! A VM always starts with the pair of root file system and kernel that it was made with, so what
//! the bundle holds is imported once, at the first create that uses it, and a new bundle changes
//! no old VM.
//!
//! An image that no record names yet is held by an [`ImageLease`], from its import until the new
//! VM's record is on disk, so [`prune`](Catalog::prune) never takes it away in between.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, TryLockError};

use banger_api::{Code, Error, Fix};
use banger_host::{FileOp, Finding, Host, Op};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{During, Result, is_unsupported};
use crate::guest::initramfs;
use crate::image::bundle::Bundle;
use crate::image::lease::{ImageLease, Leases};
use crate::layout::{ImageLayout, Layout};
use crate::readiness::Check;
use crate::vm::Images;

/// The one image that a bundle has.
pub const DEFAULT: &str = "default";

/// What a kernel needs to be booted with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// The kernel's own version.
    pub version: String,
    /// The modules within the base archive, in the order of loading.
    pub modules: Vec<String>,
}

/// Where images come from.
#[derive(Debug)]
pub enum Source {
    /// The bundle in this folder, and why it is this one.
    Bundle(PathBuf, String),
    /// A bundle in this folder of a simulated host, whose images are files of a few bytes. What
    /// its `bundle.json` holds, if anything, decides their digests.
    Simulated(PathBuf),
}

/// The images of one state directory.
#[derive(Debug)]
pub struct Catalog {
    layout: Layout,
    source: Source,
    /// One import or prune at a time.
    importing: Mutex<()>,
    leases: Leases,
}

impl Catalog {
    /// The images below this layout, imported from `source`.
    #[must_use]
    pub fn new(layout: Layout, source: Source) -> Self {
        Self {
            layout,
            source,
            importing: Mutex::new(()),
            leases: Leases::default(),
        }
    }

    /// The requirement that there is a bundle, whole.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let Source::Bundle(folder, reason) = &self.source else {
            return Vec::new();
        };
        let (folder, reason) = (folder.clone(), reason.clone());
        vec![
            Check::new("bundle", move |_| match Bundle::load(&folder) {
                Ok(bundle) => Finding::Good(format!(
                    "`{}`: {} with Linux {} ({reason})",
                    folder.display(),
                    bundle.suite(),
                    bundle.kernel_version()
                )),
                Err(error) => Finding::Bad {
                    found: crate::error::chain(&error),
                    hint: "banger bundle build".to_owned(),
                },
            })
            .fixed_by(|_| Some(Fix::banger("build the bundle", &["bundle", "build"]))),
        ]
    }

    /// The pair that a new VM of this image starts with, imported if it was not, and kept until the
    /// lease is dropped.
    ///
    /// # Errors
    /// `not-found` for an image that there is not, `not-ready` where the bundle is missing or
    /// damaged.
    pub fn current(&self, name: &str, host: &dyn Host) -> Result<ImageLease> {
        if name != DEFAULT {
            return Err(
                Error::new(Code::NotFound, format!("there is no image `{name}`"))
                    .hint(format!("the one image of this bundle is `{DEFAULT}`")),
            );
        }
        let _importing = self
            .importing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let images = match &self.source {
            Source::Bundle(folder, _) => self.import(folder, host),
            Source::Simulated(folder) => self.simulate(folder, host),
        }?;
        Ok(self.leases.take(images))
    }

    /// What a kernel is booted with.
    ///
    /// # Errors
    /// When its record is gone.
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
    /// When it is gone.
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

    /// Removes the images that nobody uses: no lease, no digest that `used` returns, and no new VM.
    /// `used` is called after the leases are counted, so that a record which was written in the
    /// meantime is seen by one or the other. Where it returns `None`, somebody unknown may use any
    /// of them, and nothing is removed; while an import is at work nothing is, either.
    ///
    /// # Errors
    /// When an unused image is left.
    pub fn prune(
        &self,
        used: impl FnOnce() -> Result<Option<BTreeSet<String>>>,
        host: &dyn Host,
    ) -> Result<()> {
        let _importing = match self.importing.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        let leased = self.leases.digests();
        let Some(mut keep) = used()? else {
            return Ok(());
        };
        keep.extend(leased);
        match &self.source {
            Source::Bundle(folder, _) => match Bundle::load(folder) {
                Ok(bundle) => keep.extend([root_digest(&bundle), kernel_digest(&bundle)]),
                // A bundle that is being mended may come back with the same images.
                Err(_) => return Ok(()),
            },
            Source::Simulated(folder) => {
                let images = simulated(folder, host)?;
                keep.extend([images.root, images.kernel]);
            }
        }
        for name in host.list(&self.layout.images()).during("list the images")? {
            if !keep.contains(&name) {
                self.remove(&name, host)
                    .during(format!("remove the image `{name}`"))?;
            }
        }
        Ok(())
    }

    /// The record first: an image without one is imported anew, so a crash on the way leaves
    /// nothing that is taken for whole.
    fn remove(&self, digest: &str, host: &dyn Host) -> Result<()> {
        let image = self.layout.image(digest);
        let path = image.record();
        host.change(&Op::File(FileOp::RemoveFile { path }))
            .during("remove its record")?;
        let path = image.folder().to_owned();
        host.change(&Op::File(FileOp::RemoveDirectory { path }))
            .during("remove its folder")
            .map(drop)
    }

    fn import(&self, folder: &Path, host: &dyn Host) -> Result<Images> {
        let damaged = |error: Error| Error {
            code: Code::NotReady,
            ..error.hint("banger bundle build")
        };
        let bundle = Bundle::load(folder).map_err(damaged)?;
        let images = Images {
            name: DEFAULT.to_owned(),
            root: root_digest(&bundle),
            kernel: kernel_digest(&bundle),
        };
        let root = self.layout.image(&images.root);
        let kernel = self.layout.image(&images.kernel);
        let missing = |image: &ImageLayout| {
            host.stat(&image.record())
                .map(|stat| stat.is_none())
                .during("look for an image")
        };
        if !missing(&root)? && !missing(&kernel)? {
            return Ok(images);
        }
        bundle.verify().map_err(damaged)?;
        if missing(&root)? {
            fresh(&root, host)?;
            share(&bundle.rootfs(), &root.root(), host)?;
            record(&root, &serde_json::json!({ "suite": bundle.suite() }), host)?;
        }
        if missing(&kernel)? {
            fresh(&kernel, host)?;
            share(&bundle.vmlinux(), &kernel.kernel(), host)?;
            let base = initramfs::base(&bundle.modules())
                .during("make the first archive of the initramfs")?;
            write(kernel.base_archive(), base.archive, host)?;
            let version = bundle.kernel_version().to_owned();
            record(
                &kernel,
                &Kernel {
                    version,
                    modules: base.modules,
                },
                host,
            )?;
        }
        Ok(images)
    }

    fn simulate(&self, folder: &Path, host: &dyn Host) -> Result<Images> {
        let images = simulated(folder, host)?;
        let root = self.layout.image(&images.root);
        let kernel = self.layout.image(&images.kernel);
        if host
            .stat(&kernel.record())
            .during("look for an image")?
            .is_none()
        {
            fresh(&root, host)?;
            write(root.root(), b"simulated".to_vec(), host)?;
            record(&root, &serde_json::json!({ "suite": "simulated" }), host)?;
            fresh(&kernel, host)?;
            write(kernel.kernel(), b"simulated".to_vec(), host)?;
            write(kernel.base_archive(), Vec::new(), host)?;
            record(
                &kernel,
                &Kernel {
                    version: "0".to_owned(),
                    modules: Vec::new(),
                },
                host,
            )?;
        }
        Ok(images)
    }
}

/// An image's folder, without what an import that did not end may have left.
fn fresh(image: &ImageLayout, host: &dyn Host) -> Result<()> {
    let path = image.folder().to_owned();
    host.change(&Op::File(FileOp::RemoveDirectory { path: path.clone() }))
        .during("clear an image's folder")?;
    host.change(&Op::File(FileOp::MakeDirectory {
        path,
        mode: 0o711,
        owner: None,
    }))
    .during("make an image's folder")
    .map(drop)
}

/// Blocks are shared where the file system can, and copied where it cannot.
fn share(from: &Path, to: &Path, host: &dyn Host) -> Result<()> {
    let what = || format!("import `{}`", from.display());
    let (from, to) = (from.to_owned(), to.to_owned());
    let clone = Op::File(FileOp::CloneFile {
        from: from.clone(),
        to: to.clone(),
        owner: None,
    });
    match host.change(&clone) {
        Err(error) if is_unsupported(&error) => host
            .change(&Op::File(FileOp::CopyFile {
                from,
                to,
                owner: None,
            }))
            .during(what())
            .map(drop),
        other => other.during(what()).map(drop),
    }
}

fn write(path: PathBuf, contents: Vec<u8>, host: &dyn Host) -> Result<()> {
    let what = format!("write `{}`", path.display());
    host.change(&Op::File(FileOp::WriteFile {
        path,
        contents,
        mode: 0o644,
        owner: None,
    }))
    .during(what)
    .map(drop)
}

/// Says what an image is, once all of it is there.
fn record(image: &ImageLayout, what: &impl Serialize, host: &dyn Host) -> Result<()> {
    let contents = serde_json::to_vec_pretty(what)
        .map_err(|cause| Error::new(Code::Internal, "record an image").cause(cause.to_string()))?;
    write(image.record(), contents, host)
}

fn root_digest(bundle: &Bundle) -> String {
    bundle.rootfs_digest().to_owned()
}

/// A kernel is what boots it, too: its modules.
fn kernel_digest(bundle: &Bundle) -> String {
    digest(&[
        bundle.vmlinux_digest(),
        bundle.modules_digest(),
        bundle.kernel_version(),
    ])
}

/// The images that the simulated bundle in this folder has now.
fn simulated(folder: &Path, host: &dyn Host) -> Result<Images> {
    let path = folder.join("bundle.json");
    let bundle = host.read(&path).during("read the simulated bundle")?;
    let bundle = String::from_utf8_lossy(&bundle.unwrap_or_default()).into_owned();
    Ok(Images {
        name: DEFAULT.to_owned(),
        root: digest(&["root", &bundle]),
        kernel: digest(&["kernel", &bundle]),
    })
}

fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use banger_host::{Look as _, Sim};

    use super::*;

    #[test]
    fn a_leased_image_outlives_a_prune_before_its_record_is_written() {
        let sim = Sim::new();
        let catalog = Catalog::new(Layout::new("/state"), Source::Simulated("/bundle".into()));
        let folder = |path: &str| {
            Op::File(FileOp::MakeDirectory {
                path: path.into(),
                mode: 0o755,
                owner: None,
            })
        };
        sim.change(&folder("/state/images")).unwrap();
        let lease = catalog.current(DEFAULT, &sim).unwrap();
        sim.change(&folder("/bundle")).unwrap();
        write("/bundle/bundle.json".into(), b"newer".to_vec(), &sim).unwrap();
        let images = || sim.list(Path::new("/state/images")).unwrap().len();
        catalog.prune(|| Ok(Some(BTreeSet::new())), &sim).unwrap();
        assert_eq!(images(), 2);
        drop(lease);
        catalog.prune(|| Ok(Some(BTreeSet::new())), &sim).unwrap();
        assert_eq!(images(), 0);
    }
}
