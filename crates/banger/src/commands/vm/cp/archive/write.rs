//! An archive that goes out. What comes from the guest is hostile: its names are plain ones, and
//! nothing is written below a symbolic link that came, so that no program that unpacks it follows
//! one.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use banger_copy::{Connection, CopyError, Frame, Head, Meta, Node, RelativePath, Report, Watch};
use tar::{Builder, EntryType, Header};

use super::Broken;
use super::content::{Content, Ending};

/// The most memory for the paths of links and of what they lead to, in bytes.
const MOST_PATHS: usize = 64 << 20;

/// Writes what the guest sends as an archive, and answers.
pub(super) fn receive(
    connection: &mut Connection,
    output: &mut impl Write,
    names: Vec<Option<Vec<u8>>>,
    watch: &mut dyn Watch,
) -> Result<Report, Broken> {
    let mut writing = ArchiveWriter {
        builder: Builder::new(output),
        names,
        source: None,
        report: Report::default(),
        links: HashSet::new(),
        linkable: HashMap::new(),
        paths_size: 0,
        watch,
    };
    let theirs = loop {
        match connection.expect()? {
            Frame::End(json) => {
                break serde_json::from_slice::<Report>(&json)
                    .map_err(|_| CopyError::Broken("its report is not understood"))?;
            }
            frame => writing.take(connection, frame)?,
        }
    };
    writing.builder.finish()?;
    let mut report = writing.report;
    connection.send(&Frame::Answer(report.to_json()))?;
    connection.flush()?;
    report.add_troubles_of(&theirs);
    Ok(report)
}

struct ArchiveWriter<'a, W: Write> {
    builder: Builder<W>,
    names: Vec<Option<Vec<u8>>>,
    /// The source whose entries come.
    source: Option<usize>,
    report: Report,
    links: HashSet<RelativePath>,
    /// The files of the archive that hard links may lead to.
    linkable: HashMap<RelativePath, Meta>,
    paths_size: usize,
    watch: &'a mut dyn Watch,
}

