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
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    /// An entry as a hostile tar has it: nothing is checked.
    struct Raw<'a> {
        name: &'a [u8],
        kind: EntryType,
        mode: u32,
        link: &'a [u8],
        content: &'a [u8],
    }

    const FILE: Raw<'static> = Raw {
        name: b"file",
        kind: EntryType::Regular,
        mode: 0o644,
        link: b"",
        content: b"content",
    };

    fn packed(entries: &[Raw<'_>]) -> Vec<u8> {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(gzip);
        for entry in entries {
            let mut header = tar::Header::new_gnu();
            let old = header.as_old_mut();
            old.name[..entry.name.len()].copy_from_slice(entry.name);
            old.linkname[..entry.link.len()].copy_from_slice(entry.link);
            header.set_entry_type(entry.kind);
            header.set_mode(entry.mode);
            header.set_size(entry.content.len() as u64);
            header.set_cksum();
            builder.append(&header, entry.content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn unpacked(archive: &[u8], limits: Limits) -> (tempfile::TempDir, Result<()>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive");
        fs::write(&path, archive).unwrap();
        let into = folder.path().join("into");
        fs::create_dir(&into).unwrap();
        let outcome = unpack(&path, &into, limits, &Interruption::default());
        (folder, outcome)
    }

    fn refusal(archive: &[u8], limits: Limits) -> String {
        let (folder, outcome) = unpacked(archive, limits);
        let names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names.len(), 2, "something is outside: {names:?}");
        outcome.unwrap_err().to_string()
    }

    #[test]
    fn folders_and_files_are_unpacked_with_rights_of_ours_and_holes() {
        let zeros = vec![0; 1 << 20];
        let archive = packed(&[
            Raw {
                name: b"./",
                kind: EntryType::Directory,
                content: b"",
                ..FILE
            },
            Raw {
                name: b"./deep/er/tool",
                mode: 0o700,
                ..FILE
            },
            Raw {
                name: b"disk",
                mode: 0o666,
                content: &zeros,
                ..FILE
            },
        ]);
        let (folder, outcome) = unpacked(&archive, LIMITS);
        outcome.unwrap();
        let into = folder.path().join("into");
        assert_eq!(fs::read(into.join("deep/er/tool")).unwrap(), b"content");
        let mode = |name: &str| into.join(name).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(
            (mode("deep/er/tool"), mode("disk"), mode("deep")),
            (0o755, 0o644, 0o755)
        );
        let disk = into.join("disk").metadata().unwrap();
        assert_eq!((disk.len(), disk.blocks()), (1 << 20, 0));
    }

    #[test]
    fn what_leaves_the_folder_or_is_no_file_is_refused() {
        let link = |name, kind, link| Raw {
            name,
            kind,
            link,
            content: b"",
            ..FILE
        };
        for (entry, told) in [
            (
                Raw {
                    name: b"/etc/cron.d/x",
                    ..FILE
                },
                "absolute path",
            ),
            (
                Raw {
                    name: b"../x",
                    ..FILE
                },
                "`..`",
            ),
            (
                Raw {
                    name: b"a/../../x",
                    ..FILE
                },
                "`..`",
            ),
            (
                Raw {
                    name: b"a\nb",
                    ..FILE
                },
                "control characters",
            ),
            (
                Raw {
                    name: b"\xff",
                    ..FILE
                },
                "not UTF-8",
            ),
            (link(b"a", EntryType::Symlink, b"/etc"), "is a link"),
            (link(b"a", EntryType::Symlink, b"b"), "is a link"),
            (link(b"a", EntryType::Link, b"/etc/shadow"), "is a link"),
            (link(b"a", EntryType::Char, b""), "a device"),
            (link(b"a", EntryType::Block, b""), "a device"),
            (link(b"a", EntryType::Fifo, b""), "a device"),
            (link(b"a", EntryType::GNUSparse, b""), "format of tar"),
            (
                Raw {
                    mode: 0o4755,
                    ..FILE
                },
                "setuid",
            ),
            (
                Raw {
                    mode: 0o2755,
                    ..FILE
                },
                "setuid",
            ),
            (
                Raw {
                    kind: EntryType::Directory,
                    mode: 0o1777,
                    content: b"",
                    ..FILE
                },
                "setuid",
            ),
        ] {
            let told_of = refusal(&packed(&[entry]), LIMITS);
            assert!(told_of.contains(told), "{told_of}");
        }
        let twice = refusal(&packed(&[FILE, FILE]), LIMITS);
        assert!(twice.contains("there twice"), "{twice}");
        let through = packed(&[
            link(b"a", EntryType::Symlink, b"/tmp"),
            Raw {
                name: b"a/x",
                ..FILE
            },
        ]);
        assert!(refusal(&through, LIMITS).contains("is a link"));
    }

    #[test]
    fn bombs_are_refused_before_they_burst() {
        let limits = Limits {
            entries: 3,
            bytes: 1 << 20,
        };
        let names: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
        let many: Vec<_> = names.into_iter().map(|name| Raw { name, ..FILE }).collect();
        assert!(refusal(&packed(&many), limits).contains("more than 3 files"));
        let large = vec![0; (1 << 20) + 1];
        let large = packed(&[Raw {
            content: &large,
            ..FILE
        }]);
        assert!(large.len() < 100_000);
        assert!(refusal(&large, limits).contains("unpacks to more than"));
        // A name that would be read into memory.
        let name = vec![b'a'; 1 << 20];
        let long = packed(&[Raw {
            kind: EntryType::GNULongName,
            content: &name,
            ..FILE
        }]);
        assert!(refusal(&long, LIMITS).contains("format of tar"));
        // A size that is a lie: there is less.
        let mut header = tar::Header::new_gnu();
        header.set_path("file").unwrap();
        header.set_mode(0o644);
        header.set_size(1 << 40);
        header.set_cksum();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(header.as_bytes()).unwrap();
        let lie = gzip.finish().unwrap();
        assert!(refusal(&lie, LIMITS).contains("unpacks to more than"));
    }

    #[test]
    fn what_is_no_archive_or_is_cut_off_is_told() {
        for archive in [&b"hello"[..], b"", &packed(&[FILE])[..60]] {
            let told = refusal(archive, LIMITS);
            assert!(told.contains("damaged, or none"), "{told}");
        }
        assert!(refusal(&packed(&[]), LIMITS).contains("is empty"));
    }

    #[test]
    fn an_interrupt_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive");
        fs::write(&path, packed(&[FILE])).unwrap();
        let into = folder.path().join("into");
        fs::create_dir(&into).unwrap();
        let interruption = Interruption::default();
        interruption.interrupt();
        let error = unpack(&path, &into, LIMITS, &interruption).unwrap_err();
        assert_eq!(error.to_string(), "interrupted");
    }
}
