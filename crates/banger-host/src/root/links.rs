//! Checks that the files of a folder for a jail have no hard links elsewhere.
//!
//! In the jail the VM's user may write all of them. A file with a second name, such as a kernel
//! that VMs share, would change for others, too.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::{Error, Kind, Result};

/// The maximum number of files in a machine's folder, with those below it. A real one has ten.
const MOST_FILES: usize = 1000;

/// Whether this program may look into the folder, which is given as an O_PATH descriptor. The
/// process that serves users has dropped the capability to look into closed folders of theirs; the
/// process that makes the jail has it.
pub(super) fn can_be_seen(folder: &OwnedFd) -> bool {
    open(folder).is_ok()
}

fn open(folder: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, ".", flags, Mode::empty())
}

/// Rejects a folder that contains a file with more than one name.
pub(super) fn check(folder: &OwnedFd) -> Result<()> {
    let map_io_error = |cause: Errno| Error::io("look into the machine's folder", cause.into());
    let refused = |text: String| {
        Error::new(Kind::Denied, text).within("the folder is not accepted as a machine's")
    };
    let mut folders = vec![open(folder).map_err(map_io_error)?];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in Dir::read_from(&folder).map_err(map_io_error)? {
            let entry = entry.map_err(map_io_error)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            files += 1;
            if files > MOST_FILES {
                return Err(refused(format!("it holds more than {MOST_FILES} files")));
            }
            let meta = match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                // A file that was removed meanwhile has no name.
                Err(Errno::NOENT) => continue,
                other => other.map_err(map_io_error)?,
            };
            if FileType::from_raw_mode(meta.st_mode) == FileType::Directory {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = rustix::fs::openat(&folder, name, flags, Mode::empty());
                folders.push(open(&below.map_err(map_io_error)?).map_err(map_io_error)?);
            } else if meta.st_nlink > 1 {
                let name = name.to_string_lossy().escape_debug().to_string();
                let text = format!(
                    "its file `{name}` has {} names, and only one is allowed",
                    meta.st_nlink
                );
                return Err(refused(text).hint(
                    "see them: find ~/.local/state/banger/vms -path '*/machine/*' -type f -links +1",
                ));
            }
        }
    }
    Ok(())
}
