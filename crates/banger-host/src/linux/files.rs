//! Directories and files: made, written durably, linked and removed.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::context::During as _;
use super::node;
use super::replacement::{Replacement, folder_and_name, set_owner};
use crate::{Change, Error, Kind, Owner, Result};

pub(super) fn made(changed: bool) -> Change {
    if changed {
        Change::Made
    } else {
        Change::Already
    }
}

/// Open flags in the form that the standard library takes.
pub(super) fn custom(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

/// Opens a regular file for reading. A FIFO is rejected without waiting.
pub(super) fn open(path: &Path, follow: bool) -> std::io::Result<File> {
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    let file = File::options()
        .read(true)
        .custom_flags(custom(flags))
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(
            ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    Ok(file)
}

/// Turns the error "not found" into `None`.
pub(super) fn absent<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// FileOp::MakeDirectory. New parents get the same mode and owner.
pub(super) fn make_directory(path: &Path, mode: u32, owner: Option<Owner>) -> Result<Change> {
    let mut changed = false;
    let mut missing = Vec::new();
    for above in path.ancestors() {
        let there = absent(fs::metadata(above)).during(|| look(above))?;
        if there.is_some() {
            break;
        }
        missing.push(above);
    }
    for folder in missing.into_iter().rev() {
        let describe = || format!("make the directory `{}`", folder.display());
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => {}
            // Another process made it meanwhile.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error).during(describe),
        }
        settle(folder, mode, owner)?;
        if let Some(above) = folder.parent() {
            File::open(above)
                .and_then(|it| it.sync_all())
                .during(describe)?;
        }
        changed = true;
    }
    Ok(made(settle(path, mode, owner)? | changed))
}

fn look(path: &Path) -> String {
    format!("examine `{}`", path.display())
}

/// Gives a directory its mode and owner, and returns whether they changed.
fn settle(path: &Path, mode: u32, owner: Option<Owner>) -> Result<bool> {
    let describe = || format!("set the mode and owner of `{}`", path.display());
    let folder = File::options()
        .read(true)
        .custom_flags(custom(OFlags::DIRECTORY))
        .open(path)
        .during(describe)?;
    let now = folder.metadata().during(describe)?;
    if now.mode() & 0o7777 == mode && owns(&now, owner) {
        return Ok(false);
    }
    set_owner(&folder, owner).during(describe)?;
    rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode)).during(describe)?;
    Ok(true)
}

fn owns(now: &fs::Metadata, owner: Option<Owner>) -> bool {
    owner.is_none_or(|owner| now.uid() == owner.uid && now.gid() == owner.gid)
}

/// FileOp::RemoveDirectory.
pub(super) fn remove_directory(path: &Path) -> Result<Change> {
    let describe = || format!("remove the directory `{}`", path.display());
    // `path` itself may be a node, too.
    node::take_back(CWD, path)
        .and_then(|()| node::take_back_all(path))
        .during(describe)?;
    // The standard library descends by descriptors and follows no symbolic link; a link at `path`
    // itself is removed as a file.
    let removed = absent(fs::remove_dir_all(path)).during(describe)?.is_some();
    if removed {
        sync_folder_of(path)?;
    }
    Ok(made(removed))
}

/// FileOp::RemoveFile.
pub(super) fn remove_file(path: &Path) -> Result<Change> {
    let describe = || format!("remove `{}`", path.display());
    node::take_back(CWD, path).during(describe)?;
    let removed = absent(fs::remove_file(path)).during(describe)?.is_some();
    if removed {
        sync_folder_of(path)?;
    }
    Ok(made(removed))
}

/// FileOp::GiveFile.
pub(super) fn give_file(path: &Path, owner: Owner) -> Result<Change> {
    let describe = || format!("give `{}` to user {}", path.display(), owner.uid);
    let file = open(path, false).during(describe)?;
    let meta = file.metadata().during(describe)?;
    let is_given = meta.uid() == owner.uid && meta.gid() == owner.gid;
    if is_given && meta.mode() & 0o7777 == 0o600 {
        return Ok(Change::Already);
    }
    super::replacement::set_owner(&file, Some(owner)).during(describe)?;
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::fchmod(&file, mode).during(describe)?;
    Ok(Change::Made)
}

