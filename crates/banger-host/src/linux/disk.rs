//! Disk images: sharing, copying, creating, growing and thinning them. Nothing here reads their
//! content.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FallocateFlags, OFlags, SeekFrom};
use rustix::io::Errno;

use super::context::During as _;
use super::files::{custom, made, open};
use super::replacement::Replacement;
use super::sys;
use crate::command::Command;
use crate::{Change, Error, Kind, Owner, Result};

const MIB: u64 = 1 << 20;

/// The least size of a file system that mke2fs makes with a journal, in MiB.
const LEAST_FILESYSTEM_MIB: u64 = 16;

/// Features that every ext4 of the last ten years has; with `64bit` the file system grows online
/// without a limit. `none` first: the host's own defaults may be too new for a guest's e2fsck.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,\
    flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// The mode of a fresh copy: private if it has an owner, else readable as the original is. A copy
/// that others read may be written by its owner only: machines have hard links to it.
fn mode_of(source: &File, owner: Option<Owner>) -> std::io::Result<u32> {
    Ok(if owner.is_some() {
        0o600
    } else {
        source.metadata()?.mode() & 0o755
    })
}

/// FileOp::CloneFile.
pub(super) fn clone(from: &Path, to: &Path, owner: Option<Owner>) -> Result<Change> {
    let describe = || {
        format!(
            "share the blocks of `{}` with `{}`",
            from.display(),
            to.display()
        )
    };
    let (source, file, replacement) = share(from, to)?;
    replacement.commit(&file, mode_of(&source, owner).during(describe)?, owner)?;
    Ok(Change::Made)
}

/// Shares the blocks of `from` with a file beside `to` that is gone at the end.
pub(super) fn try_clone(from: &Path, to: &Path) -> Result<()> {
    share(from, to).map(drop)
}

fn share(from: &Path, to: &Path) -> Result<(File, File, Replacement)> {
    let describe = || {
        format!(
            "share the blocks of `{}` with `{}`",
            from.display(),
            to.display()
        )
    };
    let source = open(from, true).during(|| format!("open `{}`", from.display()))?;
    let replacement = Replacement::begin(to)?;
    let file = replacement.create()?;
    match rustix::fs::ioctl_ficlone(&file, &source) {
        Ok(()) => Ok((source, file, replacement)),
        Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => {
            let cause = Error::new(Kind::Unsupported, "the file system cannot share blocks")
                .hint("set `root_disk = \"copy\"` in ~/.config/banger/config.toml");
            Err(cause.within(describe()))
        }
        Err(error) => Err(error).during(describe),
    }
}

/// FileOp::CopyFile.
pub(super) fn copy(from: &Path, to: &Path, owner: Option<Owner>) -> Result<Change> {
    let describe = || format!("copy `{}` to `{}`", from.display(), to.display());
    let source = open(from, true).during(|| format!("open `{}`", from.display()))?;
    let replacement = Replacement::begin(to)?;
    let file = replacement.create()?;
    copy_sparsely(&source, &file).during(describe)?;
    replacement.commit(&file, mode_of(&source, owner).during(describe)?, owner)?;
    Ok(Change::Made)
}

/// Copies what is data; what is a hole stays one.
fn copy_sparsely(source: &File, to: &File) -> std::io::Result<()> {
    let length = source.metadata()?.len();
    to.set_len(length)?;
    let mut at = 0;
    while at < length {
        let (start, end) = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            Ok(start) => (start, rustix::fs::seek(source, SeekFrom::Hole(start))?),
            // Nothing but a hole from here on.
            Err(Errno::NXIO) => break,
            // The file system does not say; zeros are skipped below.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => (at, length),
            Err(error) => return Err(error.into()),
        };
        copy_range(source, to, start, end.min(length))?;
        at = end;
    }
    Ok(())
}

/// Copies a range within the kernel, or block by block where it cannot.
fn copy_range(source: &File, to: &File, start: u64, end: u64) -> std::io::Result<()> {
    let (mut read_at, mut write_at) = (start, start);
    while read_at < end {
        let length = usize::try_from(end - read_at)
            .unwrap_or(usize::MAX)
            .min(1 << 30);
        match rustix::fs::copy_file_range(
            source,
            Some(&mut read_at),
            to,
            Some(&mut write_at),
            length,
        ) {
            // Some file systems say 0 for files that they could copy otherwise.
            Ok(0)
            | Err(
                Errno::XDEV
                | Errno::INVAL
                | Errno::NOSYS
                | Errno::OPNOTSUPP
                | Errno::BADF
                | Errno::PERM,
            ) => return copy_blocks(source, to, read_at, end),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Copies a range through memory and leaves out blocks of zeros.
fn copy_blocks(source: &File, to: &File, start: u64, end: u64) -> std::io::Result<()> {
    const BLOCK: usize = 64 << 10;
    let mut buffer = vec![0; BLOCK];
    let mut at = start;
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
        let block = &mut buffer[..length];
        match source.read_exact_at(block, at) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                let text = "it became shorter while it was copied";
                return Err(std::io::Error::new(ErrorKind::UnexpectedEof, text));
            }
            Err(error) => return Err(error),
        }
        if block.iter().any(|byte| *byte != 0) {
            to.write_all_at(block, at)?;
        }
        at += length as u64;
    }
    Ok(())
}

