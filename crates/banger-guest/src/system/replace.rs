//! Writes a file so that a crash leaves the old one or the new one.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Gid, Uid};

/// A file's owner and permission bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rights {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Rights {
    /// Owned by root.
    pub(crate) fn root(mode: u32) -> Self {
        Self {
            mode,
            uid: 0,
            gid: 0,
        }
    }
}

/// Creates a directory and its missing parents.
pub(crate) fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
}

/// Writes a file beside its place and renames it. A file with the same content and permissions is
/// left alone, so that a start without changes writes nothing to a disk.
pub(crate) fn write(path: &Path, bytes: &[u8], rights: Rights) -> io::Result<()> {
    if is_so(path, bytes, rights) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        make_directory(folder, 0o755)?;
    }
    let mut name = std::ffi::OsString::from(".banger-new-");
    name.push(path.file_name().unwrap_or_default());
    let beside = folder.join(name);
    let written = write_new(&beside, bytes, rights).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

fn is_so(path: &Path, bytes: &[u8], rights: Rights) -> bool {
    let Ok(stat) = rustix::fs::lstat(path) else {
        return false;
    };
    let kind_and_mode = stat.st_mode & 0o177_777;
    kind_and_mode == 0o100_000 | rights.mode
        && (stat.st_uid, stat.st_gid) == (rights.uid, rights.gid)
        && u64::try_from(stat.st_size).is_ok_and(|size| size == bytes.len() as u64)
        && fs::read(path).is_ok_and(|found| found == bytes)
}

fn write_new(path: &Path, bytes: &[u8], rights: Rights) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    // The owner first, because a change of owner clears the set-user-id bit.
    rustix::fs::fchown(
        &file,
        Some(Uid::from_raw(rights.uid)),
        Some(Gid::from_raw(rights.gid)),
    )?;
    file.set_permissions(Permissions::from_mode(rights.mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn mine(mode: u32) -> Rights {
        let uid = rustix::process::getuid().as_raw();
        Rights {
            mode,
            uid,
            gid: rustix::process::getgid().as_raw(),
        }
    }

    #[test]
    fn a_file_is_written_with_its_rights_and_missing_directories_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/key");
        write(&path, b"secret", mine(0o600)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"secret");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        write(&path, b"secret", mine(0o644)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_so_already_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write(&path, b"same", mine(0o644)).unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        write(&path, b"same", mine(0o644)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), before);
        write(&path, b"else", mine(0o644)).unwrap();
        assert_ne!(fs::metadata(&path).unwrap().ino(), before);
    }

    #[test]
    fn a_directory_in_the_way_is_an_error_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("hosts")).unwrap();
        write(&folder.path().join("hosts"), b"x", mine(0o644)).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