/// FileOp::RenameFile. The entry is overwritten in place, so this works on a full file system.
pub(super) fn rename_file(from: &Path, to: &Path) -> Result<Change> {
    let describe = || format!("rename `{}` to `{}`", from.display(), to.display());
    let (folder, name) = folder_and_name(from)?;
    let (true, Some(new)) = (to.parent() == from.parent(), to.file_name()) else {
        return Err(Error::new(Kind::Other, "it is in another folder").within(describe()));
    };
    match rustix::fs::renameat(&folder, &name, &folder, new) {
        Ok(()) => {}
        Err(Errno::NOENT)
            if rustix::fs::statat(&folder, new, AtFlags::SYMLINK_NOFOLLOW).is_ok() =>
        {
            return Ok(Change::Already);
        }
        Err(error) => return Err(error).during(describe),
    }
    rustix::fs::fsync(&folder).during(describe)?;
    Ok(Change::Made)
}

/// Syncs a removal, so that after a power cut no later removal survives without this one.
fn sync_folder_of(path: &Path) -> Result<()> {
    let (folder, _) = folder_and_name(path)?;
    rustix::fs::fsync(&folder).during(|| format!("sync the folder of `{}`", path.display()))
}

/// FileOp::WriteFile.
pub(super) fn write_file(
    path: &Path,
    contents: &[u8],
    mode: u32,
    owner: Option<Owner>,
) -> Result<Change> {
    replace(path, contents, mode, owner, Replacement::commit)
}

/// FileOp::WriteScratch.
pub(super) fn write_scratch(
    path: &Path,
    contents: &[u8],
    mode: u32,
    owner: Option<Owner>,
) -> Result<Change> {
    replace(path, contents, mode, owner, Replacement::commit_scratch)
}

/// Writes a file with these contents, mode and owner, unless it already has them.
fn replace(
    path: &Path,
    contents: &[u8],
    mode: u32,
    owner: Option<Owner>,
    commit: impl FnOnce(Replacement, &File, u32, Option<Owner>) -> Result<()>,
) -> Result<Change> {
    if is_unchanged(path, contents, mode, owner) {
        return Ok(Change::Already);
    }
    let replacement = Replacement::begin(path)?;
    let mut file = replacement.create()?;
    file.write_all(contents)
        .during(|| format!("write `{}`", path.display()))?;
    commit(replacement, &file, mode, owner)?;
    Ok(Change::Made)
}

/// Whether the file has these contents, mode and owner; `false` if it cannot be read.
fn is_unchanged(path: &Path, contents: &[u8], mode: u32, owner: Option<Owner>) -> bool {
    let Ok(file) = open(path, false) else {
        return false;
    };
    let Ok(now) = file.metadata() else {
        return false;
    };
    if now.len() != contents.len() as u64 || now.mode() & 0o7777 != mode || !owns(&now, owner) {
        return false;
    }
    let mut bytes = Vec::with_capacity(contents.len() + 1);
    file.take(contents.len() as u64 + 1)
        .read_to_end(&mut bytes)
        .is_ok()
        && bytes == contents
}

/// FileOp::LinkFile.
pub(super) fn link_file(from: &Path, to: &Path) -> Result<Change> {
    let describe = |path: &Path| format!("examine `{}`", path.display());
    let (folder, name) = folder_and_name(to)?;
    let there = rustix::fs::lstat(from).during(|| describe(from))?;
    match rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(now) if (now.st_dev, now.st_ino) == (there.st_dev, there.st_ino) => {
            return Ok(Change::Already);
        }
        Ok(_) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error).during(|| describe(to)),
    }
    let mut replacement = Replacement::begin(to)?;
    replacement.link(from)?;
    replacement.rename()?;
    Ok(Change::Made)
}

/// FileOp::MakeLink.
pub(super) fn make_link(path: &Path, target: &Path) -> Result<Change> {
    if fs::read_link(path).is_ok_and(|now| now == target) {
        return Ok(Change::Already);
    }
    let mut replacement = Replacement::begin(path)?;
    replacement.link_to(target)?;
    replacement.rename()?;
    Ok(Change::Made)
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
