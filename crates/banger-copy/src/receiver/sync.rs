//! What a sender asks and does beside sending files when it keeps a tree the same: lists, digests,
//! removals, and permissions and times alone. All of it is beneath the target, too.

use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat2, readlinkat, statat, unlinkat,
};
use rustix::io::Errno;

use super::Receiver;
use super::file::CONFINED;
use crate::connection::{Connection, CopyError};
use crate::frame::{Frame, Meta};
use crate::listing::{ListEnd, ListedEntry, ListedNode};
use crate::path::RelativePath;
use crate::sender::quiet_digest_of;

/// About how much of a list is sent at once, in bytes.
const PIECE: usize = 64 << 10;

impl Receiver<'_> {
    pub(super) fn take_of_sync(&mut self, frame: Frame) -> Result<(), CopyError> {
        match frame {
            Frame::List(path) => {
                let end = match self.open_below(&path, OFlags::DIRECTORY) {
                    Ok(directory) => list(directory, self.connection)?,
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => ListEnd::Absent,
                    Err(cause) => ListEnd::Failed(cause.to_string()),
                };
                self.reply(&Frame::ListEnd(end))
            }
            Frame::Digest(path) => {
                let reply = self.digest(&path).unwrap_or((u64::MAX, [0; 32]));
                self.reply(&Frame::Have(reply.0, reply.1))
            }
            Frame::Remove(path) => self.remove(&path),
            Frame::Touch(path, meta) => match self.touch(&path, &meta) {
                Ok(()) => {
                    self.report.touched += 1;
                    Ok(())
                }
                Err(cause) => self.fail(&path, cause),
            },
            _ => Err(CopyError::Broken("a frame came out of turn")),
        }
    }

    /// Opens the directory that is kept the same, and makes it if it is not there.
    pub(super) fn open_root(&mut self) -> Result<(), CopyError> {
        if self.options.sync && self.destination.is_none() {
            let root = self.target.root(!self.options.dry);
            self.destination = root.map_err(CopyError::Refused)?;
        }
        Ok(())
    }

    /// Replies at once, unless more questions are here already.
    fn reply(&mut self, frame: &Frame) -> Result<(), CopyError> {
        self.connection.send(frame)?;
        if self.connection.has_arrived() {
            return Ok(());
        }
        self.connection.flush()
    }

    fn open_below(&self, path: &RelativePath, kind: OFlags) -> Result<OwnedFd, Errno> {
        let destination = self.destination.as_ref().ok_or(Errno::NOENT)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let below: &[u8] = if path.is_top() { b"." } else { path.as_bytes() };
        openat2(
            &destination.root,
            below,
            flags | kind,
            Mode::empty(),
            CONFINED,
        )
    }

    fn digest(&self, path: &RelativePath) -> Result<(u64, [u8; 32]), Errno> {
        let file = self.open_below(path, OFlags::empty())?;
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        Ok((length, quiet_digest_of(&file, length)?))
    }

    fn touch(&self, path: &RelativePath, meta: &Meta) -> Result<(), Errno> {
        let file = self.open_below(path, OFlags::empty())?;
        let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
        if !matches!(kind, FileType::RegularFile | FileType::Directory) {
            return Err(Errno::INVAL);
        }
        self.keep().apply(&file, meta)
    }

    /// Removes one entry; of directories only those that are empty.
    fn remove(&mut self, path: &RelativePath) -> Result<(), CopyError> {
        let (directory, name) = match self.locate(path)? {
            Ok((_, name)) if name.is_empty() => return self.fail(path, Errno::BUSY),
            Ok(located) => located,
            Err(Errno::NOENT) => return Ok(()),
            Err(cause) => return self.fail(path, cause),
        };
        // The kernel says which of the two a directory is.
        let mut removed = unlinkat(&directory, &*name, AtFlags::empty());
        if matches!(removed, Err(Errno::ISDIR | Errno::PERM)) {
            removed = unlinkat(&directory, &*name, AtFlags::REMOVEDIR);
            self.parent = None;
        }
        match removed {
            Ok(()) => self.report.removed += 1,
            // Somebody was faster; or what is ignored lies in it, and stays.
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(cause) => self.fail(path, cause)?,
        }
        Ok(())
    }
}

/// Sends what is in a directory.
fn list(directory: OwnedFd, connection: &mut Connection) -> Result<ListEnd, CopyError> {
    let mut directory = match Dir::new(directory) {
        Ok(directory) => directory,
        Err(cause) => return Ok(ListEnd::Failed(cause.to_string())),
    };
    let (mut piece, mut size) = (Vec::new(), 0);
    while let Some(entry) = directory.read() {
        let name = match entry {
            Ok(entry) => entry.file_name().to_bytes().to_vec(),
            Err(cause) => return Ok(ListEnd::Failed(cause.to_string())),
        };
        if name == b"." || name == b".." {
            continue;
        }
        let Some(listed) = look_at(&directory, name) else {
            continue;
        };
        size += 64 + listed.name.len();
        if let ListedNode::Symlink(target) = &listed.node {
            size += target.len();
        }
        piece.push(listed);
        if size > PIECE {
            connection.send(&Frame::Listed(std::mem::take(&mut piece)))?;
            size = 0;
        }
    }
    if !piece.is_empty() {
        connection.send(&Frame::Listed(piece))?;
    }
    Ok(ListEnd::Whole)
}

/// An entry; nothing if it has gone meanwhile.
fn look_at(directory: &Dir, name: Vec<u8>) -> Option<ListedEntry> {
    let fd = directory.fd().ok()?;
    let stat: Stat = statat(fd, &*name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let node = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => ListedNode::Directory,
        FileType::RegularFile => ListedNode::File(u64::try_from(stat.st_size).unwrap_or(0)),
        FileType::Symlink => {
            let target = readlinkat(fd, &*name, Vec::new()).ok()?;
            ListedNode::Symlink(target.into_bytes())
        }
        _ => ListedNode::Other,
    };
    Some(ListedEntry {
        name,
        meta: Meta::from(&stat),
        node,
    })
}
