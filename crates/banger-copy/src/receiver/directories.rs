//! Directories: each gets its permissions and time when everything in it is there.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags, mkdirat, openat2};
use rustix::io::Errno;

use super::file::CONFINED;
use super::{MOST_PATHS, Receiver, size_of_path};
use crate::connection::CopyError;
use crate::frame::Meta;
use crate::path::RelativePath;
use crate::sender::look;

impl Receiver<'_> {
    pub(super) fn make_directory(
        &mut self,
        path: &RelativePath,
        directory: &OwnedFd,
        name: &[u8],
        meta: Meta,
    ) -> Result<(), CopyError> {
        // Open for its owner alone until it is complete.
        let made = if name.is_empty() {
            Err(Errno::EXIST)
        } else {
            mkdirat(directory, name, Mode::RWXU)
        };
        match made {
            Ok(()) => self.report.directories += 1,
            Err(Errno::EXIST) => {
                let there = if name.is_empty() { b"." } else { name };
                let is_directory = look(directory, there).is_ok_and(|stat| {
                    stat.is_some_and(|it| {
                        FileType::from_raw_mode(it.st_mode) == FileType::Directory
                    })
                });
                if !is_directory {
                    self.failed = Some(path.clone());
                    self.report.problem(path, "no directory is in its place");
                } else if let Some(full) = self.full(self.source, path)?
                    && let Some(known) = self.unfinished.get_mut(&full)
                {
                    // An archive may name a directory after what is in it.
                    *known = meta;
                }
                return Ok(());
            }
            Err(cause) => {
                self.failed = Some(path.clone());
                return self.fail(path, cause);
            }
        }
        let Some(full) = self.full(self.source, path)? else {
            return Ok(());
        };
        self.paths_size += size_of_path(&full);
        if self.paths_size > MOST_PATHS {
            self.finish_directory(&full, &meta);
        } else {
            self.unfinished.insert(full, meta);
        }
        Ok(())
    }

    pub(super) fn finish_directories(&mut self) {
        // What lies deeper comes first: a directory may forbid to enter it.
        for (path, meta) in std::mem::take(&mut self.unfinished).into_iter().rev() {
            self.finish_directory(&path, &meta);
        }
    }

    pub(super) fn finish_directory(&mut self, full: &RelativePath, meta: &Meta) {
        let Some(destination) = &self.destination else {
            return;
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let below: &[u8] = if full.is_top() { b"." } else { full.as_bytes() };
        let done = openat2(&destination.root, below, flags, Mode::empty(), CONFINED)
            .and_then(|fd| self.keep().apply(fd, meta));
        if let Err(cause) = done {
            self.report.problem(full, &cause.to_string());
        }
    }
}
