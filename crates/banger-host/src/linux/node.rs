//! Nodes of block devices, each for one user alone.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Uid};

use super::files::absent;
use super::told::During as _;
use crate::{Change, Error, Kind, Owner, Result};

/// Op::MakeNode.
pub(super) fn make_another(path: &Path, device: &Path, owner: Option<Owner>) -> Result<Change> {
    let shown = || format!("look at `{}`", device.display());
    let found = fs::metadata(device).during(shown)?;
    if !found.file_type().is_block_device() {
        return Err(Error::new(Kind::Other, "it is not a block device").within(shown()));
    }
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let ourselves = Owner {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
    };
    let put = put(path, found.rdev(), owner.unwrap_or(ourselves))?;
    Ok(if put { Change::Made } else { Change::Already })
}

/// Makes the node lead to this device, for this owner alone; says whether it did not before.
pub(crate) fn put(path: &Path, device: u64, owner: Owner) -> Result<bool> {
    if is_so(path, device, owner) {
        return Ok(false);
    }
    remove(path)?;
    let shown = || format!("make the node `{}`", path.display());
    rustix::fs::mknodat(CWD, path, FileType::BlockDevice, Mode::empty(), device).during(shown)?;
    // Nobody may use it before it is whole.
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .during(shown)?;
    rustix::fs::chmodat(CWD, path, Mode::RUSR | Mode::WUSR, AtFlags::empty()).during(shown)?;
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
pub(super) fn remove(path: &Path) -> Result<bool> {
    let removed = absent(fs::remove_file(path));
    Ok(removed
        .during(|| format!("remove the node `{}`", path.display()))?
        .is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any block device will do: it is named, and never opened.
    fn device(folder: &Path) -> Option<std::path::PathBuf> {
        let path = folder.join("device");
        let made = rustix::fs::mknodat(CWD, &path, FileType::BlockDevice, Mode::RUSR, 0x0701);
        made.is_ok().then_some(path)
    }

    #[test]
    fn a_node_is_made_for_one_user_and_twice_is_once() {
        let folder = tempfile::tempdir().unwrap();
        let Some(device) = device(folder.path()) else {
            return crate::linux::testing::skipped("no right to make a node of a device");
        };
        let path = folder.path().join("root.img");
        let owner = Some(Owner { uid: 65534, gid: 1 });
        fs::write(&path, "what was there before").unwrap();
        assert_eq!(make_another(&path, &device, owner).unwrap(), Change::Made);
        assert_eq!(
            make_another(&path, &device, owner).unwrap(),
            Change::Already
        );
        let made = fs::metadata(&path).unwrap();
        assert_eq!((made.rdev(), made.uid(), made.gid()), (0x0701, 65534, 1));
        assert_eq!(made.mode() & 0o7777, 0o600);
        assert_eq!(make_another(&path, &device, None).unwrap(), Change::Made);
    }

    #[test]
    fn what_is_no_block_device_gets_no_node() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.img");
        let absent = folder.path().join("absent");
        for device in ["/dev/null", "/etc/passwd", "/"].map(Path::new) {
            let made = make_another(&path, device, None);
            assert!(made.is_err(), "{}", device.display());
        }
        assert!(make_another(&path, &absent, None).is_err());
        assert!(!path.exists());
    }
}
