//! `image import`: creates an image from an untrusted root file system.
//!
//! ```text
//! the user's file ─► image-work/<name>.<number> ─► its digest, a look inside ─► images/<digest>/ ─► its name
//!                    a copy, or shared blocks                                    another name of it
//! ```
//!
//! What banger has made itself is taken over instead: no disk is written twice. Of other files only the copy is examined, because the user may change the original meanwhile. A crash leaves at
//! most a copy in `image-work`, which the next daemon removes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use banger_api::{Code, Error, ImageName};
use banger_host::{FileOp, Host, Op};
use jiff::Timestamp;

use super::catalog::{Catalog, Source};
use super::ext4::{self, Ext4Tree};
use super::folder::{self, fresh, record, share, write};
use super::judge::judge;
use super::names::NamedImage;
use super::{bundle, source};
use crate::error::{During, Result};

/// A request to import.
#[derive(Debug, Clone)]
pub struct Import {
    /// The name of the image.
    pub name: ImageName,
    /// The absolute path of an ext4 file system.
    pub path: PathBuf,
    /// Its origin, for a person.
    pub origin: String,
    /// When.
    pub at: Timestamp,
    /// Whether the file was made for this image alone: it becomes the image, and its path goes.
    pub takes: bool,
    /// The digest of the kernel that its VMs start with, which somebody keeps; the bundle's of now
    /// otherwise.
    pub kernel: Option<String>,
}

/// A copy under examination, removed when dropped.
struct WorkFile<'h> {
    path: PathBuf,
    host: &'h dyn Host,
}

impl Drop for WorkFile<'_> {
    fn drop(&mut self) {
        let path = self.path.clone();
        // If this fails, the next daemon removes it.
        let _ = self.host.change(&Op::File(FileOp::RemoveFile { path }));
    }
}

impl Catalog {
    /// Refuses a name that is taken.
    ///
    /// # Errors
    /// `conflict`, or when the names cannot be read.
    pub fn admit_name(&self, name: &ImageName, host: &dyn Host) -> Result<()> {
        self.names.refuse_taken(name, host)
    }

    /// Creates an image from an ext4 file system.
    ///
    /// # Errors
    /// `conflict` if the name is taken; `invalid` if the file is not an ext4 file system or cannot
    /// boot; or a failure to write. Nothing remains after an error.
    pub fn import(&self, wanted: &Import, host: &dyn Host) -> Result<()> {
        let Import { name, path, .. } = wanted;
        self.admit_name(name, host)?;
        let bundled = self.current(ImageName::DEFAULT, host)?;
        let copy = self.copy(wanted, host)?;
        let root = match &self.source {
            Source::Bundle(..) => {
                look(&copy.path, path)?;
                bundle::sha256(&copy.path)?
            }
            Source::Simulated(_) => source::digest(&["root", &path.to_string_lossy()]),
        };
        let image = self.layout.image(&root);
        let importing = self.lock();
        if folder::is_missing(&image, host)? {
            fresh(&image, host)?;
            let (from, to) = (copy.path.clone(), image.root());
            host.change(&Op::File(FileOp::LinkFile { from, to }))
                .during("put it in place")?;
            record(
                &image,
                &serde_json::json!({ "origin": wanted.origin }),
                host,
            )?;
        }
        let named = NamedImage {
            root,
            kernel: (wanted.kernel.clone()).unwrap_or_else(|| bundled.images().kernel.clone()),
            origin: wanted.origin.clone(),
            created: wanted.at,
        };
        self.names.put(name, named, host)?;
        drop(importing);
        if wanted.takes {
            let path = path.clone();
            // Nobody writes the image through its old name. What is left of that goes with its folder.
            let left = host.change(&Op::File(FileOp::RemoveFile { path }));
            left.during("remove the former name of the image")?;
        }
        Ok(())
    }

    /// Removes leftovers of interrupted imports. No import may be running.
    ///
    /// # Errors
    /// If something remains.
    pub fn remove_unfinished(&self, host: &dyn Host) -> Result<()> {
        let path = self.layout.image_work();
        host.change(&Op::File(FileOp::RemoveDirectory { path }))
            .during("remove the leftovers of an import")
            .map(drop)
    }

