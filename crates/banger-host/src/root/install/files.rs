//! Writes root's files, each atomically.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode};

use crate::{Error, Result};

/// Takes the lock that serializes installations.
pub(super) fn lock(path: &Path) -> Result<File> {
    let map_io_error = |cause| Error::io(format!("lock `{}`", path.display()), cause);
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(map_io_error)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)
        .map_err(|cause| map_io_error(cause.into()))?;
    Ok(file)
}

/// The temporary name of a file. A leftover of an earlier run is overwritten.
pub(super) fn fresh(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

/// Writes a file atomically: to the temporary name, synced, then renamed.
pub(super) fn write(path: &Path, contents: &[u8], mode: u32) -> Result<()> {
    let describe = || format!("write `{}`", path.display());
    let fresh = fresh(path);
    let mut file = create(&fresh)?;
    file.write_all(contents)
        .map_err(|cause| Error::io(describe(), cause))?;
    settle(&file, &fresh, path, mode)
}

/// Creates a file that no other user can open yet.
pub(super) fn create(fresh: &Path) -> Result<File> {
    remove(fresh)?;
    let opened = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(fresh);
    opened.map_err(|cause| Error::io(format!("write `{}`", fresh.display()), cause))
}

/// Sets a complete file's mode, and renames it into place.
pub(super) fn settle(file: &File, fresh: &Path, path: &Path, mode: u32) -> Result<()> {
    let map_io_error = |cause| Error::io(format!("write `{}`", path.display()), cause);
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode))
        .map_err(|cause| map_io_error(cause.into()))?;
    file.sync_all().map_err(map_io_error)?;
    fs::rename(fresh, path).map_err(map_io_error)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder)
        .and_then(|it| it.sync_all())
        .map_err(map_io_error)
}

/// Removes a file, if it exists.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            Err(Error::io(format!("remove `{}`", path.display()), cause))
        }
        _ => Ok(()),
    }
}

/// Removes a folder, if it exists.
pub(super) fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            Err(Error::io(format!("remove `{}`", path.display()), cause))
        }
        _ => Ok(()),
    }
}