impl<W: Write> ArchiveWriter<'_, W> {
    fn take(&mut self, connection: &mut Connection, frame: Frame) -> Result<(), Broken> {
        match frame {
            Frame::Source(number) => {
                let number = usize::try_from(number).ok();
                self.source = number.filter(|number| *number < self.names.len());
                let is_known = self.source.is_some();
                let unknown = CopyError::Broken("a source was not asked for");
                is_known.then_some(()).ok_or(unknown)?;
            }
            Frame::Total(files, bytes) => self.watch.total(files, bytes),
            Frame::Entry(head) => self.entry(connection, head)?,
            Frame::Leave(_) => {}
            Frame::HardLink(path, source, to) => {
                let source = usize::try_from(source).ok();
                let (path, to) = (self.full(self.source, &path)?, self.full(source, &to)?);
                self.may_have(&path)?;
                self.may_have(&to)?;
                let Some(meta) = self.linkable.get(&to).copied() else {
                    let reason = "the file that it is another name of is not in the archive";
                    self.report.problem(&path, reason);
                    return Ok(());
                };
                self.write_time(&meta)?;
                let mut header = header(&meta, EntryType::Link);
                self.builder
                    .append_link(&mut header, name(&path), name(&to))?;
                self.report.links += 1;
            }
            _ => return Err(CopyError::Broken("a frame came out of turn").into()),
        }
        Ok(())
    }

    /// The path of an entry in the archive.
    fn full(&self, source: Option<usize>, path: &RelativePath) -> Result<RelativePath, CopyError> {
        let top = source.and_then(|at| self.names.get(at));
        let top = top.ok_or(CopyError::Broken("a source was not asked for"))?;
        RelativePath::new(top.clone().unwrap_or_default())
            .and_then(|top| top.join(path.as_bytes()))
            .map_err(|_| CopyError::Broken("a path is too long"))
    }

    /// Requires that no symbolic link of this archive is at a path, or on the way to it.
    fn may_have(&self, path: &RelativePath) -> Result<(), CopyError> {
        if path.ancestors().any(|it| self.links.contains(it)) {
            return Err(CopyError::Broken("an entry lies behind a symbolic link"));
        }
        Ok(())
    }

    fn entry(&mut self, connection: &mut Connection, head: Head) -> Result<(), Broken> {
        let path = self.full(self.source, &head.path)?;
        self.may_have(&path)?;
        match head.node {
            Node::Directory => {
                self.write_time(&head.meta)?;
                let mut header = header(&head.meta, EntryType::Directory);
                let name = [path.as_bytes(), b"/"].concat();
                let name: &[u8] = if path.is_top() { b"./" } else { &name };
                let name = Path::new(OsStr::from_bytes(name));
                self.builder
                    .append_data(&mut header, name, std::io::empty())?;
                self.report.directories += 1;
                Ok(())
            }
            _ if path.is_top() => Err(CopyError::Broken("a file has no name").into()),
            Node::Symlink { target } => {
                self.keep(&path)?;
                self.write_time(&head.meta)?;
                let mut header = header(&head.meta, EntryType::Symlink);
                let target = Path::new(OsStr::from_bytes(&target));
                self.builder.append_link(&mut header, name(&path), target)?;
                self.links.insert(path);
                self.report.links += 1;
                Ok(())
            }
            Node::File {
                size,
                linkable,
                resumable,
            } => {
                self.watch.begin(&head.path, size);
                if resumable {
                    connection.send(&Frame::Have(0, [0; 32]))?;
                    connection.flush()?;
                    if connection.expect()? != Frame::From(0) {
                        return Err(
                            CopyError::Broken("a part of a file without its beginning").into()
                        );
                    }
                }
                let is_there = self.file(connection, &path, &head.meta, size)?;
                if is_there && linkable {
                    self.keep(&path)?;
                    self.linkable.insert(path, head.meta);
                }
                Ok(())
            }
        }
    }

    /// Counts the memory of a path that is kept.
    fn keep(&mut self, path: &RelativePath) -> Result<(), CopyError> {
        self.paths_size += path.as_bytes().len() + 64;
        let is_small = self.paths_size <= MOST_PATHS;
        let reason = CopyError::Broken("there are too many links");
        is_small.then_some(()).ok_or(reason)
    }

    /// Writes a file; whether it is in the archive.
    fn file(
        &mut self,
        connection: &mut Connection,
        path: &RelativePath,
        meta: &Meta,
        size: u64,
    ) -> Result<bool, Broken> {
        let mut content = Content::new(connection, size);
        let (size, ending) = if size == 0 {
            let (bytes, ending) = content.collect()?;
            let Some(bytes) = bytes else {
                self.report
                    .problem(path, "its size is not known, and more than 16 MiB");
                return Ok(false);
            };
            self.write_file(path, meta, bytes.len() as u64, &*bytes)?;
            (bytes.len() as u64, ending)
        } else {
            let written = self.write_file(path, meta, size, &mut content);
            // The reason of the connection says more than that of the archive.
            if content.broken.is_none() {
                written?;
            }
            (size, content.finish()?)
        };
        match ending {
            Ending::Gone => {
                let reason = "it could not be read to its end: the archive has zeros instead";
                self.report.problem(path, reason);
            }
            Ending::Whole(_) => {
                self.report.files += 1;
                self.report.bytes += size;
            }
        }
        Ok(true)
    }

    fn write_file(
        &mut self,
        path: &RelativePath,
        meta: &Meta,
        size: u64,
        content: impl Read,
    ) -> Result<(), Broken> {
        self.write_time(meta)?;
        let mut header = header(meta, EntryType::Regular);
        header.set_size(size);
        let watched = WatchedReader(content, &mut *self.watch);
        Ok(self.builder.append_data(&mut header, name(path), watched)?)
    }

    /// The time to the nanosecond, which the entry itself has no room for.
    fn write_time(&mut self, meta: &Meta) -> Result<(), Broken> {
        if meta.nanos == 0 && meta.seconds >= 0 {
            return Ok(());
        }
        let time = time(meta);
        let extension = ("mtime", time.as_bytes());
        Ok(self.builder.append_pax_extensions([extension])?)
    }
}

/// A time as PAX writes it.
fn time(meta: &Meta) -> String {
    let nanos = i128::from(meta.seconds) * 1_000_000_000 + i128::from(meta.nanos);
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    format!("{sign}{seconds}.{fraction:09}")
}

fn name(path: &RelativePath) -> &Path {
    Path::new(OsStr::from_bytes(path.as_bytes()))
}

fn header(meta: &Meta, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(meta.mode & 0o7777);
    header.set_uid(meta.user.into());
    header.set_gid(meta.group.into());
    header.set_mtime(u64::try_from(meta.seconds).unwrap_or(0));
    header
}

/// A reader that tells how far it is.
struct WatchedReader<'a, R>(R, &'a mut dyn Watch);

impl<R: Read> Read for WatchedReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.advance(count as u64);
        Ok(count)
    }
}
