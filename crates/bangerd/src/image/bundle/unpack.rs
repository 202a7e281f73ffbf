//! Unpacks an archive that may be hostile, into a new folder of ours.
//!
//! A bundle is folders and plain files, so nothing else is taken: no link, no device, no path that
//! leaves, no mode that gives rights away. Each file is new, so nothing is written through what
//! the archive brought before.

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use tar::{Archive, Entry, EntryType};

use super::interruption::Interruption;
use super::{BundleError, Result};

/// The most that is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How many files and folders.
    pub(super) entries: u64,
    /// The size of all files together, holes too, in bytes.
    pub(super) bytes: u64,
}

/// A bundle has some 1,400 files, and 1.2 GiB.
pub(super) const LIMITS: Limits = Limits {
    entries: 50_000,
    bytes: 32 << 30,
};

/// The longest path within an archive, in bytes.
const LONGEST_PATH: usize = 1024;

/// How deep folders are nested.
const DEEPEST: usize = 32;

/// What is written, or left out as a hole, at once.
const PIECE: usize = 1 << 16;

/// Unpacks a `.tar.gz` into `folder`, which is empty.
pub(super) fn unpack(
    archive: &Path,
    folder: &Path,
    limits: Limits,
    interruption: &Interruption,
) -> Result<()> {
    let file = File::open(archive)
        .map_err(|cause| BundleError::because(format!("read `{}`", archive.display()), cause))?;
    let mut unpacking = Unpacking {
        folder,
        left: limits,
        limits,
        interruption,
    };
    let mut archive = Archive::new(GzDecoder::new(io::BufReader::new(file)));
    // Raw: what stands for a long name would be read into memory, however long it is.
    let entries = archive.entries().map_err(|cause| broken(&cause))?.raw(true);
    let mut is_empty = true;
    for entry in entries {
        interruption.check()?;
        unpacking.take(&mut entry.map_err(|cause| broken(&cause))?)?;
        is_empty = false;
    }
    if is_empty {
        return Err(BundleError::new("the archive is empty"));
    }
    Ok(())
}

struct Unpacking<'a> {
    folder: &'a Path,
    left: Limits,
    limits: Limits,
    interruption: &'a Interruption,
}

impl Unpacking<'_> {
    fn take(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<()> {
        self.left.entries = self.left.entries.checked_sub(1).ok_or_else(|| {
            BundleError::new(format!(
                "the archive has more than {} files",
                self.limits.entries
            ))
        })?;
        let name = name(entry)?;
        let refused = |why: &str| {
            let name = name.display().to_string();
            BundleError::new(format!("the archive's `{}` {why}", name.escape_default()))
        };
        let mode = entry.header().mode().map_err(|cause| broken(&cause))?;
        if mode & 0o7000 != 0 {
            return Err(refused("is setuid, setgid or sticky"));
        }
        let kind = entry.header().entry_type();
        let Some(within) = within(&name).map_err(refused)? else {
            return Ok(());
        };
        let path = self.folder.join(within);
        match kind {
            EntryType::Directory => make_folder(&path),
            EntryType::Regular | EntryType::Continuous => {
                if let Some(above) = path.parent() {
                    make_folder(above)?;
                }
                let mode = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
                self.write(entry, &path, mode, &refused)
            }
            EntryType::Symlink | EntryType::Link => {
                Err(refused("is a link, and a bundle has none"))
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                Err(refused("is a device or a pipe"))
            }
            _ => Err(refused("is in a format of tar that is not read").hint(FORMAT)),
        }
    }

    fn write(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        path: &Path,
        mode: u32,
        refused: &dyn Fn(&str) -> BundleError,
    ) -> Result<()> {
        let size = entry.header().size().map_err(|cause| broken(&cause))?;
        self.left.bytes = self.left.bytes.checked_sub(size).ok_or_else(|| {
            BundleError::new(format!(
                "the archive unpacks to more than {} GiB",
                self.limits.bytes >> 30
            ))
        })?;
        let unwritten = |cause| BundleError::because(format!("write `{}`", path.display()), cause);
        let mut file = match File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
        {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                return Err(refused("is there twice"));
            }
            Err(cause) => return Err(unwritten(cause)),
        };
        let mut piece = vec![0; PIECE];
        let mut left = size;
        while left > 0 {
            self.interruption.check()?;
            let wanted = PIECE.min(usize::try_from(left).unwrap_or(PIECE));
            let piece = &mut piece[..wanted];
            entry.read_exact(piece).map_err(|cause| broken(&cause))?;
            let written = if piece.iter().all(|it| *it == 0) {
                file.seek_relative(wanted as i64)
            } else {
                file.write_all(piece)
            };
            written.map_err(unwritten)?;
            left -= wanted as u64;
        }
        // The umask of who unpacks is no part of a bundle.
        let rights = std::os::unix::fs::PermissionsExt::from_mode(mode);
        file.set_len(size)
            .and_then(|()| file.set_permissions(rights))
            .map_err(unwritten)
    }
}

const FORMAT: &str = "pack it with `banger bundle package`, or with GNU tar: tar --format=ustar -czf FILE -C FOLDER .";

/// What an entry is called.
fn name(entry: &Entry<'_, impl Read>) -> Result<PathBuf> {
    let header = entry.header();
    let bytes = header.path_bytes();
    let name = std::str::from_utf8(&bytes)
        .map_err(|_| BundleError::new("the archive has a name that is not UTF-8"))?;
    Ok(PathBuf::from(name))
}

/// The path below the folder; none for the folder itself.
fn within(name: &Path) -> std::result::Result<Option<PathBuf>, &'static str> {
    let mut path = PathBuf::new();
    for component in name.components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir => return Err("has `..` in its path"),
            Component::RootDir | Component::Prefix(_) => return Err("has an absolute path"),
        }
    }
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.len() > LONGEST_PATH || path.components().count() > DEEPEST {
        return Err("has too long a path");
    }
    if bytes.iter().any(u8::is_ascii_control) {
        return Err("has control characters in its path");
    }
    Ok((!bytes.is_empty()).then_some(path))
}

fn make_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(|cause| BundleError::because(format!("make `{}`", path.display()), cause))
}

/// What cannot be read of an archive.
fn broken(cause: &io::Error) -> BundleError {
    let why = match cause.kind() {
        io::ErrorKind::UnexpectedEof => "it ends in the middle".to_owned(),
        _ => cause.to_string(),
    };
    BundleError::new(format!("the archive is damaged, or none: {why}"))
        .hint("a bundle is packed as `.tar.gz`: banger bundle package")
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
