//! Where files go: the words of the user, as `cp` has them.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fstat};

/// A destination, and the name of each source.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// The destination.
    pub path: PathBuf,
    /// The name that each source gets in a directory; none for a source whose contents are meant.
    pub names: Vec<Option<OsString>>,
    /// The destination has to be a directory that is there.
    pub into: bool,
    /// In a sync that removes: directories that are neither the destination nor in it.
    pub spared: Vec<PathBuf>,
}

/// The directory that everything is made in, and the name of the top there.
#[derive(Debug)]
pub(super) struct Destination {
    /// Nothing outside of it is opened.
    pub(super) root: OwnedFd,
    /// The first name of the path of each source; none where the top is the root itself.
    pub(super) names: Vec<Option<Vec<u8>>>,
}

impl Target {
    /// Finds the destination of a source that is a directory, or is none.
    pub(super) fn destination(&self, is_directory: bool) -> Result<Destination, String> {
        let path = &self.path;
        let shown = path.display();
        let found = std::fs::metadata(path);
        match found {
            Ok(found) if found.is_dir() => self.within(path),
            Ok(_) if self.into || has_slash(path) => Err(format!("`{shown}` is not a directory")),
            Ok(_) if is_directory => Err(format!("`{shown}` is a file, and a directory comes")),
            Ok(_) => {
                // What a link of the user's own leads to is meant.
                let real = std::fs::canonicalize(path).map_err(|cause| describe(path, &cause))?;
                self.beside(&real)
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                if self.into || has_slash(path) && !is_directory {
                    return Err(format!("there is no directory `{shown}`"));
                }
                self.beside(path)
            }
            Err(cause) => Err(describe(path, &cause)),
        }
    }

    /// Requires that the path is a directory, or can be one; as [`Target::root`].
    pub(crate) fn judge_root(&self, make: bool) -> Result<(), String> {
        self.root(make).map(drop)
    }

    /// The directory at the path itself. It is made, with those that it lies in, if it is not there
    /// and `make` is set.
    pub(super) fn root(&self, make: bool) -> Result<Option<Destination>, String> {
        let path = &self.path;
        let shown = path.display();
        let destination = match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => self.within(path)?,
            Ok(_) => return Err(format!("`{shown}` is not a directory")),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && make => {
                std::fs::create_dir_all(path).map_err(|cause| describe(path, &cause))?;
                self.within(path)?
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(describe(path, &cause)),
        };
        self.spare(&destination)?;
        Ok(Some(destination))
    }

    /// Requires that the directory which was opened, by whatever name, has nothing in it that is spared.
    fn spare(&self, destination: &Destination) -> Result<(), String> {
        let describe = |cause: io::Error| describe(&self.path, &cause);
        let opened = fstat(&destination.root).map_err(|cause| describe(cause.into()))?;
        for spared in &self.spared {
            let real = match std::fs::canonicalize(spared) {
                Ok(real) => real,
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                Err(cause) => return Err(describe(cause)),
            };
            for above in real.ancestors() {
                let stat = rustix::fs::stat(above).map_err(|cause| describe(cause.into()))?;
                if (stat.st_dev, stat.st_ino) == (opened.st_dev, opened.st_ino) {
                    let means = if above == self.path {
                        String::new()
                    } else {
                        format!(" is `{}`", above.display())
                    };
                    return Err(format!(
                        "`{}`{means}: --delete needs a directory of its own, not `/`, a home, or one with a home in it",
                        self.path.display(),
                    ));
                }
            }
        }
        Ok(())
    }

    /// In the directory at `path`, under the sources' own names.
    fn within(&self, path: &Path) -> Result<Destination, String> {
        let root = open_directory(path).map_err(|cause| describe(path, &cause))?;
        let bytes = |name: &Option<OsString>| Some(name.as_ref()?.as_bytes().to_vec());
        let names = self.names.iter().map(bytes).collect();
        Ok(Destination { root, names })
    }

    /// At `path` itself.
    fn beside(&self, path: &Path) -> Result<Destination, String> {
        let Some(name) = path.file_name() else {
            return Err(format!("`{}` has no name", path.display()));
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let root = open_directory(parent).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => format!("there is no directory `{}`", parent.display()),
            _ => describe(parent, &cause),
        })?;
        let name = OsString::from(name).into_vec();
        Ok(Destination {
            root,
            names: vec![Some(name); self.names.len()],
        })
    }
}

fn has_slash(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b"/")
}

fn describe(path: &Path, cause: &io::Error) -> String {
    format!("`{}`: {cause}", path.display())
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}
