//! Nodes of block devices, each for one user.
//!
//! A node refers to a device number. When the device is removed, the kernel gives the number to the
//! next device, and a process that still has the node (as an O_PATH descriptor, or mounted
//! elsewhere) would reach that one. So a node is revoked before its name is removed: it becomes
//! root's, with no permissions at all.

use std::fs;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::context::During as _;
use super::files::absent;
use crate::{Change, Error, Kind, Owner, Result};

/// FileOp::MakeNode.
pub(super) fn make_another(path: &Path, device: &Path, owner: Option<Owner>) -> Result<Change> {
    let describe = || format!("examine `{}`", device.display());
    let found = fs::metadata(device).during(describe)?;
    if !found.file_type().is_block_device() {
        return Err(Error::new(Kind::Other, "it is not a block device").within(describe()));
    }
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let ourselves = Owner {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
    };
    let put = put(path, found.rdev(), owner.unwrap_or(ourselves))?;
    Ok(if put { Change::Made } else { Change::Already })
}

/// Makes the node of this device, for this owner alone; returns whether anything changed.
pub(crate) fn put(path: &Path, device: u64, owner: Owner) -> Result<bool> {
    if is_so(path, device, owner) {
        return Ok(false);
    }
    remove(path)?;
    let describe = || format!("make the node `{}`", path.display());
    rustix::fs::mknodat(CWD, path, FileType::BlockDevice, Mode::empty(), device)
        .during(describe)?;
    // No user may open it before it is complete.
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .during(describe)?;
    rustix::fs::chmodat(CWD, path, Mode::RUSR | Mode::WUSR, AtFlags::empty()).during(describe)?;
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

/// Revokes the node and removes it; returns whether it existed.
pub(super) fn remove(path: &Path) -> Result<bool> {
    take_back(CWD, path).during(|| format!("remove the node `{}`", path.display()))?;
    let removed = absent(fs::remove_file(path));
    Ok(removed
        .during(|| format!("remove the node `{}`", path.display()))?
        .is_some())
}

/// Revokes the node of a device, under all of its names: it becomes root's, and nobody may open it.
/// Anything else stays unchanged.
pub(super) fn take_back(folder: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<()> {
    // An ordinary user has no nodes of devices, and cannot change one.
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        other => other?,
    };
    if !is_device(rustix::fs::fstat(&node)?.st_mode) {
        return Ok(());
    }
    // The owner changes first, because an owner could restore the permissions.
    let root = (Some(Uid::ROOT), Some(Gid::ROOT));
    rustix::fs::chownat(&node, "", root.0, root.1, AtFlags::EMPTY_PATH)?;
    // An O_PATH descriptor's permissions can be set only by this path.
    let path = format!("/proc/self/fd/{}", node.as_raw_fd());
    rustix::fs::chmodat(CWD, path, Mode::empty(), AtFlags::empty())
}

fn is_device(mode: u32) -> bool {
    matches!(
        FileType::from_raw_mode(mode),
        FileType::BlockDevice | FileType::CharacterDevice
    )
}

/// Revokes every node in a folder and the folders below it. No link is followed.
pub(super) fn take_back_all(path: &Path) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |folder: &OwnedFd, name: &std::ffi::CStr| {
        rustix::fs::openat(folder, name, flags, Mode::empty())
    };
    let mut folders = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        other => vec![other?],
    };
    while let Some(folder) = folders.pop() {
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match entry.file_type() {
                FileType::Directory | FileType::Unknown => match open(&folder, name) {
                    Ok(below) => folders.push(below),
                    Err(Errno::NOENT) => {}
                    Err(Errno::NOTDIR | Errno::LOOP) => take_back(&folder, name)?,
                    Err(error) => return Err(error),
                },
                FileType::BlockDevice | FileType::CharacterDevice => take_back(&folder, name)?,
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any block device will do: the test names it and never opens it.
    fn device(folder: &Path) -> Option<std::path::PathBuf> {
        let path = folder.join("device");
        let made = rustix::fs::mknodat(CWD, &path, FileType::BlockDevice, Mode::RUSR, 0x0701);
        made.is_ok().then_some(path)
    }

    #[test]
    fn a_node_is_made_for_one_user_idempotently() {
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

    /// The owner and the mode of a node behind an O_PATH descriptor.
    fn held(node: &OwnedFd) -> (u32, u32) {
        let now = rustix::fs::fstat(node).unwrap();
        (now.st_uid, now.st_mode & 0o7777)
    }

    #[test]
    fn a_node_without_a_name_can_no_longer_be_opened() {
        let folder = tempfile::tempdir().unwrap();
        let Some(device) = device(folder.path()) else {
            return crate::linux::testing::skipped("no right to make a node of a device");
        };
        let owner = Some(Owner {
            uid: 65534,
            gid: 65534,
        });
        let path = folder.path().join("jail/root/dev/node");
        let make = || {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            make_another(&path, &device, owner).unwrap();
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let node = rustix::fs::open(&path, flags, Mode::empty()).unwrap();
            assert_eq!(held(&node), (65534, 0o600));
            node
        };
        use crate::linux::files;
        let ways: [(&str, &dyn Fn()); 6] = [
            ("removed", &|| assert!(remove(&path).unwrap())),
            ("removed as a file", &|| {
                files::remove_file(&path).unwrap();
            }),
            ("removed with its folder", &|| {
                files::remove_directory(&folder.path().join("jail")).unwrap();
            }),
            ("removed where a folder was thought", &|| {
                files::remove_directory(&path).unwrap();
            }),
            ("overwritten", &|| {
                files::write_file(&path, b"text", 0o600, None).unwrap();
            }),
            ("made another's", &|| {
                make_another(&path, &device, None).unwrap();
            }),
        ];
        for (way, lose) in ways {
            let node = make();
            lose();
            assert_eq!(held(&node), (0, 0), "{way}");
        }
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
