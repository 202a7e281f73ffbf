//! Temporary folders of builds, each locked by its build and removed at its end.
//!
//! The build and the programs that it starts inherit the lock, so the folder stays locked until
//! the last of them ends. A killed build leaves an unlocked folder, which the next build removes.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use banger_host::command::Command;
use rustix::fs::{CWD, FlockOperation, RenameFlags};
use rustix::io::Errno;

use super::error::{failure, failure_caused_by};
use super::inheritable_file::{InheritableFolder, inherited};
use super::rootfs::MMDEBSTRAP;
use super::{MANIFEST, Result};

/// The subfolder that the user's subordinate ids own, and only they can remove.
pub(in crate::image) const TREE: &str = "tree";

/// A build's temporary folder. It is removed when dropped.
#[derive(Debug)]
pub(in crate::image) struct BuildDirectory {
    folder: PathBuf,
    unshare: bool,
    lock: File,
}

impl BuildDirectory {
    /// Creates a folder in `above` with the mode 0700 and a name that begins with `prefix`, and
    /// removes the abandoned ones of that prefix.
    pub(in crate::image) fn create(above: &Path, prefix: &str) -> Result<Self> {
        Self::make(above, prefix, 0o700, false)
    }

    /// As [`Self::create`], for a tree. With `unshare`, the tree belongs to an ordinary user's
    /// subordinate ids, which reach it by its descriptor.
    pub(in crate::image) fn create_for_tree(
        above: &Path,
        prefix: &str,
        unshare: bool,
    ) -> Result<Self> {
        Self::make(above, prefix, 0o700, unshare)
    }

    /// As [`Self::create_for_tree`], with the mode 0755, for programs that find the tree by its path.
    pub(super) fn create_public(above: &Path, prefix: &str, unshare: bool) -> Result<Self> {
        Self::make(above, prefix, 0o755, unshare)
    }

    fn make(above: &Path, prefix: &str, mode: u32, unshare: bool) -> Result<Self> {
        let map_io_error =
            |cause| failure_caused_by(format!("make a folder in `{}`", above.display()), cause);
        fs::create_dir_all(above).map_err(map_io_error)?;
        remove_abandoned(above, prefix, unshare);
        let mut attempt = 0;
        loop {
            let folder = above.join(format!("{prefix}{}-{attempt}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&folder) {
                Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(map_io_error(cause)),
                Ok(()) => {
                    if let Some(lock) = lock(&folder) {
                        set_mode(&lock, mode).map_err(map_io_error)?;
                        // Started programs inherit the lock, and hold it if we are killed.
                        let lock = inherited(&lock).map_err(|cause| map_io_error(cause.into()))?;
                        return Ok(Self {
                            folder,
                            unshare,
                            lock,
                        });
                    }
                }
            }
            attempt += 1;
        }
    }

    /// The folder.
    pub(in crate::image) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Exchanges the folder with the one at `target`, or renames it to `target` if there is none.
    pub(in crate::image) fn publish(&self, target: &Path) -> Result<()> {
        let map_io_error = |cause: Errno| {
            failure_caused_by(
                format!("put the bundle at `{}`", target.display()),
                std::io::Error::from(cause),
            )
        };
        set_mode(&self.lock, 0o755).map_err(|cause| {
            failure_caused_by(format!("open `{}` to all", self.folder.display()), cause)
        })?;
        rustix::fs::syncfs(&self.lock).map_err(map_io_error)?;
        match rustix::fs::renameat_with(CWD, &self.folder, CWD, target, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(Errno::NOENT) => rustix::fs::rename(&self.folder, target).map_err(map_io_error)?,
            Err(cause) => return Err(map_io_error(cause)),
        }
        if let Some(above) = target.parent() {
            // After a power cut before this sync, the old bundle is back: whole, too.
            let _ = File::open(above).and_then(|it| it.sync_all());
        }
        Ok(())
    }
}

impl Drop for BuildDirectory {
    fn drop(&mut self) {
        // After an exchange this is the old bundle. The next build removes what cannot be removed now.
        remove(&self.folder, self.unshare);
    }
}

/// Sets a folder's mode, regardless of the umask.
fn set_mode(folder: &File, mode: u32) -> std::io::Result<()> {
    folder.set_permissions(fs::Permissions::from_mode(mode))
}

/// Rejects a folder that has other content than a bundle.
pub(in crate::image) fn check_target(target: &Path) -> Result<()> {
    let is_empty = || fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
    if !target.exists() || target.join(MANIFEST).exists() || is_empty() {
        return Ok(());
    }
    Err(failure(format!(
        "`{}` is not empty and contains no bundle",
        target.display()
    ))
    .hint("choose another folder: --dir DIR"))
}

/// Locks a folder; `None` if it is locked or removed.
fn lock(folder: &Path) -> Option<File> {
    let lock = File::open(folder).ok()?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
    let (locked, named) = (lock.metadata().ok()?, fs::metadata(folder).ok()?);
    (locked.ino() == named.ino() && locked.dev() == named.dev()).then_some(lock)
}

/// Removes unlocked folders of this prefix.
fn remove_abandoned(above: &Path, prefix: &str, unshare: bool) {
    let Ok(entries) = fs::read_dir(above) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        // Holding the lock keeps another build from taking the folder while it is removed.
        if let Some(_lock) = lock(&entry.path()) {
            remove(&entry.path(), unshare);
        }
    }
}

