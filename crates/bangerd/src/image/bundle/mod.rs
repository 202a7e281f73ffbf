//! The bundle: the folder with everything that new VMs are made from.
//!
//! ```text
//! <bundle>/
//!   bundle.json     the manifest: the parts and their digests; written last
//!   vmlinux         the uncompressed kernel
//!   modules/        its modules, as /lib/modules/<version>
//!   rootfs.ext4     the base root file system, sparse
//!   banger-guest    the static guest program
//! ```
//!
//! It is built or fetched in a temporary folder and renamed, so there is a complete bundle or none.

mod build;
mod build_directory;
mod digest;
mod error;
mod fetch;
mod find;
mod inheritable_file;
mod interrupt;
mod kernel;
mod own_kernel;
mod package;
mod readiness;
mod requirements;
mod rootfs;
mod source;
mod sources;
mod unpack;
mod vmlinux;

use std::path::{Path, PathBuf};

use banger_api::Result;
use serde::{Deserialize, Serialize};

use crate::guest::program;
use digest::Part;
use error::{REBUILD, failure, failure_caused_by, wrong_digest, wrong_size};

pub(super) use build::{StageSink, TREES, stage};
pub(super) use build_directory::{BuildDirectory, TREE};
pub(super) use inheritable_file::InheritableFolder;
#[cfg(test)]
pub(super) use interrupt::tests::uninterrupted;
pub(super) use requirements::check_maker;
pub(super) use rootfs::{make_image, with_guest_ids};

pub(crate) use crate::download::Proxies;
pub(crate) use build::{BuildOptions, Stage, build};
pub(crate) use fetch::{FetchOptions, fetch};
pub(crate) use find::find;
pub(crate) use interrupt::{InterruptSignal, was_interrupted};
pub(crate) use own_kernel::OwnKernel;
pub(crate) use package::package;
pub(crate) use readiness::readiness;

/// The version of the manifest's format.
pub(crate) const SCHEMA: u32 = 1;

const MANIFEST: &str = "bundle.json";
const VMLINUX: &str = "vmlinux";
const MODULES: &str = "modules";
const ROOTFS: &str = "rootfs.ext4";
const GUEST: &str = program::FILE;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    schema: u32,
    suite: String,
    architecture: String,
    created: jiff::Timestamp,
    kernel_version: String,
    vmlinux: Part,
    modules: Part,
    rootfs: Part,
    guest: Part,
}

/// The SHA-256 of a file, in hexadecimal.
pub(super) fn sha256(path: &Path) -> Result<String> {
    digest::file(path).map(|part| part.sha256)
}

/// A bundle on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bundle {
    folder: PathBuf,
    manifest: Manifest,
}

