//! Unpacks an archive that may be hostile into an empty folder.
//!
//! A bundle consists of folders and regular files. Links, devices, paths that leave the folder,
//! and setuid modes are rejected. Each file is created with O_EXCL, so no entry can write through
//! an earlier one.

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use tar::{Archive, Entry, EntryType};

use super::Result;
use banger_api::Error;

use super::error::{failure, failure_caused_by};
use super::interrupt::InterruptSignal;

/// The limits of an archive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The number of files and folders.
    pub(super) entries: u64,
    /// The sum of all file sizes, holes included, in bytes.
    pub(super) bytes: u64,
}

/// A bundle has about 1,400 files and 1.2 GiB.
pub(super) const LIMITS: Limits = Limits {
    entries: 50_000,
    bytes: 32 << 30,
};

/// The longest path within an archive, in bytes.
const LONGEST_PATH: usize = 1024;

/// The deepest nesting of folders.
const DEEPEST: usize = 32;

/// The size in bytes of one write, or of one hole.
const CHUNK: usize = 1 << 16;

/// Unpacks a `.tar.gz` into `folder`, which must be empty.
pub(super) fn unpack(
    archive: &Path,
    folder: &Path,
    limits: Limits,
    interrupt: &InterruptSignal,
) -> Result<()> {
    let file = File::open(archive)
        .map_err(|cause| failure_caused_by(format!("read `{}`", archive.display()), cause))?;
    let mut unpacker = Unpacker {
        folder,
        left: limits,
        limits,
        interrupt,
    };
    let mut archive = Archive::new(GzDecoder::new(io::BufReader::new(file)));
    // Raw: the extension for long names would be read into memory, whatever its size.
    let entries = archive
        .entries()
        .map_err(|cause| unreadable(&cause))?
        .raw(true);
    let mut is_empty = true;
    for entry in entries {
        interrupt.check()?;
        unpacker.extract(&mut entry.map_err(|cause| unreadable(&cause))?)?;
        is_empty = false;
    }
    if is_empty {
        return Err(failure("the archive is empty"));
    }
    Ok(())
}

struct Unpacker<'a> {
    folder: &'a Path,
    left: Limits,
    limits: Limits,
    interrupt: &'a InterruptSignal,
}

impl Unpacker<'_> {
    fn extract(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<()> {
        self.left.entries = self.left.entries.checked_sub(1).ok_or_else(|| {
            failure(format!(
                "the archive has more than {} files",
                self.limits.entries
            ))
        })?;
        let name = name(entry)?;
        let rejected = |why: &str| {
            let name = name.display().to_string();
            failure(format!("the archive's `{}` {why}", name.escape_default()))
        };
        let mode = entry.header().mode().map_err(|cause| unreadable(&cause))?;
        if mode & 0o7000 != 0 {
            return Err(rejected("is setuid, setgid or sticky"));
        }
        let kind = entry.header().entry_type();
        let Some(within) = within(&name).map_err(rejected)? else {
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
                self.write(entry, &path, mode, &rejected)
            }
            EntryType::Symlink | EntryType::Link => Err(rejected("is a link; a bundle has none")),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                Err(rejected("is a device or a pipe"))
            }
            _ => Err(rejected("has an unsupported type of tar entry").hint(FORMAT)),
        }
    }

    fn write(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        path: &Path,
        mode: u32,
        rejected: &dyn Fn(&str) -> Error,
    ) -> Result<()> {
        let size = entry.header().size().map_err(|cause| unreadable(&cause))?;
        self.left.bytes = self.left.bytes.checked_sub(size).ok_or_else(|| {
            failure(format!(
                "the archive unpacks to more than {} GiB",
                self.limits.bytes >> 30
            ))
        })?;
        let unwritten = |cause| failure_caused_by(format!("write `{}`", path.display()), cause);
        let mut file = match File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
        {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                return Err(rejected("is a duplicate"));
            }
            Err(cause) => return Err(unwritten(cause)),
        };
        let mut chunk = vec![0; CHUNK];
        let mut left = size;
        while left > 0 {
            self.interrupt.check()?;
            let count = CHUNK.min(usize::try_from(left).unwrap_or(CHUNK));
            let chunk = &mut chunk[..count];
            entry
                .read_exact(chunk)
                .map_err(|cause| unreadable(&cause))?;
            let written = if chunk.iter().all(|it| *it == 0) {
                file.seek_relative(count as i64)
            } else {
                file.write_all(chunk)
            };
            written.map_err(unwritten)?;
            left -= count as u64;
        }
        // Regardless of the umask.
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        file.set_len(size)
            .and_then(|()| file.set_permissions(permissions))
            .map_err(unwritten)
    }
}

/// The command that makes an archive in the supported format.
const FORMAT: &str = "pack it with `banger bundle package`, or with GNU tar: tar --format=ustar -czf FILE -C FOLDER .";

/// The path of an entry, as the archive has it.
fn name(entry: &Entry<'_, impl Read>) -> Result<PathBuf> {
    let header = entry.header();
    let bytes = header.path_bytes();
    let name = std::str::from_utf8(&bytes)
        .map_err(|_| failure("the archive has a name that is not UTF-8"))?;
    Ok(PathBuf::from(name))
}

/// The path relative to the folder; `None` for the folder itself.
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
        .map_err(|cause| failure_caused_by(format!("make `{}`", path.display()), cause))
}

/// The archive cannot be read.
fn unreadable(cause: &io::Error) -> Error {
    let why = match cause.kind() {
        io::ErrorKind::UnexpectedEof => "unexpected end".to_owned(),
        _ => cause.to_string(),
    };
    failure(format!("the archive is damaged, or not a `.tar.gz`: {why}"))
        .hint("package a bundle: banger bundle package")
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