/// Removes a folder as far as possible, but no file systems mounted below it.
fn remove(folder: &Path, unshare: bool) {
    let tree = folder.join(TREE);
    let careful = ["-rf", "--one-file-system", "--"];
    if unshare && tree.exists() {
        // The empty folder of the tree stays: its parent belongs to us.
        if let (Ok(open), Ok(entries)) = (InheritableFolder::open(&tree), fs::read_dir(&tree)) {
            let helper = Command::new(MMDEBSTRAP).args(["--unshare-helper", "rm"]);
            let entries = entries.flatten().map(|it| open.name().join(it.file_name()));
            let _ = helper.args(careful).args(entries).run();
        }
    } else if tree.exists() && Command::new("rm").args(careful).arg(&tree).run().is_err() {
        return;
    }
    let _ = fs::remove_dir_all(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = ".bundle.building-";

    #[test]
    fn a_new_bundle_takes_the_place_of_the_old_one_at_once() {
        let above = tempfile::tempdir().unwrap();
        let target = above.path().join("bundle");
        for content in ["old", "new"] {
            let directory = BuildDirectory::create(above.path(), PREFIX).unwrap();
            fs::write(directory.folder().join(MANIFEST), content).unwrap();
            let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
            assert_eq!(mode(directory.folder()), 0o700);
            directory.publish(&target).unwrap();
            assert_eq!(mode(&target), 0o755);
            drop(directory);
            assert_eq!(fs::read_to_string(target.join(MANIFEST)).unwrap(), content);
        }
        assert_eq!(
            fs::read_dir(above.path()).unwrap().count(),
            1,
            "something is left"
        );
    }

    #[test]
    fn a_build_that_fails_leaves_the_old_bundle_and_nothing_else() {
        let above = tempfile::tempdir().unwrap();
        let target = above.path().join("bundle");
        fs::create_dir(&target).unwrap();
        fs::write(target.join(MANIFEST), "old").unwrap();
        let directory = BuildDirectory::create(above.path(), PREFIX).unwrap();
        fs::create_dir(directory.folder().join(TREE)).unwrap();
        drop(directory);
        assert_eq!(fs::read_to_string(target.join(MANIFEST)).unwrap(), "old");
        assert_eq!(fs::read_dir(above.path()).unwrap().count(), 1);
    }

    #[test]
    fn abandoned_folders_are_removed_and_locked_ones_stay() {
        let above = tempfile::tempdir().unwrap();
        let abandoned = above.path().join(format!("{PREFIX}1-0"));
        fs::create_dir(&abandoned).unwrap();
        fs::write(abandoned.join("rootfs.ext4"), "half").unwrap();
        let first = BuildDirectory::create(above.path(), PREFIX).unwrap();
        assert!(!abandoned.exists());
        let second = BuildDirectory::create(above.path(), PREFIX).unwrap();
        assert!(first.folder().exists() && second.folder().exists());
        assert_ne!(first.folder(), second.folder());
    }

    #[test]
    fn a_program_that_outlives_its_build_holds_the_lock() {
        let above = tempfile::tempdir().unwrap();
        let mut directory = BuildDirectory::create(above.path(), PREFIX).unwrap();
        let flags = rustix::io::fcntl_getfd(&directory.lock).unwrap();
        assert!(
            !flags.contains(rustix::io::FdFlags::CLOEXEC),
            "a program would lose the lock"
        );
        let inherited = directory.lock.try_clone().unwrap();
        directory.lock = File::open("/dev/null").unwrap();
        assert!(lock(directory.folder()).is_none());
        drop(inherited);
        assert!(lock(directory.folder()).is_some());
    }

    #[test]
    fn a_folder_with_other_content_is_rejected() {
        let target = tempfile::tempdir().unwrap();
        check_target(target.path()).unwrap();
        check_target(&target.path().join("new")).unwrap();
        fs::write(target.path().join("photo.jpg"), "x").unwrap();
        let error = check_target(target.path()).unwrap_err();
        assert!(error.to_string().contains("contains no bundle"), "{error}");
        fs::write(target.path().join(MANIFEST), "{}").unwrap();
        check_target(target.path()).unwrap();
    }
}
