//! Folders that a build works in: nobody else's, and gone when it ends, however it ends.
//!
//! A folder belongs to a build for as long as somebody holds the lock on it: the build, or a
//! program that it started, which has the lock with it. What a killed build left behind is
//! unlocked, and the next build removes it.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use banger_host::command::Command;
use rustix::fs::{CWD, FlockOperation, RenameFlags};
use rustix::io::Errno;

use super::inheritable_file::inherited;
use super::rootfs::MMDEBSTRAP;
use super::{BundleError, MANIFEST, Result};

/// The part of a folder that a user's subordinate ids own, and only they can remove.
pub(super) const TREE: &str = "tree";

/// A folder that is being worked in. It goes when dropped.
#[derive(Debug)]
pub(super) struct BuildDirectory {
    folder: PathBuf,
    unshare: bool,
    lock: File,
}

impl BuildDirectory {
    /// Makes a folder in `above`, its name begun by `prefix`, for us only, and removes those of
    /// that name whose builds are no more.
    pub(super) fn open(above: &Path, prefix: &str) -> Result<Self> {
        Self::make(above, prefix, 0o700, false)
    }

    /// The same, with room for a tree, which is open to all. `unshare` says that an ordinary
    /// user's subordinate ids make it.
    pub(super) fn open_to_all(above: &Path, prefix: &str, unshare: bool) -> Result<Self> {
        Self::make(above, prefix, 0o755, unshare)
    }

    fn make(above: &Path, prefix: &str, mode: u32, unshare: bool) -> Result<Self> {
        let map_io_error =
            |cause| BundleError::because(format!("make a folder in `{}`", above.display()), cause);
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
                        open_up(&lock, mode).map_err(map_io_error)?;
                        // The programs that we start keep it, so that the folder is theirs
                        // when we are killed.
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
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Exchanges the folder with the one at `place`, or renames it where there is none.
    pub(super) fn put_in_place(&self, place: &Path) -> Result<()> {
        let map_io_error = |cause: Errno| {
            BundleError::because(
                format!("put the bundle at `{}`", place.display()),
                std::io::Error::from(cause),
            )
        };
        open_up(&self.lock, 0o755).map_err(|cause| {
            BundleError::because(format!("open `{}` to all", self.folder.display()), cause)
        })?;
        rustix::fs::syncfs(&self.lock).map_err(map_io_error)?;
        match rustix::fs::renameat_with(CWD, &self.folder, CWD, place, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(Errno::NOENT) => rustix::fs::rename(&self.folder, place).map_err(map_io_error)?,
            Err(cause) => return Err(map_io_error(cause)),
        }
        if let Some(above) = place.parent() {
            // The new bundle is there; that this is not yet on the disk is no reason to fail.
            let _ = File::open(above).and_then(|it| it.sync_all());
        }
        Ok(())
    }
}

impl Drop for BuildDirectory {
    fn drop(&mut self) {
        // After an exchange this is the old bundle. What cannot be removed, the next build tries.
        remove(&self.folder, self.unshare);
    }
}

/// Gives a folder these rights, whatever the umask is.
fn open_up(folder: &File, mode: u32) -> std::io::Result<()> {
    folder.set_permissions(fs::Permissions::from_mode(mode))
}

/// Refuses a place that holds something else than a bundle.
pub(super) fn check_place(place: &Path) -> Result<()> {
    let is_empty = || fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_none());
    if !place.exists() || place.join(MANIFEST).exists() || is_empty() {
        return Ok(());
    }
    Err(BundleError::new(format!(
        "`{}` holds something else than a bundle",
        place.display()
    ))
    .hint("choose another place: --dir DIR"))
}

/// The lock on a folder, unless somebody else has it or has removed the folder.
fn lock(folder: &Path) -> Option<File> {
    let lock = File::open(folder).ok()?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
    let (ours, there) = (lock.metadata().ok()?, fs::metadata(folder).ok()?);
    (ours.ino() == there.ino() && ours.dev() == there.dev()).then_some(lock)
}

/// Removes the folders of builds that are no more.
fn remove_abandoned(above: &Path, prefix: &str, unshare: bool) {
    let Ok(entries) = fs::read_dir(above) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        // The lock is held until the folder is gone, so that nobody begins to work in it.
        if let Some(_lock) = lock(&entry.path()) {
            remove(&entry.path(), unshare);
        }
    }
}

/// Removes a folder, as far as that is possible, and nothing that is mounted below it.
fn remove(folder: &Path, unshare: bool) {
    let tree = folder.join(TREE);
    let careful = ["-rf", "--one-file-system", "--"];
    if unshare && tree.exists() {
        // The tree's own folder lies in ours, and stays, empty.
        let helper = Command::new(MMDEBSTRAP).args(["--unshare-helper", "rm"]);
        let _ = helper.args(careful).arg(&tree).run();
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
        let place = above.path().join("bundle");
        for content in ["old", "new"] {
            let site = BuildDirectory::open(above.path(), PREFIX).unwrap();
            fs::write(site.folder().join(MANIFEST), content).unwrap();
            let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
            assert_eq!(mode(site.folder()), 0o700);
            site.put_in_place(&place).unwrap();
            assert_eq!(mode(&place), 0o755);
            drop(site);
            assert_eq!(fs::read_to_string(place.join(MANIFEST)).unwrap(), content);
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
        let place = above.path().join("bundle");
        fs::create_dir(&place).unwrap();
        fs::write(place.join(MANIFEST), "old").unwrap();
        let site = BuildDirectory::open(above.path(), PREFIX).unwrap();
        fs::create_dir(site.folder().join(TREE)).unwrap();
        drop(site);
        assert_eq!(fs::read_to_string(place.join(MANIFEST)).unwrap(), "old");
        assert_eq!(fs::read_dir(above.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_build_left_is_removed_and_what_a_live_one_has_is_not() {
        let above = tempfile::tempdir().unwrap();
        let abandoned = above.path().join(format!("{PREFIX}1-0"));
        fs::create_dir(&abandoned).unwrap();
        fs::write(abandoned.join("rootfs.ext4"), "half").unwrap();
        let first = BuildDirectory::open(above.path(), PREFIX).unwrap();
        assert!(!abandoned.exists());
        let second = BuildDirectory::open(above.path(), PREFIX).unwrap();
        assert!(first.folder().exists() && second.folder().exists());
        assert_ne!(first.folder(), second.folder());
    }

    #[test]
    fn a_program_that_outlives_its_build_keeps_the_folder() {
        let above = tempfile::tempdir().unwrap();
        let mut site = BuildDirectory::open(above.path(), PREFIX).unwrap();
        let flags = rustix::io::fcntl_getfd(&site.lock).unwrap();
        assert!(
            !flags.contains(rustix::io::FdFlags::CLOEXEC),
            "a program would lose the lock"
        );
        let inherited = site.lock.try_clone().unwrap();
        site.lock = File::open("/dev/null").unwrap();
        assert!(lock(site.folder()).is_none());
        drop(inherited);
        assert!(lock(site.folder()).is_some());
    }

    #[test]
    fn a_folder_with_something_else_in_it_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        check_place(place.path()).unwrap();
        check_place(&place.path().join("new")).unwrap();
        fs::write(place.path().join("photo.jpg"), "x").unwrap();
        let error = check_place(place.path()).unwrap_err();
        assert!(
            error.to_string().contains("something else than a bundle"),
            "{error}"
        );
        fs::write(place.path().join(MANIFEST), "{}").unwrap();
        check_place(place.path()).unwrap();
    }
}
