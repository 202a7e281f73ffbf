//! A file that is being written. Until it is whole it has no name, or a name of its own beside the one that it
//! gets: a receiver that is killed leaves no half file behind its final name.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid,
    fchmod, fchown, flock, fstat, ftruncate, futimens, linkat, openat, openat2, renameat, unlinkat,
};
use rustix::io::{Errno, pwrite};

use crate::frame::Meta;
use crate::sender::quiet_digest_of;

/// Nothing leaves the directory that it is opened in, and no symbolic link is followed.
pub(super) const CONFINED: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// The longest name of a file, in bytes.
const LONGEST_NAME: usize = 255;

/// What owners and special bits become.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Keep {
    /// The owner's and the group's number are kept.
    pub(super) owner: bool,
    /// Set-user-id and set-group-id are kept.
    pub(super) special: bool,
}

impl Keep {
    pub(super) fn mode(self, meta: &Meta) -> Mode {
        let kept = if self.special { 0o7777 } else { 0o1777 };
        Mode::from_raw_mode(meta.mode & kept)
    }

    /// The owner to set, if any. A number that means "as it is" to the kernel is none.
    pub(super) fn owner(self, meta: &Meta) -> Option<(Uid, Gid)> {
        let valid = self.owner && meta.user != u32::MAX && meta.group != u32::MAX;
        valid.then(|| (Uid::from_raw(meta.user), Gid::from_raw(meta.group)))
    }

    /// Gives an open file its owner, permissions and time.
    pub(super) fn apply(self, file: impl AsFd, meta: &Meta) -> Result<(), Errno> {
        if let Some((user, group)) = self.owner(meta) {
            fchown(&file, Some(user), Some(group))?;
        }
        fchmod(&file, self.mode(meta))?;
        futimens(&file, &times(meta))
    }
}

/// The times to set: that of the last change.
pub(super) fn times(meta: &Meta) -> Timestamps {
    let time = Timespec {
        tv_sec: meta.seconds,
        tv_nsec: meta.nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// A new name that nothing else has.
pub(super) fn temporary_name() -> Vec<u8> {
    let mut bytes = [0; 8];
    // Without randomness a name may be taken, which is an error and not a danger.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    format!(".banger-copy.{:016x}", u64::from_be_bytes(bytes)).into_bytes()
}

/// The name that a part of a large file has.
fn partial_name(name: &[u8]) -> Option<Vec<u8>> {
    let partial = [b".", name, b".banger-partial"].concat();
    (partial.len() <= LONGEST_NAME).then_some(partial)
}

/// The name of the file that a part with this name belongs to; nothing if it is no name of a part.
#[must_use]
pub fn whole_name(partial: &[u8]) -> Option<&[u8]> {
    let name = partial.strip_prefix(b".")?;
    let name = name.strip_suffix(b".banger-partial")?;
    (!name.is_empty()).then_some(name)
}

/// The name that it has while it is written.
#[derive(Debug)]
enum Name {
    /// None: the kernel removes it with its last descriptor.
    None,
    /// One that goes if it does not become whole.
    Temporary(Vec<u8>),
    /// One that stays, for the next copy to go on with.
    Partial(Vec<u8>),
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct NewFile {
    file: OwnedFd,
    directory: OwnedFd,
    name: Name,
}

impl NewFile {
    /// Begins a file in this directory.
    pub(super) fn new(directory: OwnedFd) -> Result<Self, Errno> {
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        if let Ok(file) = openat(&directory, ".", flags, mode) {
            let name = Name::None;
            return Ok(Self {
                file,
                directory,
                name,
            });
        }
        // The file system cannot have files without a name.
        let name = temporary_name();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&directory, &*name, flags | OFlags::NOFOLLOW, mode)?;
        Ok(Self {
            file,
            directory,
            name: Name::Temporary(name),
        })
    }

    /// Goes on with the part of `name` that is there, or begins one: how long it is, and its SHA-256. Nothing
    /// if another copy writes it just now, or it is not ours.
    pub(super) fn resume(directory: OwnedFd, name: &[u8]) -> Option<(Self, u64, [u8; 32])> {
        let partial = partial_name(name)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        let open = || {
            let flags = flags | OFlags::CLOEXEC;
            let file = openat2(&directory, &*partial, flags, mode, CONFINED)?;
            let stat = fstat(&file)?;
            Ok::<_, Errno>((file, stat))
        };
        let (file, stat) = open().ok()?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let ours = rustix::process::geteuid().as_raw();
        if !is_file || stat.st_nlink != 1 || stat.st_uid != ours {
            return None;
        }
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        let digest = quiet_digest_of(&file, length).ok()?;
        let name = Name::Partial(partial);
        let new = Self {
            file,
            directory,
            name,
        };
        Some((new, length, digest))
    }

    /// Makes it empty, whatever is there.
    pub(super) fn clear(&self) -> Result<(), Errno> {
        ftruncate(&self.file, 0)
    }

    pub(super) fn write(&self, mut offset: u64, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match pwrite(&self.file, bytes, offset) {
                Ok(0) => return Err(Errno::IO),
                Ok(count) => {
                    bytes = &bytes[count..];
                    offset += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    /// Gives it its size, owner, permissions, time and name.
    pub(super) fn finish(
        mut self,
        name: &[u8],
        size: u64,
        meta: &Meta,
        keep: Keep,
    ) -> Result<(), Errno> {
        ftruncate(&self.file, size)?;
        keep.apply(&self.file, meta)?;
        match std::mem::replace(&mut self.name, Name::None) {
            Name::None => link(&self.file, self.directory.as_fd(), name),
            Name::Temporary(temporary) | Name::Partial(temporary) => {
                let renamed = renameat(&self.directory, &*temporary, &self.directory, name);
                if renamed.is_err() {
                    let _ = unlinkat(&self.directory, &*temporary, AtFlags::empty());
                }
                renamed
            }
        }
    }

    /// Removes it.
    pub(super) fn discard(mut self) {
        if let Name::Partial(name) = std::mem::replace(&mut self.name, Name::None) {
            self.name = Name::Temporary(name);
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Name::Temporary(name) = &self.name {
            let _ = unlinkat(&self.directory, &**name, AtFlags::empty());
        }
    }
}

/// Gives a file without a name this one, in the place of what has it.
fn link(file: &OwnedFd, directory: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    use std::os::fd::AsRawFd as _;
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    replace(directory, name, |new| {
        linkat(
            rustix::fs::CWD,
            &*own,
            directory,
            new,
            AtFlags::SYMLINK_FOLLOW,
        )
    })
}

/// Makes something under this name; in the place of what has it, if that is not a directory.
pub(super) fn replace(
    directory: BorrowedFd<'_>,
    name: &[u8],
    make: impl Fn(&[u8]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    match make(name) {
        Err(Errno::EXIST) => {}
        outcome => return outcome,
    }
    let temporary = temporary_name();
    make(&temporary)?;
    let renamed = renameat(directory, &*temporary, directory, name);
    // Two names of one file stay both.
    let _ = unlinkat(directory, &*temporary, AtFlags::empty());
    renamed
}