/// FileOp::MakeFilesystem.
pub(super) fn make_filesystem(
    path: &Path,
    size_mib: u64,
    label: &str,
    owner: Option<Owner>,
) -> Result<Change> {
    let describe = || format!("make the file system `{}`", path.display());
    match std::fs::symlink_metadata(path) {
        Ok(_) => return Ok(Change::Already),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).during(describe),
    }
    let in_words = |text: String| Err(Error::new(Kind::Other, text).within(describe()));
    if size_mib < LEAST_FILESYSTEM_MIB {
        return in_words(format!(
            "{size_mib} MiB is less than {LEAST_FILESYSTEM_MIB} MiB"
        ));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if label.len() > 16 || label.starts_with('-') || !label.chars().all(plain) {
        return in_words(format!("`{label}` is not a volume label"));
    }
    let replacement = Replacement::begin(path)?;
    let file = replacement.create()?;
    file.set_len(size_mib.saturating_mul(MIB))
        .during(describe)?;
    // The host's mke2fs.conf is left out, and all that matters is said here.
    // Only banger has written this file. What mke2fs discards reads as zeros, so
    // the inode tables need not be written, neither here nor by the guest later.
    let command = Command::new("mke2fs")
        .args([
            "-F", "-q", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "16384", "-m", "0",
        ])
        .args(["-L", label, "-O", FEATURES])
        .args(["-E", "discard,lazy_itable_init=1,lazy_journal_init=1"])
        .arg(replacement.temporary(path))
        .env("MKE2FS_CONFIG", "/dev/null");
    command.run().map_err(|error| match error.kind() {
        Kind::Missing => error
            .hint("sudo apt-get install e2fsprogs")
            .within(describe()),
        _ => error.within(describe()),
    })?;
    replacement.commit(&file, 0o600, owner)?;
    Ok(Change::Made)
}

/// Opens a file that is there for writing; a symbolic link is not followed.
fn open_to_change(path: &Path) -> std::io::Result<File> {
    let flags = custom(OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY);
    let file = File::options()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(
            ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    Ok(file)
}

/// FileOp::GrowFile.
pub(super) fn grow(path: &Path, size_mib: u64) -> Result<Change> {
    let describe = || format!("make `{}` as long as {size_mib} MiB", path.display());
    let file = open_to_change(path).during(describe)?;
    let Some(length) = size_mib
        .checked_mul(MIB)
        .filter(|it| i64::try_from(*it).is_ok())
    else {
        return Err(Error::new(Kind::Other, "no file can be that long").within(describe()));
    };
    if file.metadata().during(describe)?.len() >= length {
        return Ok(Change::Already);
    }
    file.set_len(length).during(describe)?;
    file.sync_all().during(describe)?;
    Ok(Change::Made)
}

/// Of linux/fiemap.h: the extent is the file's last; it is shared with another file.
const EXTENT_LAST: u32 = 0x1;
const EXTENT_SHARED: u32 = 0x2000;

/// A file in more pieces than this is not looked through: it would take longer than it is worth.
const MOST_EXTENTS: usize = 32_768;

/// Look::shared.
pub(super) fn shared(path: &Path) -> Result<Option<u64>> {
    let describe = || format!("look which blocks of `{}` are shared", path.display());
    let file = open(path, false).during(describe)?;
    let (mut shared, mut seen, mut from) = (0, 0, 0);
    while seen < MOST_EXTENTS {
        let extents = match sys::block::extents(&file, from) {
            Ok(extents) => extents,
            Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error).during(describe),
        };
        let Some(last) = extents.last() else {
            return Ok(Some(shared));
        };
        let ours = extents.iter().filter(|it| it.flags & EXTENT_SHARED != 0);
        shared += ours.map(|it| it.length).sum::<u64>();
        if last.flags & EXTENT_LAST != 0 {
            return Ok(Some(shared));
        }
        seen += extents.len();
        from = last.logical + last.length;
    }
    Ok(None)
}

/// FileOp::PunchHole. Where there is no file, or the file system has no holes, nothing is done.
pub(super) fn punch_hole(path: &Path, offset: u64) -> Result<Change> {
    let describe = || format!("free the beginning of `{}`", path.display());
    let file = match open_to_change(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Change::Already),
        Err(error) => return Err(error).during(describe),
    };
    // A block that the offset lies in is kept whole.
    let offset = offset - offset % 4096;
    let first_data = match rustix::fs::seek(&file, SeekFrom::Data(0)) {
        Ok(first) => first,
        Err(Errno::NXIO) => return Ok(Change::Already),
        Err(_) => 0,
    };
    if offset <= first_data {
        return Ok(Change::Already);
    }
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(&file, flags, 0, offset) {
        Ok(()) => Ok(Change::Made),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(made(false)),
        Err(error) => Err(error).during(describe),
    }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