impl Bundle {
    /// Reads a bundle's manifest, and checks that its parts exist with the recorded sizes.
    ///
    /// # Errors
    /// Names the part that is missing or has another size.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let text = std::fs::read(&path).map_err(|cause| {
            if cause.kind() == std::io::ErrorKind::NotFound {
                return failure(format!("there is no bundle in `{}`", folder.display()))
                    .hint(REBUILD);
            }
            failure_caused_by(format!("read `{}`", path.display()), cause)
        })?;
        #[derive(Deserialize)]
        struct VersionedManifest {
            schema: u32,
        }
        let damaged =
            |cause| failure_caused_by(format!("read `{}`", path.display()), cause).hint(REBUILD);
        let VersionedManifest { schema } = serde_json::from_slice(&text).map_err(damaged)?;
        if schema != SCHEMA {
            return Err(failure(format!(
                "the bundle `{}` has schema {schema}, and this banger reads {SCHEMA}",
                folder.display()
            ))
            .hint(REBUILD));
        }
        let manifest: Manifest = serde_json::from_slice(&text).map_err(damaged)?;
        let bundle = Self {
            folder: folder.to_owned(),
            manifest,
        };
        for (name, part) in bundle.parts() {
            let path = folder.join(name);
            let found = std::fs::metadata(&path).map_err(|cause| {
                failure_caused_by(format!("the bundle lacks `{name}`"), cause).hint(REBUILD)
            })?;
            if found.len() != part.size {
                return Err(wrong_size(name, found.len(), part.size));
            }
        }
        bundle.check_modules()?;
        Ok(bundle)
    }

    /// Compares the digests of all parts with the recorded ones.
    ///
    /// # Errors
    /// Names the part that is damaged.
    pub(crate) fn verify(&self) -> Result<()> {
        for (name, part) in self.parts() {
            if digest::file(&self.folder.join(name))?.sha256 != part.sha256 {
                return Err(wrong_digest(name));
            }
        }
        if digest::folder(&self.modules())?.sha256 != self.manifest.modules.sha256 {
            return Err(wrong_digest(MODULES));
        }
        Ok(())
    }

    fn check_modules(&self) -> Result<()> {
        let folder = self.modules();
        for name in [&folder, &folder.join("modules.dep")] {
            if !name.exists() {
                let name = name.strip_prefix(&self.folder).unwrap_or(name);
                return Err(failure(format!("the bundle lacks `{}`", name.display())).hint(REBUILD));
            }
        }
        let (found, recorded) = (digest::folder_size(&folder)?, self.manifest.modules.size);
        if found == recorded {
            return Ok(());
        }
        Err(wrong_size(MODULES, found, recorded))
    }

    fn parts(&self) -> [(&'static str, &Part); 3] {
        let manifest = &self.manifest;
        [
            (VMLINUX, &manifest.vmlinux),
            (ROOTFS, &manifest.rootfs),
            (GUEST, &manifest.guest),
        ]
    }

    /// Its folder.
    #[must_use]
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The Debian suite of the root file system.
    #[must_use]
    pub(crate) fn suite(&self) -> &str {
        &self.manifest.suite
    }

    /// The kernel's release, such as `6.12.48+deb13-amd64`.
    #[must_use]
    pub(crate) fn kernel_version(&self) -> &str {
        &self.manifest.kernel_version
    }

    /// The path of the base root file system.
    #[must_use]
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.folder.join(ROOTFS)
    }

    /// The path of the kernel.
    #[must_use]
    pub(crate) fn vmlinux(&self) -> PathBuf {
        self.folder.join(VMLINUX)
    }

    /// The folder of the kernel's modules.
    #[must_use]
    pub(crate) fn modules(&self) -> PathBuf {
        self.folder.join(MODULES)
    }

    /// The SHA-256 of the base root file system, in hexadecimal.
    #[must_use]
    pub(crate) fn rootfs_digest(&self) -> &str {
        &self.manifest.rootfs.sha256
    }

    /// The SHA-256 of the kernel.
    #[must_use]
    pub(crate) fn vmlinux_digest(&self) -> &str {
        &self.manifest.vmlinux.sha256
    }

    /// The SHA-256 of the modules' names and contents, in hexadecimal.
    #[must_use]
    pub(crate) fn modules_digest(&self) -> &str {
        &self.manifest.modules.sha256
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A folder with a small bundle, and the bundle.
    pub(in crate::image) fn bundle() -> (tempfile::TempDir, Bundle) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(MODULES)).unwrap();
        std::fs::write(folder.path().join("modules/modules.dep"), "").unwrap();
        std::fs::write(folder.path().join("modules/veth.ko"), "veth").unwrap();
        for name in [VMLINUX, ROOTFS, GUEST] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let part = |name: &str| digest::file(&folder.path().join(name)).unwrap();
        let manifest = Manifest {
            schema: SCHEMA,
            suite: "trixie".to_owned(),
            architecture: "amd64".to_owned(),
            created: jiff::Timestamp::UNIX_EPOCH,
            kernel_version: "6.12.0".to_owned(),
            vmlinux: part(VMLINUX),
            modules: digest::folder(&folder.path().join(MODULES)).unwrap(),
            rootfs: part(ROOTFS),
            guest: part(GUEST),
        };
        let text = serde_json::to_vec(&manifest).unwrap();
        std::fs::write(folder.path().join(MANIFEST), text).unwrap();
        let bundle = Bundle::load(folder.path()).unwrap();
        (folder, bundle)
    }

    #[test]
    fn a_complete_bundle_is_loaded_and_verified() {
        let (_folder, bundle) = bundle();
        bundle.verify().unwrap();
    }

    #[test]
    fn a_part_that_is_missing_or_has_another_size_is_named() {
        for name in [VMLINUX, ROOTFS, GUEST, "modules/modules.dep"] {
            let (folder, _) = bundle();
            std::fs::remove_file(folder.path().join(name)).unwrap();
            let error = Bundle::load(folder.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("lacks `{name}`")), "{error}");
        }
        for (name, expected) in [(ROOTFS, "`rootfs.ext4`"), ("modules/veth.ko", "`modules`")] {
            let (folder, _) = bundle();
            std::fs::write(folder.path().join(name), "short").unwrap();
            let error = Bundle::load(folder.path()).unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains(&format!("{expected} is damaged")),
                "{error}"
            );
            assert_eq!(error.hints, [REBUILD]);
        }
    }

    #[test]
    fn a_part_whose_bytes_changed_is_named() {
        for (name, bytes, expected) in [
            (VMLINUX, "vmlinuX", "`vmlinux`"),
            ("modules/veth.ko", "vetH", "`modules`"),
        ] {
            let (folder, bundle) = bundle();
            std::fs::write(folder.path().join(name), bytes).unwrap();
            Bundle::load(folder.path()).unwrap();
            let error = bundle.verify().unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains(&format!("{expected} is damaged")),
                "{error}"
            );
            assert_eq!(error.hints, [REBUILD]);
        }
    }

    #[test]
    fn a_missing_and_a_newer_bundle_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let error = Bundle::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("there is no bundle"), "{error}");
        std::fs::write(folder.path().join(MANIFEST), r#"{"schema": 9}"#).unwrap();
        let error = Bundle::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("schema 9"), "{error}");
    }
}
