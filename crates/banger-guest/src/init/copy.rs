//! Copies a tree faithfully: owners, permissions, times, extended attributes, links, devices.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, lchown, symlink};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, chmodat, lgetxattr, llistxattr,
    lsetxattr, mknodat, utimensat,
};

/// The maximum length of an extended attribute on Linux.
const LONGEST_ATTRIBUTE: usize = 64 * 1024;

/// Copies the content of the directory `from` into the directory `to`, which also gets its
/// permissions and its owner. File systems mounted below `from` are left out. Returns the number of
/// entries.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<u64> {
    let source = fs::symlink_metadata(from)?;
    let mut copied = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copied += copy_entry(&entry.path(), &to.join(entry.file_name()), source.dev())?;
    }
    copy_properties(from, to, &source)?;
    Ok(copied)
}

fn copy_entry(from: &Path, to: &Path, device: u64) -> io::Result<u64> {
    let source = fs::symlink_metadata(from)?;
    let kind = source.file_type();
    let mut copied = 1;
    if kind.is_dir() {
        fs::create_dir(to)?;
        if source.dev() == device {
            copied += copy_tree(from, to)?;
        }
        return Ok(copied);
    }
    if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if kind.is_file() {
        fs::copy(from, to)?;
    } else {
        let kind = if kind.is_char_device() {
            FileType::CharacterDevice
        } else if kind.is_block_device() {
            FileType::BlockDevice
        } else if kind.is_fifo() {
            FileType::Fifo
        } else {
            FileType::Socket
        };
        mknodat(CWD, to, kind, Mode::from_raw_mode(0o600), source.rdev())?;
    }
    copy_properties(from, to, &source)?;
    Ok(copied)
}

/// Sets the owner before the permissions, because a change of owner clears the set-user-id bit;
/// times come last.
fn copy_properties(from: &Path, to: &Path, source: &Metadata) -> io::Result<()> {
    lchown(to, Some(source.uid()), Some(source.gid()))?;
    if !source.file_type().is_symlink() {
        chmodat(
            CWD,
            to,
            Mode::from_raw_mode(source.mode() & 0o7777),
            AtFlags::empty(),
        )?;
    }
    copy_attributes(from, to)?;
    let time = |seconds, nanos| Timespec {
        tv_sec: seconds,
        tv_nsec: nanos,
    };
    let times = Timestamps {
        last_access: time(source.atime(), source.atime_nsec()),
        last_modification: time(source.mtime(), source.mtime_nsec()),
    };
    Ok(utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn copy_attributes(from: &Path, to: &Path) -> io::Result<()> {
    // Most files have none, and this query is cheap.
    let length = match llistxattr(from, &mut [0_u8; 0]) {
        Ok(0) | Err(rustix::io::Errno::NOTSUP) => return Ok(()),
        found => found?,
    };
    let mut names = vec![0; length];
    llistxattr(from, names.as_mut_slice())?;
    let mut value = vec![0; LONGEST_ATTRIBUTE];
    for name in names
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
    {
        let length = lgetxattr(from, name, value.as_mut_slice())?;
        lsetxattr(to, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_tree_is_copied_as_it_is() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (from.path(), to.path());
        fs::create_dir_all(from.join(".config/deep")).unwrap();
        fs::write(from.join(".config/deep/file"), "hello").unwrap();
        fs::set_permissions(
            from.join(".config/deep/file"),
            std::fs::Permissions::from_mode(0o4750),
        )
        .unwrap();
        symlink("/nowhere", from.join("link")).unwrap();
        mknodat(
            CWD,
            from.join("pipe"),
            FileType::Fifo,
            Mode::from_raw_mode(0o640),
            0,
        )
        .unwrap();
        let old = Timespec {
            tv_sec: 1_000_000_000,
            tv_nsec: 5,
        };
        let times = Timestamps {
            last_access: old,
            last_modification: old,
        };
        utimensat(CWD, from.join(".config"), &times, AtFlags::empty()).unwrap();
        fs::set_permissions(from, std::fs::Permissions::from_mode(0o700)).unwrap();

        assert_eq!(copy_tree(from, to).unwrap(), 5);
        let file = fs::metadata(to.join(".config/deep/file")).unwrap();
        assert_eq!((file.mode() & 0o7777, file.len()), (0o4750, 5));
        assert_eq!(
            fs::read_link(to.join("link")).unwrap(),
            Path::new("/nowhere")
        );
        assert!(fs::metadata(to.join("pipe")).unwrap().file_type().is_fifo());
        let folder = fs::metadata(to.join(".config")).unwrap();
        assert_eq!((folder.mtime(), folder.mtime_nsec()), (1_000_000_000, 5));
        assert_eq!(fs::metadata(to).unwrap().mode() & 0o777, 0o700);
    }
}
