//! Replaces a file atomically.
//!
//! The new file is written beside the old one and renamed. A durable replacement syncs the file
//! before the rename, and its folder after. The temporary name, `.<name>.<pid>-<number>.new`, has
//! the number of its process, so that the next replacement of the same file removes the leftovers
//! of a crash.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags};

use super::context::During as _;
use super::node;
use crate::{Error, Kind, Owner, Result};

/// The number of replacements that this process has begun.
static BEGUN: AtomicU32 = AtomicU32::new(0);

/// The new file, which is removed unless it is committed.
#[derive(Debug)]
pub(super) struct Replacement {
    folder: OwnedFd,
    name: String,
    temporary: String,
    path: String,
    committed: bool,
}

/// The open folder of a path, and its last component.
pub(super) fn folder_and_name(path: &Path) -> Result<(OwnedFd, String)> {
    let describe = || format!("`{}`", path.display());
    let name = path.file_name().and_then(|it| it.to_str());
    let (Some(folder), Some(name)) = (path.parent(), name) else {
        return Err(Error::new(
            Kind::Other,
            format!("{} is not the path of a file", describe()),
        ));
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())
        .during(|| format!("open the folder of {}", describe()))?;
    Ok((folder, name.to_owned()))
}

impl Replacement {
    /// Prepares to replace `path`, whose folder must exist. It creates nothing yet.
    pub(super) fn begin(path: &Path) -> Result<Self> {
        let (folder, name) = folder_and_name(path)?;
        sweep(folder.as_fd(), &name);
        let number = BEGUN.fetch_add(1, Ordering::Relaxed);
        let temporary = format!(".{name}.{}-{number}.new", std::process::id());
        let path = path.display().to_string();
        Ok(Self {
            folder,
            name,
            temporary,
            path,
            committed: false,
        })
    }

    /// Creates the new file, empty and accessible only to this user.
    pub(super) fn create(&self) -> Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(
            &self.folder,
            &self.temporary,
            flags,
            Mode::RUSR | Mode::WUSR,
        )
        .map(File::from)
        .during(|| format!("create a file beside `{}`", self.path))
    }

    /// The path of the new file, for a program that needs a path.
    pub(super) fn temporary(&self, path: &Path) -> std::path::PathBuf {
        path.with_file_name(&self.temporary)
    }

    /// Makes the new file a hard link to the file at `from`.
    pub(super) fn link(&self, from: &Path) -> Result<()> {
        rustix::fs::linkat(
            rustix::fs::CWD,
            from,
            &self.folder,
            &self.temporary,
            AtFlags::empty(),
        )
        .during(|| format!("link `{}` to `{}`", from.display(), self.path))
    }

    /// Makes the new file a symbolic link.
    pub(super) fn link_to(&self, target: &Path) -> Result<()> {
        rustix::fs::symlinkat(target, &self.folder, &self.temporary)
            .during(|| format!("link `{}` to `{}`", self.path, target.display()))
    }

    /// Sets the new file's mode and owner, and renames it into place durably.
    pub(super) fn commit(mut self, file: &File, mode: u32, owner: Option<Owner>) -> Result<()> {
        self.set_mode_and_owner(file, mode, owner)?;
        file.sync_all()
            .during(|| format!("write `{}`", self.path))?;
        self.rename()?;
        rustix::fs::fsync(&self.folder).during(|| format!("put `{}` in place", self.path))
    }

    /// Sets the new file's mode and owner, and renames it into place without syncing.
    pub(super) fn commit_scratch(
        mut self,
        file: &File,
        mode: u32,
        owner: Option<Owner>,
    ) -> Result<()> {
        self.set_mode_and_owner(file, mode, owner)?;
        self.rename()
    }

    fn set_mode_and_owner(&self, file: &File, mode: u32, owner: Option<Owner>) -> Result<()> {
        let describe = || format!("write `{}`", self.path);
        set_owner(file, owner).during(describe)?;
        // The mode comes after the owner, whose change clears set-user-id bits.
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).during(describe)
    }

    /// Renames the temporary file into place.
    pub(super) fn rename(&mut self) -> Result<()> {
        let describe = || format!("put `{}` in place", self.path);
        node::take_back(&self.folder, &*self.name).during(describe)?;
        rustix::fs::renameat(&self.folder, &self.temporary, &self.folder, &self.name)
            .during(describe)?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.committed {
            // The file may not exist yet. One that cannot be removed is left to the next sweep.
            let _ = rustix::fs::unlinkat(&self.folder, &self.temporary, AtFlags::empty());
        }
    }
}

/// Changes the owner of an open file or directory, if an owner is given.
pub(super) fn set_owner(file: impl AsFd, owner: Option<Owner>) -> rustix::io::Result<()> {
    let Some(Owner { uid, gid }) = owner else {
        return Ok(());
    };
    let uid = rustix::fs::Uid::from_raw(uid);
    let gid = rustix::fs::Gid::from_raw(gid);
    rustix::fs::fchown(file, Some(uid), Some(gid))
}

/// Removes temporary files of `name` whose processes have ended.
fn sweep(folder: rustix::fd::BorrowedFd<'_>, name: &str) {
    let Ok(entries) = rustix::fs::Dir::read_from(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(entry) = entry.file_name().to_str() else {
            continue;
        };
        if maker(entry, name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = rustix::fs::unlinkat(folder, entry, AtFlags::empty());
        }
    }
}

/// The number of the process that made this temporary file, if it is one of `name`.
fn maker(entry: &str, name: &str) -> Option<u32> {
    let middle = entry
        .strip_prefix('.')?
        .strip_prefix(name)?
        .strip_prefix('.')?;
    let (pid, number) = middle.strip_suffix(".new")?.split_once('-')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_not_committed_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        std::fs::write(&path, "old").unwrap();
        let replacement = Replacement::begin(&path).unwrap();
        let _file = replacement.create().unwrap();
        assert_eq!(names(folder.path()).len(), 2);
        drop(replacement);
        assert_eq!(names(folder.path()), ["record"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn what_a_crash_left_is_swept_and_what_others_write_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(".record.4194303-7.new");
        let ours = folder
            .path()
            .join(format!(".record.{}-7.new", std::process::id()));
        let other = folder.path().join(".other.4194303-7.new");
        let unlike = folder.path().join(".record.new");
        for path in [&left, &ours, &other, &unlike] {
            std::fs::write(path, "").unwrap();
        }
        let replacement = Replacement::begin(&folder.path().join("record")).unwrap();
        assert!(!left.exists());
        assert!(ours.exists() && other.exists() && unlike.exists());
        let file = replacement.create().unwrap();
        replacement.commit(&file, 0o600, None).unwrap();
        assert!(folder.path().join("record").exists());
    }
}
