//! Files that the programs we start reach as a descriptor, not by their path.
//!
//! A user's folders are closed to the subordinate ids of the same user, who make the root file
//! system. `/dev/fd/N` leads to the file itself, whatever lies above it.

use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::io::FdFlags;

use super::{BundleError, Result};

/// A file that every program started from now on may read and write, until this is dropped.
#[derive(Debug)]
pub(super) struct InheritableFile {
    file: File,
    path: PathBuf,
}

impl InheritableFile {
    /// Makes a new file with this content, in a folder that others may not look into.
    pub(super) fn create(path: &Path, content: &[u8]) -> Result<Self> {
        let map_io_error =
            |cause| BundleError::because(format!("write `{}`", path.display()), cause);
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

    /// The name by which a program that we start reaches it.
    pub(super) fn name(&self) -> String {
        format!("/dev/fd/{}", self.file.as_raw_fd())
    }

    /// Makes it this long, in bytes, without writing anything.
    pub(super) fn set_size(&self, size: u64) -> Result<()> {
        self.file.set_len(size).map_err(|cause| {
            BundleError::because(format!("make `{}` larger", self.path.display()), cause)
        })
    }

    /// Takes it back: what others wrote is on the disk, and only we may write to it from now on.
    pub(super) fn take_back(self) -> Result<()> {
        self.file
            .set_permissions(Permissions::from_mode(0o644))
            .and_then(|()| self.file.sync_all())
            .map_err(|cause| {
                BundleError::because(format!("write `{}`", self.path.display()), cause)
            })
    }
}

/// The same open file as a descriptor that programs we start have, too.
///
/// Its number is high: the hooks of mmdebstrap's apt write to descriptors that they name in a
/// shell, which knows those below 10 only, so these must be left to them.
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
        let handed = InheritableFile::create(&path, b"before").unwrap();
        assert_eq!(
            Command::new("cat").arg(handed.name()).run().unwrap().text(),
            "before"
        );
        Command::new("cp")
            .args(["/proc/self/comm", &handed.name()])
            .run()
            .unwrap();
        handed.take_back().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "cp\n");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o644
        );
    }

    #[test]
    fn a_file_that_is_there_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "mine").unwrap();
        assert!(InheritableFile::create(&path, b"").is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
