//! Symbolic and hard links. None of them is followed.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, chownat, linkat, symlinkat, utimensat};
use rustix::io::Errno;

use super::Receiver;
use super::file::{replace, times};
use crate::connection::CopyError;
use crate::frame::Meta;
use crate::path::RelativePath;

impl Receiver<'_> {
    pub(super) fn make_symlink(
        &mut self,
        path: &RelativePath,
        directory: &OwnedFd,
        name: &[u8],
        target: &[u8],
        meta: &Meta,
    ) -> Result<(), CopyError> {
        if name.is_empty() {
            return self.fail(path, Errno::ISDIR);
        }
        let keep = self.keep();
        let made = replace(directory.as_fd(), name, |new| {
            symlinkat(target, directory, new)?;
            if let Some((user, group)) = keep.owner(meta) {
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                chownat(directory, new, Some(user), Some(group), flags)?;
            }
            // Some file systems have no times of links.
            let _ = utimensat(directory, new, &times(meta), AtFlags::SYMLINK_NOFOLLOW);
            Ok(())
        });
        match made {
            Ok(()) => self.report.links += 1,
            Err(cause) => self.fail(path, cause)?,
        }
        Ok(())
    }

    /// A further name of a file of this copy, and of no other.
    pub(super) fn link(
        &mut self,
        path: &RelativePath,
        source: u32,
        to: &RelativePath,
    ) -> Result<(), CopyError> {
        if self.is_within_failed(path) {
            return Ok(());
        }
        let to = self.full(source, to)?;
        let Some(to) = to.filter(|to| self.linkable.contains(to)) else {
            self.report
                .problem(path, "the file that it is a link to was not copied");
            return Ok(());
        };
        let made = match (self.locate_full(&to)?, self.locate(path)?) {
            (Ok((from, old)), Ok((directory, name))) if !name.is_empty() => {
                replace(directory.as_fd(), &name, |new| {
                    linkat(&from, &*old, &directory, new, AtFlags::empty())
                })
            }
            (Err(cause), _) | (_, Err(cause)) => Err(cause),
            _ => Err(Errno::ISDIR),
        };
        match made {
            Ok(()) => self.report.links += 1,
            Err(cause) => self.fail(path, cause)?,
        }
        Ok(())
    }
}
