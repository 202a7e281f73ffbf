//! A kernel of the user's own (`default_kernel` and `default_modules_dir`): a bundle in the state
//! directory that has it, and everything else of the bundle proper.
//!
//! ```text
//! bundle: rootfs.ext4, banger-guest ─┐
//! default_kernel, modules ───────────┴─► <state>/own-kernel/<digest>/, a bundle as any other
//! ```
//!
//! The digest is that of what it is made of. When the bundle, the kernel, the modules or the
//! configuration have changed, another one is made, so nobody who reads one sees it change. One that
//! nobody has used for a day is removed.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use banger_api::harmless;
use banger_host::Host;
use memchr::memmem;
use rustix::fs::FlockOperation;

use super::build_directory::BuildDirectory;
use super::error::{failure, failure_caused_by};
use super::{Bundle, GUEST, MANIFEST, MODULES, Manifest, ROOTFS, Result, VMLINUX, digest, kernel};
use crate::config::Config;
use crate::guest::initramfs;
use crate::image::folder::share;
use crate::image::source;
use crate::layout::Layout;

/// The text before the version in a kernel (`linux_banner`).
const BANNER: &[u8] = b"Linux version ";

/// The text before the version in a module.
const MAGIC: &[u8] = b"vermagic=";

/// The record of what a bundle is made of. Its time is that of the last use.
const STAMP: &str = "made-of";

/// The prefix of the names of temporary folders.
const PREFIX: &str = ".building-";

/// The time without use after which a bundle is removed.
const UNUSED: Duration = Duration::from_secs(86_400);

/// The keys of the configuration that name a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnKernel {
    /// `default_kernel`.
    pub kernel: Option<PathBuf>,
    /// `default_modules_dir`.
    pub modules: Option<PathBuf>,
    /// The folder of bundles with own kernels.
    pub folder: PathBuf,
}

impl OwnKernel {
    /// The kernel of this configuration.
    #[must_use]
    pub(crate) fn of(config: &Config, layout: &Layout) -> Self {
        Self {
            kernel: config.default_kernel.clone(),
            modules: config.default_modules_dir.clone(),
            folder: layout.own_kernel(),
        }
    }

    /// Whether one is configured.
    #[must_use]
    pub(crate) fn is_configured(&self) -> bool {
        self.kernel.is_some() || self.modules.is_some()
    }

    /// The bundle with this kernel, made if necessary; `bundle` itself if none is configured.
    ///
    /// # Errors
    /// If one of the two keys lacks the other, or they do not fit together, with the reason.
    pub(crate) fn bundle(&self, bundle: &Path, host: &dyn Host) -> Result<PathBuf> {
        let (image, modules) = match (&self.kernel, &self.modules) {
            (None, None) => return Ok(bundle.to_owned()),
            (Some(image), Some(modules)) => (image, modules),
            (Some(_), None) => return Err(lacks("default_kernel", "default_modules_dir")),
            (None, Some(_)) => return Err(lacks("default_modules_dir", "default_kernel")),
        };
        let stamp = stamp(bundle, image, modules)?;
        // One process makes it, and the others wait.
        let _lock = self.lock()?;
        let folder = self.folder.join(source::digest(&[&stamp]));
        let path = folder.join(STAMP);
        let is_whole = fs::read_to_string(&path).is_ok_and(|it| it == stamp);
        if !is_whole || Bundle::load(&folder).is_err() {
            let base = Bundle::load(bundle)?;
            let directory = BuildDirectory::create(&self.folder, PREFIX)?;
            fill(directory.folder(), &base, image, modules, host)?;
            write(&directory.folder().join(STAMP), stamp.as_bytes())?;
            directory.publish(&folder)?;
        }
        // Without this it would be made once more than necessary.
        let _ = File::open(&path).and_then(|it| it.set_modified(SystemTime::now()));
        self.prune(&folder);
        Ok(folder)
    }

    fn lock(&self) -> Result<File> {
        let doing = || format!("make the folder `{}`", self.folder.display());
        fs::create_dir_all(&self.folder).map_err(|cause| failure_caused_by(doing(), cause))?;
        let lock = File::open(&self.folder).map_err(|cause| failure_caused_by(doing(), cause))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)
            .map_err(|cause| failure_caused_by(doing(), cause))?;
        Ok(lock)
    }

    /// Removes all bundles that have not been used for long, and what is none. What cannot be removed
    /// is tried again at the next use.
    fn prune(&self, current: &Path) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        let is_used = |path: &Path| {
            let used = path.join(STAMP).metadata().and_then(|it| it.modified());
            // A time in the future is one of use, too.
            used.is_ok_and(|it| it.elapsed().map_or(true, |age| age < UNUSED))
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let is_temporary = entry.file_name().to_string_lossy().starts_with(PREFIX);
            if path == current || is_temporary || is_used(&path) {
                continue;
            }
            let _ = match entry.file_type() {
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
                _ => fs::remove_file(&path),
            };
        }
    }
}

