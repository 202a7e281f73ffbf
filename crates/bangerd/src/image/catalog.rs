//! Imported images: immutable, named by their digests, shared by VMs.
//!
//! A VM always starts with the pair of root file system and kernel that it was made with, so what
//! the bundle holds is imported once, at the first create that uses it, and a new bundle changes
//! no old VM.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use banger_api::{Code, Error};
use banger_host::{Finding, Host, Op};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{During, Result, is_unsupported};
use crate::guest::initramfs;
use crate::image::bundle::Bundle;
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
    /// The bundle in this folder.
    Bundle(PathBuf),
    /// Nowhere: the simulated host has no files worth the name.
    Simulated,
}

/// The images of one state directory.
#[derive(Debug)]
pub struct Catalog {
    layout: Layout,
    source: Source,
    /// One import at a time.
    importing: Mutex<()>,
}

impl Catalog {
    /// The images below this layout, imported from `source`.
    #[must_use]
    pub fn new(layout: Layout, source: Source) -> Self {
        Self {
            layout,
            source,
            importing: Mutex::new(()),
        }
    }

    /// The requirement that there is a bundle, whole.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let Source::Bundle(folder) = &self.source else {
            return Vec::new();
        };
        let folder = folder.clone();
        vec![Check::new("bundle", move |_| match Bundle::load(&folder) {
            Ok(bundle) => Finding::Good(format!(
                "`{}`: {} with Linux {}",
                folder.display(),
                bundle.suite(),
                bundle.kernel_version()
            )),
            Err(error) => Finding::Bad {
                found: crate::error::chain(&error),
                hint: "banger bundle build".to_owned(),
            },
        })]
    }

    /// The pair that a new VM of this image starts with, imported if it was not.
    ///
    /// # Errors
    /// `not-found` for an image that there is not, `not-ready` where the bundle is missing or
    /// damaged.
    pub fn current(&self, name: &str, host: &dyn Host) -> Result<Images> {
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
        match &self.source {
            Source::Bundle(folder) => self.import(folder, host),
            Source::Simulated => self.simulate(host),
        }
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

    /// Removes what no VM uses and a new one would not.
    ///
    /// # Errors
    /// When something that nobody uses is left.
    pub fn prune<'a>(&self, used: impl Iterator<Item = &'a Images>, host: &dyn Host) -> Result<()> {
        let _importing = self
            .importing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut keep: Vec<String> = used
            .flat_map(|it| [it.root.clone(), it.kernel.clone()])
            .collect();
        match &self.source {
            Source::Bundle(folder) => match Bundle::load(folder) {
                Ok(bundle) => keep.extend([root_digest(&bundle), kernel_digest(&bundle)]),
                // A bundle that is being mended may come back with the same images.
                Err(_) => return Ok(()),
            },
            Source::Simulated => return Ok(()),
        }
        for name in host.list(&self.layout.images()).during("list the images")? {
            if !keep.contains(&name) {
                let path = self.layout.image(&name).folder().to_owned();
                host.change(&Op::RemoveDirectory { path })
                    .during(format!("remove the image `{name}`"))?;
            }
        }
        Ok(())
    }

    fn import(&self, folder: &Path, host: &dyn Host) -> Result<Images> {
        let damaged = |error: crate::image::bundle::BundleError| {
            Error::new(Code::NotReady, crate::error::chain(&error)).hint("banger bundle build")
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
            let base = initramfs::base(&bundle.modules(), &bundle.guest())
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

    /// The images of a simulated host: files of a few bytes.
    fn simulate(&self, host: &dyn Host) -> Result<Images> {
        let images = Images {
            name: DEFAULT.to_owned(),
            root: "0".repeat(64),
            kernel: "1".repeat(64),
        };
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
    host.change(&Op::RemoveDirectory { path: path.clone() })
        .during("clear an image's folder")?;
    host.change(&Op::MakeDirectory {
        path,
        mode: 0o711,
        owner: None,
    })
    .during("make an image's folder")
    .map(drop)
}

/// Blocks are shared where the file system can, and copied where it cannot.
fn share(from: &Path, to: &Path, host: &dyn Host) -> Result<()> {
    let what = || format!("import `{}`", from.display());
    let (from, to) = (from.to_owned(), to.to_owned());
    let clone = Op::CloneFile {
        from: from.clone(),
        to: to.clone(),
        owner: None,
    };
    match host.change(&clone) {
        Err(error) if is_unsupported(&error) => host
            .change(&Op::CopyFile {
                from,
                to,
                owner: None,
            })
            .during(what())
            .map(drop),
        other => other.during(what()).map(drop),
    }
}

fn write(path: PathBuf, contents: Vec<u8>, host: &dyn Host) -> Result<()> {
    let what = format!("write `{}`", path.display());
    host.change(&Op::WriteFile {
        path,
        contents,
        mode: 0o644,
        owner: None,
    })
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

/// A kernel is what boots it, too: its modules and the guest program.
fn kernel_digest(bundle: &Bundle) -> String {
    let mut hash = Sha256::new();
    for part in [
        bundle.vmlinux_digest(),
        bundle.guest_digest(),
        bundle.kernel_version(),
    ] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
