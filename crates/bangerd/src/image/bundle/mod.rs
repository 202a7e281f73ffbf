//! The bundle: the runtime folder that every new VM comes from.
//!
//! ```text
//! <bundle>/
//!   bundle.json     what the parts are, with their digests; written last
//!   vmlinux         the uncompressed kernel
//!   modules/        its modules, as /lib/modules/<version>
//!   rootfs.ext4     the base root file system, sparse
//!   banger-guest    the static guest program
//! ```
//!
//! It is built, or fetched, aside and renamed into place, so there is always a whole one or none.

mod build;
mod build_directory;
mod digest;
mod fetch;
mod find;
mod inheritable_file;
mod interruption;
mod kernel;
mod package;
mod readiness;
mod requirements;
mod rootfs;
mod source;
mod sources;
mod unpack;
mod vmlinux;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::chain;
use crate::guest::program;
use digest::Part;

pub use crate::download::Proxies;
pub use build::{BuildOptions, Stage, build};
pub use fetch::{FetchOptions, fetch};
pub use find::{Found, find};
pub use package::{Package, package};
pub use readiness::readiness;

/// The version of the manifest that this program writes and reads.
pub const SCHEMA: u32 = 1;

const MANIFEST: &str = "bundle.json";
const VMLINUX: &str = "vmlinux";
const MODULES: &str = "modules";
const ROOTFS: &str = "rootfs.ext4";
const GUEST: &str = program::FILE;

/// What mends a bundle.
const REBUILD: &str = "banger bundle build";

/// What is wrong with a bundle, or with making one.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BundleError {
    message: String,
    /// Commands to type, or facts to check.
    pub hints: Vec<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl BundleError {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hints: Vec::new(),
            source: None,
        }
    }

    fn because(
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            source: Some(Box::new(source)),
            ..Self::new(message)
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl From<BundleError> for banger_api::Error {
    fn from(error: BundleError) -> Self {
        let told = Self::new(banger_api::Code::Host, chain(&error));
        error.hints.into_iter().fold(told, Self::hint)
    }
}

type Result<T> = std::result::Result<T, BundleError>;

fn resized(name: &str, found: u64, recorded: u64) -> BundleError {
    BundleError::new(format!(
        "the bundle's `{name}` is damaged: it has {found} bytes instead of {recorded}"
    ))
    .hint(REBUILD)
}

fn changed(name: &str) -> BundleError {
    BundleError::new(format!(
        "the bundle's `{name}` is damaged: its digest is not the recorded one"
    ))
    .hint(REBUILD)
}

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

/// A bundle that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    folder: PathBuf,
    manifest: Manifest,
}

