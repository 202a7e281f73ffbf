//! The nodes of snapshots: `/dev/banger/<name>`, each for one user alone.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Uid};

use crate::linux::files::{absent, make_directory};
use crate::linux::told::During as _;
use crate::{Owner, Result};

/// Their folder. `/dev` is new at each boot of the host, and so are they.
const FOLDER: &str = "/dev/banger";

/// The node of a snapshot.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Makes the node lead to this device, for this owner alone; says whether it did not before.
pub(super) fn put(name: &str, device: u64, owner: Owner) -> Result<bool> {
    make_directory(Path::new(FOLDER), 0o711, None)?;
    let path = path(name);
    if is_so(&path, device, owner) {
        return Ok(false);
    }
    remove(name)?;
    let shown = || format!("make the node `{}`", path.display());
    rustix::fs::mknodat(CWD, &path, FileType::BlockDevice, Mode::empty(), device).during(shown)?;
    // Nobody may use it before it is whole.
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    rustix::fs::chownat(CWD, &path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .during(shown)?;
    rustix::fs::chmodat(CWD, &path, Mode::RUSR | Mode::WUSR, AtFlags::empty()).during(shown)?;
    Ok(true)
}

fn is_so(path: &Path, device: u64, owner: Owner) -> bool {
    fs::symlink_metadata(path).is_ok_and(|now| {
        now.file_type().is_block_device()
            && now.rdev() == device
            && now.mode() & 0o7777 == 0o600
            && (now.uid(), now.gid()) == (owner.uid, owner.gid)
    })
}

/// Removes the node; says whether it was there.
pub(super) fn remove(name: &str) -> Result<bool> {
    let path = path(name);
    let removed = absent(fs::remove_file(&path));
    Ok(removed
        .during(|| format!("remove the node `{}`", path.display()))?
        .is_some())
}
