//! The bundle as the source of the default image: imported once, at the first create that uses it.

use std::path::{Path, PathBuf};

use banger_api::{Code, Error, ImageName};
use banger_host::Host;
use sha2::{Digest as _, Sha256};

use super::bundle::{Bundle, OwnKernel};
use super::catalog::Kernel;
use super::folder::{fresh, is_missing, record, share, write};
use crate::error::{During, Result};
use crate::guest::initramfs;
use crate::layout::Layout;
use crate::vm::Images;

/// The source of the default image.
#[derive(Debug)]
pub enum Source {
    /// The bundle in this folder, the reason for this choice, and the kernel instead of its own.
    Bundle(PathBuf, String, OwnKernel),
    /// A bundle in this folder of a simulated host, whose images are files of a few bytes. The
    /// content of its `bundle.json`, if any, determines their digests.
    Simulated(PathBuf),
}

/// The current default image, imported or not.
#[derive(Debug)]
pub(super) struct BundledImage {
    pub(super) images: Images,
    /// A description for a person.
    pub(super) origin: String,
    /// Its root file system in the bundle, unless the host is simulated.
    pub(super) root: Option<PathBuf>,
}

impl Source {
    /// The current default image, without importing it.
    ///
    /// # Errors
    /// `not-ready` if there is no readable bundle.
    pub(super) fn look(&self, host: &dyn Host) -> Result<BundledImage> {
        match self {
            Self::Bundle(folder, _, own) => {
                let bundle = load(folder, own, host)?;
                Ok(BundledImage {
                    images: images_of(&bundle),
                    origin: format!("the bundle: Debian {}", bundle.suite()),
                    root: Some(bundle.rootfs()),
                })
            }
            Self::Simulated(folder) => Ok(BundledImage {
                images: simulated(folder, host)?,
                origin: "simulated".to_owned(),
                root: None,
            }),
        }
    }

    /// The default image, imported if necessary.
    ///
    /// # Errors
    /// `not-ready` if the bundle is missing or damaged; or a failure to write.
    pub(super) fn import(&self, layout: &Layout, host: &dyn Host) -> Result<Images> {
        match self {
            Self::Bundle(folder, _, own) => import(&load(folder, own, host)?, layout, host),
            Self::Simulated(folder) => simulate(folder, layout, host),
        }
    }
}

fn damaged(error: Error) -> Error {
    Error {
        code: Code::NotReady,
        ..error.hint("banger bundle build")
    }
}

/// The bundle, with the user's own kernel if there is one.
pub(super) fn load(folder: &Path, own: &OwnKernel, host: &dyn Host) -> Result<Bundle> {
    if own.is_configured() {
        let unusable = |error: Error| Error {
            code: Code::NotReady,
            ..error.within("use the kernel of the configuration")
        };
        return own
            .bundle(folder, host)
            .and_then(|it| Bundle::load(&it))
            .map_err(unusable);
    }
    Bundle::load(folder).map_err(damaged)
}

fn images_of(bundle: &Bundle) -> Images {
    Images {
        name: ImageName::DEFAULT.to_owned(),
        root: bundle.rootfs_digest().to_owned(),
        kernel: kernel_digest(bundle),
    }
}

fn import(bundle: &Bundle, layout: &Layout, host: &dyn Host) -> Result<Images> {
    let images = images_of(bundle);
    let root = layout.image(&images.root);
    let kernel = layout.image(&images.kernel);
    if !is_missing(&root, host)? && !is_missing(&kernel, host)? {
        return Ok(images);
    }
    bundle.verify().map_err(damaged)?;
    if is_missing(&root, host)? {
        fresh(&root, host)?;
        share(&bundle.rootfs(), &root.root(), host)?;
        refuse_exchanged(bundle)?;
        record(&root, &serde_json::json!({ "suite": bundle.suite() }), host)?;
    }
    if is_missing(&kernel, host)? {
        fresh(&kernel, host)?;
        share(&bundle.vmlinux(), &kernel.kernel(), host)?;
        let base =
            initramfs::base(&bundle.modules()).during("make the first archive of the initramfs")?;
        write(kernel.base_archive(), base.archive, host)?;
        refuse_exchanged(bundle)?;
        let version = bundle.kernel_version().to_owned();
        let modules = base.modules;
        record(&kernel, &Kernel { version, modules }, host)?;
    }
    Ok(images)
}

/// Fails if another bundle has taken the place of this one: what was read may be of either.
fn refuse_exchanged(bundle: &Bundle) -> Result<()> {
    if Bundle::load(bundle.folder()).is_ok_and(|now| now == *bundle) {
        return Ok(());
    }
    let what = "another bundle has taken the place of this one meanwhile";
    Err(Error::new(Code::Conflict, what).hint("try again"))
}

fn simulate(folder: &Path, layout: &Layout, host: &dyn Host) -> Result<Images> {
    let images = simulated(folder, host)?;
    let root = layout.image(&images.root);
    let kernel = layout.image(&images.kernel);
    if is_missing(&kernel, host)? {
        fresh(&root, host)?;
        write(root.root(), b"simulated".to_vec(), host)?;
        record(&root, &serde_json::json!({ "suite": "simulated" }), host)?;
        fresh(&kernel, host)?;
        write(kernel.kernel(), b"simulated".to_vec(), host)?;
        write(kernel.base_archive(), Vec::new(), host)?;
        let (version, modules) = ("0".to_owned(), Vec::new());
        record(&kernel, &Kernel { version, modules }, host)?;
    }
    Ok(images)
}

/// The digest of a kernel covers its modules, too.
fn kernel_digest(bundle: &Bundle) -> String {
    digest(&[
        bundle.vmlinux_digest(),
        bundle.modules_digest(),
        bundle.kernel_version(),
    ])
}

/// The current images of the simulated bundle in this folder.
fn simulated(folder: &Path, host: &dyn Host) -> Result<Images> {
    let path = folder.join("bundle.json");
    let bundle = host.read(&path).during("read the simulated bundle")?;
    let bundle = String::from_utf8_lossy(&bundle.unwrap_or_default()).into_owned();
    Ok(Images {
        name: ImageName::DEFAULT.to_owned(),
        root: digest(&["root", &bundle]),
        kernel: digest(&["kernel", &bundle]),
    })
}

pub(super) fn digest(parts: &[&str]) -> String {
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
    use std::path::Path;

    use banger_host::Linux;

    use super::*;
    use crate::image::bundle::tests::bundle;

    #[test]
    fn nothing_is_recorded_of_a_bundle_that_was_exchanged() {
        let (place, bundle) = bundle();
        let state = tempfile::tempdir().unwrap();
        let (layout, host) = (Layout::new(state.path()), Linux::new().unwrap());
        let images = import(&bundle, &layout, &host).unwrap();
        assert_eq!(images, images_of(&bundle));
        // Between its check and its use, a newer one takes its place.
        let path = place.path().join("bundle.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let newer = text.replace("trixie", "forky");
        assert_ne!(newer, text);
        std::fs::write(&path, newer).unwrap();
        let state = tempfile::tempdir().unwrap();
        let layout = Layout::new(state.path());
        let error = import(&bundle, &layout, &host).unwrap_err();
        assert!(error.report().contains("try again"), "{error}");
        for digest in [&images.root, &images.kernel] {
            let image = layout.image(digest);
            assert!(is_missing(&image, &host).unwrap());
            assert!(!Path::new(&image.record()).exists());
        }
    }
}
