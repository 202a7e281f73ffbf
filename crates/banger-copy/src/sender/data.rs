//! The data of files: without their holes, and from where the receiver has it already.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{SeekFrom, Stat, fstat, seek};
use rustix::io::{Errno, pread};
use sha2::{Digest as _, Sha256};

use super::{PIECE, RESUMABLE, Sender};
use crate::connection::{Connection, CopyError};
use crate::frame::{Frame, Head, Meta, Node};
use crate::path::RelativePath;
use crate::{NoWatch, Watch};

impl Sender<'_> {
    /// Sends an open file.
    pub(super) fn send_file(
        &mut self,
        file: &OwnedFd,
        path: &RelativePath,
        stat: &Stat,
    ) -> Result<(), CopyError> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.watch.begin(path, size);
        let resumable = size >= RESUMABLE;
        let node = Node::File {
            size,
            linkable: stat.st_nlink > 1,
            resumable,
        };
        self.send(&Frame::Entry(Head {
            path: path.clone(),
            meta: Meta::from(stat),
            node,
        }))?;
        let start = if resumable {
            self.resume(file, size)?
        } else {
            0
        };
        match self.send_data(file, start, size)? {
            Ok(end) => {
                self.report.files += 1;
                self.report.bytes += end;
                let after = fstat(file).ok();
                let time = |it: &Stat| (it.st_size, it.st_mtime, it.st_mtime_nsec);
                if after.is_some_and(|after| time(&after) != time(stat)) {
                    self.report.changed += 1;
                }
                self.send(&Frame::FileEnd(end))
            }
            Err(cause) => {
                self.report.problem(path, &cause.to_string());
                self.send(&Frame::FileGone)
            }
        }
    }

    /// Asks what the receiver has of the file, and returns where the rest begins.
    fn resume(&mut self, file: &OwnedFd, size: u64) -> Result<u64, CopyError> {
        self.connection.flush()?;
        let frame = self.connection.expect()?;
        let Frame::Have(there, digest) = frame else {
            return Err(Connection::stopped_by(&frame));
        };
        let is_same = (1..=size).contains(&there)
            && digest_of(file, there, self.watch).is_ok_and(|ours| ours == digest);
        let start = if is_same { there } else { 0 };
        self.report.resumed += start;
        self.send(&Frame::From(start))?;
        Ok(start)
    }

    /// Sends the data from `start` on; returns the file's end.
    fn send_data(
        &mut self,
        file: &OwnedFd,
        start: u64,
        size: u64,
    ) -> Result<Result<u64, Errno>, CopyError> {
        // Files of /proc have no size.
        let limit = if size == 0 { u64::MAX } else { size };
        let mut offset = start;
        while offset < limit {
            let (begin, end) = match next_data(file, offset, limit) {
                Ok(Some(found)) => found,
                // A hole up to the end.
                Ok(None) => {
                    self.watch.advance(limit - offset);
                    return Ok(Ok(limit));
                }
                Err(cause) => return Ok(Err(cause)),
            };
            self.watch.advance(begin - offset);
            offset = begin;
            while offset < end {
                let wanted = usize::try_from(end - offset).unwrap_or(PIECE).min(PIECE);
                let count = match pread(file, &mut self.piece[..wanted], offset) {
                    Ok(0) => return Ok(Ok(offset)),
                    Ok(count) => count,
                    Err(Errno::INTR) => continue,
                    Err(cause) => return Ok(Err(cause)),
                };
                let piece = self.piece[..count].to_vec();
                self.send(&Frame::Data(offset, piece))?;
                offset += count as u64;
                self.watch.advance(count as u64);
            }
        }
        Ok(Ok(offset))
    }
}

/// The next piece of a file that is no hole, from an offset on.
fn next_data(file: impl AsFd, offset: u64, limit: u64) -> Result<Option<(u64, u64)>, Errno> {
    if limit == u64::MAX {
        return Ok(Some((offset, limit)));
    }
    let begin = match seek(&file, SeekFrom::Data(offset)) {
        Ok(begin) if begin < limit => begin,
        Ok(_) | Err(Errno::NXIO) => return Ok(None),
        // The file system knows no holes.
        Err(_) => return Ok(Some((offset, limit))),
    };
    let end = seek(&file, SeekFrom::Hole(begin)).unwrap_or(limit);
    Ok(Some((begin, end.min(limit).max(begin + 1))))
}

/// The SHA-256 of a file's first bytes.
pub(crate) fn digest_of(
    file: impl AsFd,
    length: u64,
    watch: &mut dyn Watch,
) -> Result<[u8; 32], Errno> {
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE];
    let mut offset = 0;
    while offset < length {
        let wanted = usize::try_from(length - offset).unwrap_or(PIECE).min(PIECE);
        let count = match pread(&file, &mut piece[..wanted], offset) {
            Ok(0) => return Err(Errno::NODATA),
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(cause) => return Err(cause),
        };
        digest.update(&piece[..count]);
        offset += count as u64;
        watch.advance(count as u64);
    }
    Ok(digest.finalize().into())
}

/// The same, of a file that nobody watches.
pub(crate) fn quiet_digest_of(file: impl AsFd, length: u64) -> Result<[u8; 32], Errno> {
    digest_of(file, length, &mut NoWatch)
}
