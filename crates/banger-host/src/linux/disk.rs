//! Disk images: sharing, copying, creating, growing and thinning them. Their content is copied,
//! never interpreted.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FallocateFlags, OFlags, SeekFrom};
use rustix::io::Errno;

use super::context::During as _;
use super::files::{custom, made, open};
use super::replacement::Replacement;
use super::sys;
use crate::archive::Content as _;
use crate::command::Command;
use crate::watch::Meter;
use crate::{Change, Error, Kind, Owner, Result, Watch};

const MIB: u64 = 1 << 20;

/// The most that the kernel copies at once, in bytes, so that a watch hears of it often.
const PIECE: usize = 16 << 20;

/// The smallest size at which mke2fs adds a journal, in MiB.
const LEAST_FILESYSTEM_MIB: u64 = 16;

/// Features that every ext4 of the last ten years has. With `64bit` the file system grows online
/// without a limit. `none` comes first, because the host's own defaults may be too new for a
/// guest's e2fsck.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,\
    flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// The mode of a fresh copy: private with an owner, otherwise as readable as the original. Only its
/// owner may write a shared copy, because machines have hard links to it.
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

/// Shares the blocks of `from` with a temporary file beside `to`.
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
pub(super) fn copy(
    from: &Path,
    to: &Path,
    owner: Option<Owner>,
    watch: Watch<'_>,
) -> Result<Change> {
    let describe = || format!("copy `{}` to `{}`", from.display(), to.display());
    let source = open(from, true).during(|| format!("open `{}`", from.display()))?;
    let replacement = Replacement::begin(to)?;
    let file = replacement.create()?;
    copy_sparsely(&source, &file, watch).during(describe)?;
    replacement.commit(&file, mode_of(&source, owner).during(describe)?, owner)?;
    Ok(Change::Made)
}

/// Copies the data, and keeps holes as holes.
fn copy_sparsely(source: &File, to: &File, watch: Watch<'_>) -> std::io::Result<()> {
    to.set_len(source.metadata()?.len())?;
    let data = source.data()?;
    let whole = data.iter().map(|it| it.end - it.start).sum();
    let mut meter = Meter::new(whole, watch);
    for range in data {
        copy_range(source, to, range, &mut meter)?;
    }
    meter.end();
    Ok(())
}

/// Copies a range within the kernel, or block by block where the kernel cannot.
fn copy_range(
    source: &File,
    to: &File,
    range: Range<u64>,
    meter: &mut Meter<'_>,
) -> std::io::Result<()> {
    let Range { start, end } = range;
    let (mut read_at, mut write_at) = (start, start);
    while read_at < end {
        let length = usize::try_from(end - read_at)
            .unwrap_or(usize::MAX)
            .min(PIECE);
        match rustix::fs::copy_file_range(
            source,
            Some(&mut read_at),
            to,
            Some(&mut write_at),
            length,
        ) {
            // Some file systems return 0 for files that they can read and write.
            Ok(0)
            | Err(
                Errno::XDEV
                | Errno::INVAL
                | Errno::NOSYS
                | Errno::OPNOTSUPP
                | Errno::BADF
                | Errno::PERM,
            ) => return copy_blocks(source, to, read_at..end, meter),
            Ok(copied) => meter.add(copied as u64)?,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Copies a range through memory and leaves out blocks of zeros.
fn copy_blocks(
    source: &File,
    to: &File,
    range: Range<u64>,
    meter: &mut Meter<'_>,
) -> std::io::Result<()> {
    const BLOCK: usize = 64 << 10;
    let mut buffer = vec![0; BLOCK];
    let Range { start: mut at, end } = range;
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
        meter.add(length as u64)?;
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
    // The host's mke2fs.conf is ignored, and every setting is given here. Discarded blocks of this
    // fresh file read as zeros, so neither mke2fs nor the guest has to write the inode tables.
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

/// Opens an existing file for writing; a symbolic link is not followed.
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

/// Flags of linux/fiemap.h: the last extent of a file, and an extent shared with another file.
const EXTENT_LAST: u32 = 0x1;
const EXTENT_SHARED: u32 = 0x2000;

/// The most extents of a file that are examined; more would take too long.
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

/// FileOp::PunchHole. Does nothing if the file is missing or the file system has no holes.
pub(super) fn punch_hole(path: &Path, offset: u64) -> Result<Change> {
    let describe = || format!("free the beginning of `{}`", path.display());
    let file = match open_to_change(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Change::Already),
        Err(error) => return Err(error).during(describe),
    };
    // The block that contains the offset is kept whole.
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