impl Bundle {
    /// Reads a bundle's manifest, and sees that its parts are there with their sizes.
    ///
    /// # Errors
    /// Names the part that is missing or has another size.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let text = std::fs::read(&path).map_err(|cause| {
            if cause.kind() == std::io::ErrorKind::NotFound {
                return BundleError::new(format!("there is no bundle in `{}`", folder.display()))
                    .hint(REBUILD);
            }
            BundleError::because(format!("read `{}`", path.display()), cause)
        })?;
        #[derive(Deserialize)]
        struct Versioned {
            schema: u32,
        }
        let damaged =
            |cause| BundleError::because(format!("read `{}`", path.display()), cause).hint(REBUILD);
        let Versioned { schema } = serde_json::from_slice(&text).map_err(damaged)?;
        if schema != SCHEMA {
            return Err(BundleError::new(format!(
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
                BundleError::because(format!("the bundle lacks `{name}`"), cause).hint(REBUILD)
            })?;
            if found.len() != part.size {
                return Err(resized(name, found.len(), part.size));
            }
        }
        bundle.check_modules()?;
        Ok(bundle)
    }

    /// Reads all parts and compares their digests.
    ///
    /// # Errors
    /// Names the part that is damaged.
    pub fn verify(&self) -> Result<()> {
        for (name, part) in self.parts() {
            if digest::file(&self.folder.join(name))?.sha256 != part.sha256 {
                return Err(changed(name));
            }
        }
        if digest::folder(&self.modules())?.sha256 != self.manifest.modules.sha256 {
            return Err(changed(MODULES));
        }
        Ok(())
    }

    fn check_modules(&self) -> Result<()> {
        let folder = self.modules();
        for name in [&folder, &folder.join("modules.dep")] {
            if !name.exists() {
                let name = name.strip_prefix(&self.folder).unwrap_or(name);
                return Err(
                    BundleError::new(format!("the bundle lacks `{}`", name.display()))
                        .hint(REBUILD),
                );
            }
        }
        let (found, recorded) = (digest::folder_size(&folder)?, self.manifest.modules.size);
        if found == recorded {
            return Ok(());
        }
        Err(resized(MODULES, found, recorded))
    }

    fn parts(&self) -> [(&'static str, &Part); 3] {
        let manifest = &self.manifest;
        [
            (VMLINUX, &manifest.vmlinux),
            (ROOTFS, &manifest.rootfs),
            (GUEST, &manifest.guest),
        ]
    }

    /// The Debian suite that the root file system is made of.
    #[must_use]
    pub fn suite(&self) -> &str {
        &self.manifest.suite
    }

    /// The kernel's own version.
    #[must_use]
    pub fn kernel_version(&self) -> &str {
        &self.manifest.kernel_version
    }

    /// The path of the base root file system.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.folder.join(ROOTFS)
    }

    /// The path of the kernel.
    #[must_use]
    pub fn vmlinux(&self) -> PathBuf {
        self.folder.join(VMLINUX)
    }

    /// The folder of the kernel's modules.
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        self.folder.join(MODULES)
    }

    /// The SHA-256 of the base root file system, in hexadecimal.
    #[must_use]
    pub fn rootfs_digest(&self) -> &str {
        &self.manifest.rootfs.sha256
    }

    /// The SHA-256 of the kernel.
    #[must_use]
    pub fn vmlinux_digest(&self) -> &str {
        &self.manifest.vmlinux.sha256
    }

    /// The SHA-256 of the modules' names and contents, in hexadecimal.
    #[must_use]
    pub fn modules_digest(&self) -> &str {
        &self.manifest.modules.sha256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a small bundle, and the bundle.
    pub(super) fn bundle() -> (tempfile::TempDir, Bundle) {
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
    fn a_whole_bundle_is_loaded_and_verified() {
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
        for (name, told) in [(ROOTFS, "`rootfs.ext4`"), ("modules/veth.ko", "`modules`")] {
            let (folder, _) = bundle();
            std::fs::write(folder.path().join(name), "short").unwrap();
            let error = Bundle::load(folder.path()).unwrap_err();
            assert!(
                error.to_string().contains(&format!("{told} is damaged")),
                "{error}"
            );
            assert_eq!(error.hints, [REBUILD]);
        }
    }

    #[test]
    fn a_part_whose_bytes_changed_is_named() {
        for (name, bytes, told) in [
            (VMLINUX, "vmlinuX", "`vmlinux`"),
            ("modules/veth.ko", "vetH", "`modules`"),
        ] {
            let (folder, bundle) = bundle();
            std::fs::write(folder.path().join(name), bytes).unwrap();
            Bundle::load(folder.path()).unwrap();
            let error = bundle.verify().unwrap_err();
            assert!(
                error.to_string().contains(&format!("{told} is damaged")),
                "{error}"
            );
            assert_eq!(error.hints, [REBUILD]);
        }
    }

    #[test]
    fn a_folder_without_a_bundle_and_a_newer_bundle_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let error = Bundle::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("there is no bundle"), "{error}");
        std::fs::write(folder.path().join(MANIFEST), r#"{"schema": 9}"#).unwrap();
        let error = Bundle::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("schema 9"), "{error}");
    }
}
