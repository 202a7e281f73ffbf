//! Walks a tree: each level of directories that are open has its descriptor, and no symbolic link is followed.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};

use crate::path::RelativePath;

/// The most directories that lie within each other.
const DEEPEST: usize = 256;

/// What the walk comes to.
#[derive(Debug)]
pub enum Step {
    /// A directory, whose entries follow.
    Enter(RelativePath, Stat),
    /// Its entries have ended.
    Leave(RelativePath, Stat),
    /// Something else, in the directory that was entered last.
    Other(RelativePath, Stat),
    /// What could not be looked at, and why.
    Failed(RelativePath, String),
}

struct Level {
    directory: Dir,
    path: RelativePath,
    stat: Stat,
}

/// A walk below a directory.
pub struct Walk<F> {
    top: Option<Level>,
    levels: Vec<Level>,
    wanted: F,
}

impl<F> std::fmt::Debug for Walk<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let depth = self.levels.len();
        f.debug_struct("Walk")
            .field("depth", &depth)
            .finish_non_exhaustive()
    }
}

impl<F: FnMut(&RelativePath, bool) -> bool> Walk<F> {
    /// Walks below this directory, whose own path is `path`, and leaves out what is not `wanted`: it gets a
    /// path, and whether that is a directory.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn new(directory: OwnedFd, path: RelativePath, wanted: F) -> rustix::io::Result<Self> {
        let stat = fstat(&directory)?;
        let directory = Dir::new(directory)?;
        let top = Some(Level {
            directory,
            path,
            stat,
        });
        Ok(Self {
            top,
            levels: Vec::new(),
            wanted,
        })
    }

    /// The directory that was entered last and not left.
    #[must_use]
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.levels.last()?.directory.fd().ok()
    }

    fn look(&mut self, name: &[u8]) -> Option<Step> {
        let level = self.levels.last()?;
        let Ok(path) = level.path.join(name) else {
            return Some(Step::Failed(
                level.path.clone(),
                "a path below it is longer than 4095 bytes".to_owned(),
            ));
        };
        let fd = level.directory.fd().ok()?;
        let stat = match statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // It has gone meanwhile.
            Err(rustix::io::Errno::NOENT) => return None,
            Err(cause) => return Some(Step::Failed(path, cause.to_string())),
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !(self.wanted)(&path, is_directory) {
            return None;
        }
        if !is_directory {
            return Some(Step::Other(path, stat));
        }
        if self.levels.len() >= DEEPEST {
            let reason = format!("it lies deeper than {DEEPEST} directories");
            return Some(Step::Failed(path, reason));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(fd, name, flags, Mode::empty()).and_then(Dir::new) {
            Ok(directory) => {
                self.levels.push(Level {
                    directory,
                    path: path.clone(),
                    stat,
                });
                Some(Step::Enter(path, stat))
            }
            Err(cause) => Some(Step::Failed(path, cause.to_string())),
        }
    }
}

impl<F: FnMut(&RelativePath, bool) -> bool> Iterator for Walk<F> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if let Some(level) = self.top.take() {
            let step = Step::Enter(level.path.clone(), level.stat);
            self.levels.push(level);
            return Some(step);
        }
        loop {
            let level = self.levels.last_mut()?;
            match level.directory.read() {
                Some(Ok(entry)) => {
                    let name = entry.file_name().to_bytes().to_vec();
                    if name == b"." || name == b".." {
                        continue;
                    }
                    if let Some(step) = self.look(&name) {
                        return Some(step);
                    }
                }
                Some(Err(cause)) => {
                    let level = self.levels.pop()?;
                    return Some(Step::Failed(level.path, cause.to_string()));
                }
                None => {
                    let level = self.levels.pop()?;
                    return Some(Step::Leave(level.path, level.stat));
                }
            }
        }
    }
}
