//! Files and folders that started programs open by descriptor instead of by path.
//!
//! The subordinate ids that make the root file system have no access to the user's folders.
//! `/dev/fd/N` opens the file or the folder regardless of the folders above it.

use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::io::FdFlags;

use super::Result;
use super::error::failure_caused_by;

/// A file that every started program can read and write, until this is dropped.
#[derive(Debug)]
pub(super) struct InheritableFile {
    file: File,
    path: PathBuf,
}

impl InheritableFile {
    /// Creates a file with this content; its folder must be closed to other users.
    pub(super) fn create(path: &Path, content: &[u8]) -> Result<Self> {
        let map_io_error = |cause| failure_caused_by(format!("write `{}`", path.display()), cause);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(map_io_error)?;
        file.write_all(content).map_err(map_io_error)?;
        file.set_permissions(Permissions::from_mode(0o666))
            .map_err(map_io_error)?;
        let file = inherited(&file).map_err(|cause| map_io_error(cause.into()))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Its path for started programs.
    pub(super) fn name(&self) -> String {
        format!("/dev/fd/{}", self.file.as_raw_fd())
    }

    /// Sets its size in bytes, with holes.
    pub(super) fn set_size(&self, size: u64) -> Result<()> {
        self.file.set_len(size).map_err(|cause| {
            failure_caused_by(format!("make `{}` larger", self.path.display()), cause)
        })
    }

    /// Syncs it, and makes it writable by its owner only.
    pub(super) fn finish(self) -> Result<()> {
        self.file
            .set_permissions(Permissions::from_mode(0o644))
            .and_then(|()| self.file.sync_all())
            .map_err(|cause| failure_caused_by(format!("write `{}`", self.path.display()), cause))
    }
}

/// A folder that every started program can change, until this is dropped.
#[derive(Debug)]
pub(in crate::image) struct InheritableFolder {
    file: File,
}

impl InheritableFolder {
    /// Creates a folder; the one that it is in must be closed to other users.
    pub(in crate::image) fn create(path: &Path) -> Result<Self> {
        let map_io_error = |cause| failure_caused_by(format!("make `{}`", path.display()), cause);
        std::fs::create_dir(path).map_err(map_io_error)?;
        let folder = Self::open(path).map_err(map_io_error)?;
        folder
            .file
            .set_permissions(Permissions::from_mode(0o777))
            .map_err(map_io_error)?;
        Ok(folder)
    }

    /// Opens an existing folder.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let file = inherited(&File::open(path)?)?;
        Ok(Self { file })
    }

    /// Its path for started programs.
    pub(in crate::image) fn name(&self) -> PathBuf {
        format!("/dev/fd/{}", self.file.as_raw_fd()).into()
    }
}

/// Duplicates a descriptor into one that started programs inherit.
///
/// Its number is at least 100: the hooks of mmdebstrap's apt use descriptors below 10, the only
/// ones that a shell can name.
pub(super) fn inherited(file: &File) -> rustix::io::Result<File> {
    const FIRST: i32 = 100;
    let copy = rustix::io::fcntl_dupfd_cloexec(file, FIRST)?;
    rustix::io::fcntl_setfd(&copy, FdFlags::empty())?;
    Ok(File::from(copy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use banger_host::command::Command;

    #[test]
    fn a_program_reads_and_writes_it_by_its_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let inheritable = InheritableFile::create(&path, b"before").unwrap();
        assert_eq!(
            Command::new("cat")
                .arg(inheritable.name())
                .run()
                .unwrap()
                .text(),
            "before"
        );
        Command::new("cp")
            .args(["/proc/self/comm", &inheritable.name()])
            .run()
            .unwrap();
        inheritable.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "cp\n");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o644
        );
    }

    #[test]
    fn an_existing_file_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "mine").unwrap();
        assert!(InheritableFile::create(&path, b"").is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
