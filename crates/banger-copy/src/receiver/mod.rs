//! The side that writes files.
//!
//! The other side is hostile until the contrary is shown, which it never is. Everything is made beneath the
//! target's directory; parents are opened by `openat2` from there, and the last name is one name.

mod file;
mod target;

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, chownat, linkat, mkdirat, openat2, symlinkat, utimensat,
};
use rustix::io::Errno;

use crate::Watch;
use crate::connection::{Connection, CopyError};
use crate::frame::{Frame, Head, Meta, Node};
use crate::path::RelativePath;
use crate::report::Report;
use crate::sender::look;
use file::{CONFINED, Keep, NewFile, replace, times};
use target::Destination;

pub use target::Target;

/// The most memory for paths that are needed later, in bytes.
const MOST_PATHS: usize = 64 << 20;

/// How files are received.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReceiveOptions {
    /// Keeps the numbers of owner and group.
    pub archive: bool,
    /// Keeps set-user-id and set-group-id.
    pub special: bool,
    /// Takes directories.
    pub recursive: bool,
}

/// A file that comes.
#[derive(Debug)]
struct IncomingFile {
    path: RelativePath,
    name: Vec<u8>,
    meta: Meta,
    linkable: bool,
    /// Nothing if it cannot be written; its data is then dropped.
    file: Option<NewFile>,
    /// The end of the data so far.
    end: u64,
}

/// Receives files over a connection.
pub struct Receiver<'a> {
    connection: &'a mut Connection,
    watch: &'a mut dyn Watch,
    options: ReceiveOptions,
    target: Target,
    destination: Option<Destination>,
    report: Report,
    source: u32,
    incoming: Option<IncomingFile>,
    /// The directory that was used last, by its path below the root.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// A directory that could not be made; what lies in it is dropped.
    failed: Option<RelativePath>,
    /// Directories that get their permissions and time when they are complete.
    unfinished: BTreeMap<RelativePath, Meta>,
    linkable: HashSet<RelativePath>,
    paths_size: usize,
}

impl std::fmt::Debug for Receiver<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl<'a> Receiver<'a> {
    /// Receives over this connection.
    pub fn new(
        connection: &'a mut Connection,
        watch: &'a mut dyn Watch,
        target: Target,
        options: ReceiveOptions,
    ) -> Self {
        Self {
            connection,
            watch,
            options,
            target,
            destination: None,
            report: Report::default(),
            source: 0,
            incoming: None,
            parent: None,
            failed: None,
            unfinished: BTreeMap::new(),
            linkable: HashSet::new(),
            paths_size: 0,
        }
    }

    /// Receives everything, and answers. The report has the sender's troubles, too.
    ///
    /// # Errors
    /// The connection ended, the sender breaks the protocol, or this side cannot go on; what was complete
    /// stays.
    pub fn run(mut self) -> Result<Report, CopyError> {
        let outcome = loop {
            let frame = match self.connection.expect() {
                Ok(frame) => frame,
                Err(error) => break Err(error),
            };
            if let Frame::End(json) = frame {
                break self.end(&json);
            }
            if let Err(error) = self.take(frame) {
                break Err(error);
            }
        };
        self.finish_directories();
        if let Err(CopyError::Refused(reason)) = &outcome {
            self.report.stopped = Some(reason.clone());
        }
        if matches!(outcome, Ok(_) | Err(CopyError::Refused(_))) {
            let mut own = self.report.clone();
            if outcome.is_ok() {
                own.stopped = None;
            }
            self.connection.send(&Frame::Answer(own.to_json()))?;
            self.connection.flush()?;
        }
        let theirs = outcome?;
        self.report.add_troubles_of(&theirs);
        self.report.resumed = theirs.resumed;
        Ok(self.report)
    }

    fn end(&mut self, json: &[u8]) -> Result<Report, CopyError> {
        if self.incoming.is_some() {
            return Err(CopyError::Broken("the end came within a file"));
        }
        serde_json::from_slice(json).map_err(|_| CopyError::Broken("its report is not understood"))
    }

    fn take(&mut self, frame: Frame) -> Result<(), CopyError> {
        if self.incoming.is_some() {
            return self.take_of_file(frame);
        }
        match frame {
            Frame::Source(number) => {
                let known = usize::try_from(number).is_ok_and(|it| it < self.target.names.len());
                if !known {
                    return Err(CopyError::Broken("a source was not asked for"));
                }
                self.source = number;
                self.failed = None;
                Ok(())
            }
            Frame::Total(files, bytes) => {
                self.watch.total(files, bytes);
                Ok(())
            }
            Frame::Entry(head) => self.enter(head),
            Frame::Leave(path) => {
                let Some(full) = self.full(self.source, &path)? else {
                    return Ok(());
                };
                if let Some(meta) = self.unfinished.remove(&full) {
                    self.paths_size = self.paths_size.saturating_sub(size_of_path(&full));
                    self.finish_directory(&full, &meta);
                }
                Ok(())
            }
            Frame::HardLink(path, source, to) => self.link(&path, source, &to),
            _ => Err(CopyError::Broken("a frame came out of turn")),
        }
    }

