//! Fills a new disk with the image's own content of the directory that it is mounted over.
//!
//! A filled disk carries a mark, an extended attribute of its root directory, which is set after
//! everything else has reached the disk. Without the mark the disk is filled again, so an
//! interrupted start leaves no partial content.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{XattrFlags, fsync, getxattr, setxattr, syncfs};

use super::copy;
use crate::failure::{Context as _, Result};
use crate::system::console;

/// The mark; only root can see or set an attribute with this prefix.
const MARK: &str = "trusted.banger.seeded";

/// The directory for files that `e2fsck` recovers, which it creates if necessary.
const LOST_AND_FOUND: &str = "lost+found";

/// Fills the disk mounted at `disk` from `image`, unless it has the mark.
pub(crate) fn seed(image: &Path, disk: &Path) -> Result<()> {
    if getxattr(disk, MARK, &mut [0_u8; 16]).is_ok() {
        return Ok(());
    }
    let what = || format!("copy the image's `{}` to it", image.display());
    empty(disk).while_doing(|| "empty it".to_owned())?;
    let copied = copy::copy_tree(image, disk).while_doing(what)?;
    let directory = File::open(disk).while_doing(what)?;
    syncfs(&directory).while_doing(what)?;
    setxattr(disk, MARK, b"1", XattrFlags::empty()).while_doing(|| "mark it".to_owned())?;
    fsync(&directory).while_doing(|| "mark it".to_owned())?;
    console::note(&format!(
        "{copied} files of the image's `{}` copied",
        image.display()
    ));
    Ok(())
}

fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let removed = fs::remove_dir_all(entry.path());
            if entry.file_name() != LOST_AND_FOUND {
                removed?;
            }
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cut_off_start_left_is_removed() {
        let disk = tempfile::tempdir().unwrap();
        fs::create_dir_all(disk.path().join("half/done")).unwrap();
        fs::create_dir(disk.path().join(LOST_AND_FOUND)).unwrap();
        fs::write(disk.path().join("half/file"), "x").unwrap();
        std::os::unix::fs::symlink("/nowhere", disk.path().join("link")).unwrap();
        empty(disk.path()).unwrap();
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0);
    }
}