fn lacks(set: &str, other: &str) -> banger_api::Error {
    failure(format!("`{set}` is set, and `{other}` is not"))
        .cause("a kernel without its modules has no disks, and modules load into their own kernel only")
        .hint(format!("set `{other}`, too, or: banger config unset {set}"))
}

/// What the folder is made of, as far as it shows without reading it all.
fn stamp(bundle: &Path, image: &Path, modules: &Path) -> Result<String> {
    let mut stamp = String::new();
    for path in [&bundle.join(MANIFEST), image, &modules.join("modules.dep")] {
        let found = path.metadata().map_err(|cause| {
            let error = failure_caused_by(format!("read `{}`", path.display()), cause);
            match path.ends_with("modules.dep") {
                true => error.hint("make it: depmod VERSION"),
                false => error,
            }
        })?;
        stamp += &format!(
            "{} {} {} {}.{}\n",
            path.display(),
            found.ino(),
            found.len(),
            found.mtime(),
            found.mtime_nsec()
        );
    }
    Ok(stamp)
}

/// Makes the parts of the bundle.
fn fill(folder: &Path, base: &Bundle, image: &Path, modules: &Path, host: &dyn Host) -> Result<()> {
    kernel::unpack(image, &folder.join(VMLINUX))?;
    // The users of VMs read it, whatever this process's umask is.
    fs::set_permissions(folder.join(VMLINUX), fs::Permissions::from_mode(0o644))
        .map_err(|cause| failure_caused_by("open the kernel to all", cause))?;
    let version = version(&folder.join(VMLINUX), modules)?;
    kernel::copy(modules, &folder.join(MODULES))?;
    // Rejected now, and not when a VM is created.
    let base_archive = initramfs::base(&folder.join(MODULES))?.archive;
    if let Some(other) = version_of_modules(&base_archive).filter(|it| *it != version) {
        return Err(mismatch(&version, other));
    }
    for (name, from) in [(ROOTFS, base.rootfs()), (GUEST, base.folder.join(GUEST))] {
        let to = folder.join(name);
        // The kernel links files of others only where the user may write them
        // (`fs.protected_hardlinks`).
        if fs::hard_link(&from, &to).is_err() {
            share(&from, &to, host)?;
        }
    }
    let manifest = Manifest {
        kernel_version: version,
        vmlinux: digest::file(&folder.join(VMLINUX))?,
        modules: digest::folder(&folder.join(MODULES))?,
        ..base.manifest.clone()
    };
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|cause| failure_caused_by("write the manifest", cause))?;
    write(&folder.join(MANIFEST), &text)
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content)
        .map_err(|cause| failure_caused_by(format!("write `{}`", path.display()), cause))
}

/// The version of the kernel that the first of these modules was built for (`MODULE_INFO`).
fn version_of_modules(archive: &[u8]) -> Option<&str> {
    let at = memmem::find(archive, MAGIC)? + MAGIC.len();
    let version = archive[at..]
        .split(|byte| *byte == b' ' || *byte == 0)
        .next()?;
    std::str::from_utf8(version).ok()
}

fn mismatch(kernel: &str, modules: &str) -> banger_api::Error {
    let modules = harmless::visible(modules);
    failure(format!(
        "`default_kernel` is Linux {kernel}, and `default_modules_dir` has modules of {modules}"
    ))
    .hint("a kernel loads the modules that were built with it only")
}

/// The version of the kernel, which that of the modules must be.
fn version(vmlinux: &Path, modules: &Path) -> Result<String> {
    let kernel = fs::read(vmlinux)
        .map_err(|cause| failure_caused_by(format!("read `{}`", vmlinux.display()), cause))?;
    let banner = memmem::find(&kernel, BANNER).map(|at| &kernel[at + BANNER.len()..]);
    let version = banner.and_then(|it| it.split(|byte| *byte == b' ').next());
    let version = version.and_then(|it| std::str::from_utf8(it).ok());
    let is_plain = |it: &&str| {
        let allowed = |it: char| it.is_ascii_alphanumeric() || ".+-_~".contains(it);
        (1..=64).contains(&it.len()) && it.chars().all(allowed)
    };
    let version = version
        .filter(is_plain)
        .ok_or_else(|| failure("`default_kernel` has no version of Linux in it"))?;
    let folder = modules
        .canonicalize()
        .unwrap_or_else(|_| modules.to_owned());
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    // A folder `modules`, as in a bundle, says nothing.
    if name != version && name.starts_with(|it: char| it.is_ascii_digit()) {
        return Err(mismatch(version, &name));
    }
    Ok(version.to_owned())
}

#[cfg(test)]
mod tests;
