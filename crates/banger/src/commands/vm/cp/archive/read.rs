//! An archive that comes: each entry becomes an entry of the copy. The guest confines what it
//! makes.

use std::collections::HashSet;
use std::io::{self, Read};

use banger_copy::{Frame, Head, Meta, Node, RelativePath, Sender, Watch as _};
use tar::{Archive, Entry, EntryType};

use super::super::bar::Bar;
use super::names::{below, shown};
use super::{Broken, PIECE};

/// The most directories of an archive, whose names are kept in memory.
const MOST_DIRECTORIES: usize = 1 << 20;

/// The largest file that is believed, in bytes. A sparse one needs few bytes of an archive.
const LARGEST: u64 = 1 << 44;

/// Sends what is in the archive. Entries that are refused are in the sender's report, and so is the
/// reason why the archive was not read to its end.
pub(super) fn send(
    input: &mut impl Read,
    sender: &mut Sender<'_>,
    bar: &mut Bar,
) -> Result<(), Broken> {
    sender.begin_source(0)?;
    let mut archive = Archive::new(&mut *input);
    let mut sending = ArchiveSender {
        sender,
        bar,
        directories: HashSet::new(),
        piece: vec![0; PIECE],
    };
    for (number, entry) in archive.entries()?.enumerate() {
        let outcome = match entry {
            Ok(entry) => sending.entry(entry),
            Err(cause) => Err(Broken::Archive(cause)),
        };
        match outcome {
            Ok(()) => {}
            Err(Broken::Archive(cause)) if number > 0 => {
                let reason = format!("it ends by an error: {cause}");
                sending.sender.report().problem(&"the archive", &reason);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    // What pads the archive: its writer shall not fail on a closed pipe.
    io::copy(input, &mut io::sink())?;
    Ok(())
}

struct ArchiveSender<'a, 'b> {
    sender: &'a mut Sender<'b>,
    bar: &'a mut Bar,
    /// The directories that were sent.
    directories: HashSet<RelativePath>,
    piece: Vec<u8>,
}

impl ArchiveSender<'_, '_> {
    fn entry(&mut self, mut entry: Entry<'_, impl Read>) -> Result<(), Broken> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let name = entry.path_bytes().into_owned();
        let path = match below(&name) {
            Ok(path) => path,
            Err(reason) => return self.refuse(&name, reason),
        };
        let (meta, is_pax_sparse) = meta(&mut entry)?;
        if is_pax_sparse {
            let reason =
                "sparse files in the PAX format are not read: write them with tar --format=gnu";
            return self.refuse(&name, reason);
        }
        if !self.make_parents(&path)? {
            return self.refuse(&name, "the archive has too many directories");
        }
        match kind {
            EntryType::Directory => {
                self.directories.insert(path.clone());
                self.sender.report().directories += 1;
                self.send(path, meta, Node::Directory)
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                if target.is_empty() || target.contains(&0) || target.len() > 4095 {
                    return self.refuse(&name, "the link has no target");
                }
                self.sender.report().links += 1;
                self.send(path, meta, Node::Symlink { target })
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                match below(&target) {
                    Ok(target) => Ok(self.sender.send(&Frame::HardLink(path, 0, target))?),
                    Err(reason) => self.refuse(&name, &format!("a hard link: {reason}")),
                }
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(&mut entry, path, meta)
            }
            _ => {
                self.sender.report().skipped += 1;
                Ok(())
            }
        }
    }

    fn refuse(&mut self, name: &[u8], reason: &str) -> Result<(), Broken> {
        self.sender.report().problem(&shown(name), reason);
        Ok(())
    }

    fn send(&mut self, path: RelativePath, meta: Meta, node: Node) -> Result<(), Broken> {
        Ok(self.sender.send(&Frame::Entry(Head { path, meta, node }))?)
    }

    /// Makes the directories that the archive leaves out; whether there is room for their names.
    fn make_parents(&mut self, path: &RelativePath) -> Result<bool, Broken> {
        let mut missing = Vec::new();
        let mut parent = path.split().0.to_vec();
        while !parent.is_empty() {
            let Ok(directory) = RelativePath::new(parent.clone()) else {
                break;
            };
            if self.directories.contains(&directory) {
                break;
            }
            parent = directory.split().0.to_vec();
            missing.push(directory);
        }
        if self.directories.len() + missing.len() > MOST_DIRECTORIES {
            return Ok(false);
        }
        let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |it| it.as_secs());
        let meta = Meta {
            mode: 0o755,
            seconds: i64::try_from(now).unwrap_or(0),
            ..Meta::default()
        };
        for directory in missing.into_iter().rev() {
            self.send(directory.clone(), meta, Node::Directory)?;
            self.directories.insert(directory);
        }
        Ok(true)
    }

    fn file(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        path: RelativePath,
        meta: Meta,
    ) -> Result<(), Broken> {
        let size = entry.size();
        if size > LARGEST {
            return self.refuse(path.as_bytes(), "it is larger than 16 TiB");
        }
        self.bar.begin(&path, size);
        let node = Node::File {
            size,
            linkable: true,
            resumable: false,
        };
        self.send(path, meta, node)?;
        match self.data(entry, size) {
            Ok(()) => {
                self.sender.report().files += 1;
                self.sender.report().bytes += size;
                Ok(self.sender.send(&Frame::FileEnd(size))?)
            }
            Err(error) => {
                if matches!(error, Broken::Archive(_)) {
                    self.sender.send(&Frame::FileGone)?;
                }
                Err(error)
            }
        }
    }

    /// Sends the data of a file, without the pieces that are zeros: those become holes.
    fn data(&mut self, entry: &mut Entry<'_, impl Read>, size: u64) -> Result<(), Broken> {
        let mut offset = 0;
        while offset < size {
            let wanted = usize::try_from(size - offset).unwrap_or(PIECE).min(PIECE);
            let piece = &mut self.piece[..wanted];
            entry.read_exact(piece)?;
            if piece.iter().any(|byte| *byte != 0) {
                self.sender.send(&Frame::Data(offset, piece.to_vec()))?;
            }
            offset += wanted as u64;
            self.bar.advance(wanted as u64);
        }
        Ok(())
    }
}

/// What an entry has beside its content, and whether it is a sparse file in the format of PAX.
fn meta(entry: &mut Entry<'_, impl Read>) -> Result<(Meta, bool), Broken> {
    let (mut time, mut is_sparse) = (None, false);
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        match extension.key_bytes() {
            b"mtime" => time = extension.value().ok().and_then(seconds),
            key => is_sparse |= key.starts_with(b"GNU.sparse."),
        }
    }
    let header = entry.header();
    let number = |it: io::Result<u64>| it.ok().and_then(|it| u32::try_from(it).ok());
    let whole = || i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0);
    let (seconds, nanos) = time.unwrap_or_else(|| (whole(), 0));
    let meta = Meta {
        mode: header.mode()? & 0o7777,
        seconds,
        nanos,
        user: number(header.uid()).unwrap_or(u32::MAX),
        group: number(header.gid()).unwrap_or(u32::MAX),
    };
    Ok((meta, is_sparse))
}

/// A time as PAX writes it: seconds, with a fraction.
fn seconds(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let (seconds, nanos): (i64, u32) = (whole.parse().ok()?, digits.parse().ok()?);
    // The fraction of a time before 1970 counts downwards.
    if whole.starts_with('-') && nanos > 0 {
        return Some((seconds - 1, 1_000_000_000 - nanos));
    }
    Some((seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_pax_have_fractions() {
        for (text, time) in [
            ("1700000000", Some((1_700_000_000, 0))),
            ("1700000000.5", Some((1_700_000_000, 500_000_000))),
            ("1.0000000019", Some((1, 1))),
            ("-1.25", Some((-2, 750_000_000))),
            ("soon", None),
            ("1.x", None),
        ] {
            assert_eq!(seconds(text), time, "{text}");
        }
    }
}
