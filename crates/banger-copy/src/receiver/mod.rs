//! The side that writes files.
//!
//! The other side is hostile until the contrary is shown, which it never is. Everything is made
//! beneath the target's directory; parents are opened by `openat2` from there, and the last name is
//! one name.

mod directories;
mod file;
mod incoming;
mod links;
mod sync;
mod target;

use std::collections::{BTreeMap, HashSet};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat2};
use rustix::io::Errno;

use crate::Watch;
use crate::connection::{Connection, CopyError};
use crate::frame::{Frame, Head, Meta, Node};
use crate::path::RelativePath;
use crate::report::Report;
use file::{CONFINED, Keep};
use incoming::IncomingFile;
use target::Destination;

pub use file::whole_name;
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
    /// Is asked what is there, and removes it: the target is a directory that is kept the same as
    /// the sender's.
    pub sync: bool,
    /// Changes nothing: the target is not even made.
    pub dry: bool,
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
    /// The connection ended, the sender breaks the protocol, or this side cannot go on; what was
    /// complete stays.
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
                self.open_root()
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
            frame if self.options.sync => self.take_of_sync(frame),
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

    /// The directory that a path of the source lies in, open, and the name there; the name is empty
    /// for the root itself.
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
        // A source that is one file has no path below itself; its name in the destination says more.
        let named = match path.as_bytes().is_empty() {
            true => self.full(self.source, path)?,
            false => None,
        };
        let path = named.as_ref().unwrap_or(path);
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

    fn keep(&self) -> Keep {
        Keep {
            owner: self.options.archive,
            special: self.options.special,
        }
    }
}

fn size_of_path(path: &RelativePath) -> usize {
    path.as_bytes().len() + 64
}