    fn destination(&self) -> Result<&Destination, CopyError> {
        let unplaced = CopyError::Broken("a frame came before any entry");
        self.destination.as_ref().ok_or(unplaced)
    }

    /// A path of a source, below the root; nothing if it is too long there.
    fn full(&self, source: u32, path: &RelativePath) -> Result<Option<RelativePath>, CopyError> {
        let names = &self.destination()?.names;
        let name = usize::try_from(source).ok().and_then(|at| names.get(at));
        let name = name.ok_or(CopyError::Broken("a source was not asked for"))?;
        let top = RelativePath::new(name.as_deref().unwrap_or_default());
        let full = top.and_then(|top| top.join(path.as_bytes()));
        Ok(full.ok())
    }

    /// The directory that a path of the source lies in, open, and the name there; the name is empty for the
    /// root itself.
    fn locate(
        &mut self,
        path: &RelativePath,
    ) -> Result<Result<(OwnedFd, Vec<u8>), Errno>, CopyError> {
        match self.full(self.source, path)? {
            Some(full) => self.locate_full(&full),
            None => Ok(Err(Errno::NAMETOOLONG)),
        }
    }

    fn locate_full(
        &mut self,
        full: &RelativePath,
    ) -> Result<Result<(OwnedFd, Vec<u8>), Errno>, CopyError> {
        let (parent, name) = full.split();
        let root = &self.destination()?.root;
        let copy = |fd: &OwnedFd| fd.try_clone().map_err(|_| Errno::MFILE);
        if let Some((path, fd)) = &self.parent
            && path == parent
        {
            return Ok(copy(fd).map(|fd| (fd, name.to_vec())));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = if parent.is_empty() {
            copy(root)
        } else {
            openat2(root, parent, flags, Mode::empty(), CONFINED)
        };
        Ok(opened.and_then(|fd| {
            let used = copy(&fd)?;
            self.parent = Some((parent.to_vec(), fd));
            Ok((used, name.to_vec()))
        }))
    }

    /// Notes what went wrong with an entry. A full disk ends the copy.
    fn fail(&mut self, path: &RelativePath, cause: Errno) -> Result<(), CopyError> {
        if matches!(cause, Errno::NOSPC | Errno::DQUOT) {
            return Err(CopyError::Refused(format!("write `{path}`: {cause}")));
        }
        let reason = match cause {
            Errno::LOOP => "a symbolic link is on the way to it".to_owned(),
            Errno::ISDIR => "a directory is in its place".to_owned(),
            _ => cause.to_string(),
        };
        self.report.problem(path, &reason);
        Ok(())
    }

    fn enter(&mut self, head: Head) -> Result<(), CopyError> {
        let is_directory = head.node == Node::Directory;
        if is_directory && !self.options.recursive {
            return Err(CopyError::Broken("a directory was not asked for"));
        }
        if self.destination.is_none() {
            let destination = self.target.destination(is_directory);
            self.destination = Some(destination.map_err(CopyError::Refused)?);
        }
        let path = head.path.clone();
        if self.is_within_failed(&path) {
            return self.drop_entry(&head);
        }
        let (directory, name) = match self.locate(&path)? {
            Ok(located) => located,
            Err(cause) => {
                if is_directory {
                    self.failed = Some(path.clone());
                }
                self.fail(&path, cause)?;
                return self.drop_entry(&head);
            }
        };
        match head.node {
            Node::Directory => self.make_directory(&path, &directory, &name, head.meta),
            Node::Symlink { target } => {
                self.make_symlink(&path, &directory, &name, &target, &head.meta)
            }
            Node::File { resumable, .. } => self.begin_file(&head, directory, name, resumable),
        }
    }

    fn is_within_failed(&self, path: &RelativePath) -> bool {
        self.failed
            .as_ref()
            .is_some_and(|failed| path.is_within(failed))
    }

    /// Takes the data of a file without writing it.
    fn drop_entry(&mut self, head: &Head) -> Result<(), CopyError> {
        match head.node {
            Node::File { .. } => self.start(head, Vec::new(), None, (0, [0; 32])),
            Node::Directory | Node::Symlink { .. } => Ok(()),
        }
    }

    fn make_directory(
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

    fn finish_directories(&mut self) {
        // What lies deeper comes first: a directory may forbid to enter it.
        for (path, meta) in std::mem::take(&mut self.unfinished).into_iter().rev() {
            self.finish_directory(&path, &meta);
        }
    }

    fn finish_directory(&mut self, full: &RelativePath, meta: &Meta) {
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

    fn keep(&self) -> Keep {
        Keep {
            owner: self.options.archive,
            special: self.options.special,
        }
    }

    fn make_symlink(
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
    fn link(
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

    fn begin_file(
        &mut self,
        head: &Head,
        directory: OwnedFd,
        name: Vec<u8>,
        resumable: bool,
    ) -> Result<(), CopyError> {
        if let Node::File { size, .. } = head.node {
            self.watch.begin(&head.path, size);
        }
        let nothing = (0, [0; 32]);
        if name.is_empty() {
            self.fail(&head.path, Errno::ISDIR)?;
            return self.start(head, name, None, nothing);
        }
        let copy = directory.try_clone().ok().filter(|_| resumable);
        if let Some((file, length, digest)) = copy.and_then(|it| NewFile::resume(it, &name)) {
            return self.start(head, name, Some(file), (length, digest));
        }
        let file = match NewFile::new(directory) {
            Ok(file) => Some(file),
            Err(cause) => {
                self.fail(&head.path, cause)?;
                None
            }
        };
        self.start(head, name, file, nothing)
    }

    /// Begins a file. Of a large one it says what is there, and hears where the rest begins.
    fn start(
        &mut self,
        head: &Head,
        name: Vec<u8>,
        file: Option<NewFile>,
        (length, digest): (u64, [u8; 32]),
    ) -> Result<(), CopyError> {
        let Node::File {
            resumable,
            linkable,
            ..
        } = head.node
        else {
            return Ok(());
        };
        let mut incoming = IncomingFile {
            path: head.path.clone(),
            name,
            meta: head.meta,
            linkable,
            file,
            end: 0,
        };
        if resumable {
            self.connection.send(&Frame::Have(length, digest))?;
            self.connection.flush()?;
            match (self.connection.expect()?, &incoming.file) {
                (Frame::From(0), Some(file)) if length > 0 => {
                    if let Err(cause) = file.clear() {
                        self.fail(&head.path, cause)?;
                        incoming.file = None;
                    }
                }
                (Frame::From(start), _) if start == length => {
                    incoming.end = start;
                    self.watch.advance(start);
                }
                _ => return Err(CopyError::Broken("a file goes on where nothing is")),
            }
        }
        self.incoming = Some(incoming);
        Ok(())
    }

    fn take_of_file(&mut self, frame: Frame) -> Result<(), CopyError> {
        let Some(incoming) = &mut self.incoming else {
            return Ok(());
        };
        match frame {
            Frame::Data(offset, bytes) => {
                let end = offset.checked_add(bytes.len() as u64);
                let end = end.filter(|end| offset >= incoming.end && i64::try_from(*end).is_ok());
                let end = end.ok_or(CopyError::Broken("data has no place in its file"))?;
                self.watch.advance(end - incoming.end);
                incoming.end = end;
                let written = incoming
                    .file
                    .as_ref()
                    .map(|file| file.write(offset, &bytes));
                if let Some(Err(cause)) = written {
                    let path = incoming.path.clone();
                    if let Some(file) = incoming.file.take() {
                        file.discard();
                    }
                    self.fail(&path, cause)?;
                }
                Ok(())
            }
            Frame::FileEnd(size) => {
                if size < incoming.end || i64::try_from(size).is_err() {
                    return Err(CopyError::Broken("a file ends before its data"));
                }
                self.finish_file(size)
            }
            Frame::FileGone => {
                if let Some(file) = self.incoming.take().and_then(|it| it.file) {
                    file.discard();
                }
                Ok(())
            }
            _ => Err(CopyError::Broken("a frame came within a file")),
        }
    }

    fn finish_file(&mut self, size: u64) -> Result<(), CopyError> {
        let keep = self.keep();
        let Some(incoming) = self.incoming.take() else {
            return Ok(());
        };
        self.watch.advance(size - incoming.end);
        let Some(file) = incoming.file else {
            return Ok(());
        };
        if let Err(cause) = file.finish(&incoming.name, size, &incoming.meta, keep) {
            return self.fail(&incoming.path, cause);
        }
        self.report.files += 1;
        self.report.bytes += size;
        if incoming.linkable
            && self.paths_size < MOST_PATHS
            && let Some(full) = self.full(self.source, &incoming.path)?
        {
            self.paths_size += size_of_path(&full);
            self.linkable.insert(full);
        }
        Ok(())
    }
}

fn size_of_path(path: &RelativePath) -> usize {
    path.as_bytes().len() + 64
}