    fn copy<'h>(&self, wanted: &Import, host: &'h dyn Host) -> Result<WorkFile<'h>> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let above = self.layout.image_work();
        let copy = WorkFile {
            path: above.join(format!("{}.{number}", wanted.name)),
            host,
        };
        host.change(&Op::File(FileOp::MakeDirectory {
            path: above,
            mode: 0o700,
            owner: None,
        }))
        .during("make a folder to work in")?;
        match &self.source {
            Source::Bundle(..) => {
                check_source(&wanted.path)?;
                if !(wanted.takes && take(&wanted.path, &copy.path, host)?) {
                    share(&wanted.path, &copy.path, host)?;
                }
            }
            Source::Simulated(_) => write(copy.path.clone(), b"simulated".to_vec(), host)?,
        }
        Ok(copy)
    }
}

/// Makes `to` another name of a file, which is on the disk then. False if that cannot be, as on another
/// file system.
fn take(path: &Path, to: &Path, host: &dyn Host) -> Result<bool> {
    let found = path.symlink_metadata().and_then(|found| {
        let is_file = found.is_file();
        is_file.then(|| File::open(path)?.sync_all()).transpose()
    });
    let found = found.map_err(|cause| {
        let what = format!("`{}` cannot be flushed", path.display());
        Error::new(Code::Host, what).cause(cause.to_string())
    })?;
    let (from, to) = (path.to_owned(), to.to_owned());
    let link = Op::File(FileOp::LinkFile { from, to });
    Ok(found.is_some() && host.change(&link).is_ok())
}

/// Rejects anything but a file with an ext4 file system, before copying it.
fn check_source(path: &Path) -> Result<()> {
    let shown = path.display();
    let found = path.metadata().map_err(|cause| {
        let code = match cause.kind() {
            std::io::ErrorKind::NotFound => Code::NotFound,
            _ => Code::Host,
        };
        Error::new(code, format!("`{shown}` cannot be read")).cause(cause.to_string())
    })?;
    if !found.is_file() {
        return Err(Error::new(
            Code::Invalid,
            format!("`{shown}` is not a file"),
        ));
    }
    length(path, path).map(drop)
}

/// The length of the file system in `path`; rejects a truncated one.
fn length(path: &Path, named: &Path) -> Result<u64> {
    let shown = named.display();
    let io_error = |cause: std::io::Error| {
        Error::new(Code::Host, format!("`{shown}` cannot be read")).cause(cause.to_string())
    };
    let file = File::open(path).map_err(io_error)?;
    let length = ext4::length_at(&file, 0).map_err(io_error)?;
    let Some(length) = length else {
        return Err(Error::new(
            Code::Invalid,
            format!("`{shown}` is not an ext4 file system"),
        )
        .hint("for archives and disks with partitions: banger image import SOURCE --name NAME"));
    };
    let there = file.metadata().map_err(io_error)?.len();
    if there < length {
        return Err(Error::new(
            Code::Invalid,
            format!(
                "`{shown}` is truncated: its file system has {length} bytes, and the file {there}"
            ),
        ));
    }
    Ok(length)
}

/// Rejects a root file system that cannot boot.
fn look(copy: &Path, named: &Path) -> Result<()> {
    let looked = length(copy, named).and_then(|_| judge(&Ext4Tree::open(copy)?));
    looked.during(format!("examine `{}`", named.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use banger_host::Linux;

    use super::*;

    #[test]
    fn a_file_is_taken_as_it_is_but_no_link_to_one() {
        let host = Linux::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("made"), "a disk").unwrap();
        assert!(take(&path("made"), &path("taken"), &host).unwrap());
        let number = |name: &str| path(name).metadata().unwrap().ino();
        assert_eq!(number("made"), number("taken"), "it was written again");
        std::os::unix::fs::symlink(path("made"), path("link")).unwrap();
        assert!(!take(&path("link"), &path("other"), &host).unwrap());
        assert!(!path("other").exists());
    }
}
