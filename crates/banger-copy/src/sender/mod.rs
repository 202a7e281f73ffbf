//! The side that reads files.

mod data;

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;

use crate::Watch;
use crate::connection::{Connection, CopyError};
use crate::frame::{Frame, Head, Meta, Node};
use crate::path::RelativePath;
use crate::report::Report;
use crate::walk::{Step, Walk};
pub(crate) use data::quiet_digest_of;

/// The size from which a file is resumed, in bytes.
pub const RESUMABLE: u64 = 16 << 20;

/// What is read at once, in bytes.
const PIECE: usize = 128 << 10;

/// The most memory for the names of files with several of them, in bytes.
const MOST_LINKS: usize = 64 << 20;

/// How files are sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct SendOptions {
    /// Counts files and bytes before, for the receiver's progress.
    pub count: bool,
    /// Sends directories.
    pub recursive: bool,
}

/// Sends files over a connection.
pub struct Sender<'a> {
    connection: &'a mut Connection,
    watch: &'a mut dyn Watch,
    options: SendOptions,
    report: Report,
    links: HashMap<(u64, u64), (u32, RelativePath)>,
    links_size: usize,
    source: u32,
    piece: Vec<u8>,
}

impl std::fmt::Debug for Sender<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl<'a> Sender<'a> {
    /// Sends over this connection.
    pub fn new(
        connection: &'a mut Connection,
        watch: &'a mut dyn Watch,
        options: SendOptions,
    ) -> Self {
        Self {
            connection,
            watch,
            options,
            report: Report::default(),
            links: HashMap::new(),
            links_size: 0,
            source: 0,
            piece: vec![0; PIECE],
        }
    }

    /// Sends what is at these paths, each as the source of its number. A symbolic link that is named here is
    /// followed; those below are sent as links.
    ///
    /// # Errors
    /// The connection has ended, or the receiver has stopped. What cannot be read is in the report.
    pub fn send_all(&mut self, paths: &[impl AsRef<Path>]) -> Result<(), CopyError> {
        if self.options.count {
            self.count(paths)?;
        }
        for (number, path) in (0..).zip(paths) {
            self.begin_source(number)?;
            self.send_source(path.as_ref())?;
        }
        Ok(())
    }

    /// The entries that follow are of this source.
    ///
    /// # Errors
    /// As [`Sender::send_all`].
    pub fn begin_source(&mut self, number: u32) -> Result<(), CopyError> {
        self.source = number;
        self.send(&Frame::Source(number))
    }

    fn send_source(&mut self, path: &Path) -> Result<(), CopyError> {
        let top = RelativePath::default();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty())
            .and_then(|fd| fstat(&fd).map(|stat| (fd, stat)));
        let (fd, stat) = match opened {
            Ok(opened) => opened,
            Err(cause) => {
                self.report.problem(&top, &cause.to_string());
                return Ok(());
            }
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.send_file(&fd, &top, &stat),
            FileType::Directory if self.options.recursive => {
                match Walk::new(fd, top.clone(), |_, _| true) {
                    Ok(walk) => self.send_tree(walk),
                    Err(cause) => {
                        self.report.problem(&top, &cause.to_string());
                        Ok(())
                    }
                }
            }
            FileType::Directory => {
                self.report.problem(&top, "it is a directory");
                Ok(())
            }
            _ => {
                self.report.skipped += 1;
                Ok(())
            }
        }
    }

    /// Sends what a walk comes to.
    ///
    /// # Errors
    /// As [`Sender::send_all`].
    pub fn send_tree<F: FnMut(&RelativePath, bool) -> bool>(
        &mut self,
        mut walk: Walk<F>,
    ) -> Result<(), CopyError> {
        while let Some(step) = walk.next() {
            match step {
                Step::Enter(path, stat) => self.send_directory(path, &stat)?,
                Step::Leave(path, _) => self.send(&Frame::Leave(path))?,
                Step::Other(path, stat) => {
                    if let Some(directory) = walk.directory() {
                        self.send_other(directory, path, &stat)?;
                    }
                }
                Step::Failed(path, reason) => self.report.problem(&path, &reason),
            }
        }
        Ok(())
    }

    /// Sends a directory, without what is in it.
    ///
    /// # Errors
    /// As [`Sender::send_all`].
    pub fn send_directory(&mut self, path: RelativePath, stat: &Stat) -> Result<(), CopyError> {
        self.report.directories += 1;
        self.send(&Frame::Entry(Head {
            path,
            meta: Meta::from(stat),
            node: Node::Directory,
        }))
    }

    /// Sends what is not a directory, from the directory that it lies in.
    ///
    /// # Errors
    /// As [`Sender::send_all`].
    pub fn send_other(
        &mut self,
        directory: BorrowedFd<'_>,
        path: RelativePath,
        stat: &Stat,
    ) -> Result<(), CopyError> {
        let name = path.split().1;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                if self.send_hard_link(&path, stat)? {
                    return Ok(());
                }
                match open_file(directory, name) {
                    Ok((fd, stat)) => self.send_file(&fd, &path, &stat)?,
                    // It has gone meanwhile.
                    Err(Errno::NOENT) => {}
                    Err(cause) => self.report.problem(&path, &cause.to_string()),
                }
            }
            FileType::Symlink => match readlinkat(directory, name, Vec::new()) {
                Ok(target) => {
                    self.report.links += 1;
                    let node = Node::Symlink {
                        target: target.into_bytes(),
                    };
                    let meta = Meta::from(stat);
                    self.send(&Frame::Entry(Head { path, meta, node }))?;
                }
                Err(Errno::NOENT) => {}
                Err(cause) => self.report.problem(&path, &cause.to_string()),
            },
            _ => self.report.skipped += 1,
        }
        Ok(())
    }

    /// A file with a name that was sent before is a link to that; whether it is one.
    fn send_hard_link(&mut self, path: &RelativePath, stat: &Stat) -> Result<bool, CopyError> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        if let Some((source, to)) = self.links.get(&(stat.st_dev, stat.st_ino)) {
            let frame = Frame::HardLink(path.clone(), *source, to.clone());
            self.report.links += 1;
            self.send(&frame)?;
            return Ok(true);
        }
        self.links_size += path.as_bytes().len() + 64;
        if self.links_size < MOST_LINKS {
            let to = (self.source, path.clone());
            self.links.insert((stat.st_dev, stat.st_ino), to);
        }
        Ok(false)
    }

    /// Sends a frame, and notices in between that the receiver has stopped.
    ///
    /// # Errors
    /// As [`Sender::send_all`].
    pub fn send(&mut self, frame: &Frame) -> Result<(), CopyError> {
        let is_nearly_full = self.connection.is_nearly_full();
        if is_nearly_full && self.connection.has_arrived() {
            let frame = self.connection.expect()?;
            return Err(Connection::stopped_by(&frame));
        }
        self.connection.send(frame).map_err(|lost| {
            // A receiver that has stopped says why before it closes.
            match self.connection.next_frame() {
                Ok(Some(frame)) => Connection::stopped_by(&frame),
                Ok(None) | Err(_) => lost,
            }
        })
    }

    /// Sends a question, and returns the first frame of the reply.
    ///
    /// # Errors
    /// As [`Sender::send_all`].
    pub fn ask(&mut self, frame: &Frame) -> Result<Frame, CopyError> {
        self.send(frame)?;
        self.connection.flush()?;
        self.connection.expect()
    }

    /// Sends what was not sent yet, such as several questions.
    ///
    /// # Errors
    /// As [`Sender::send_all`].
    pub fn flush(&mut self) -> Result<(), CopyError> {
        self.connection.flush()
    }

    /// The next frame of a reply.
    ///
    /// # Errors
    /// As [`Sender::send_all`].
    pub fn hear(&mut self) -> Result<Frame, CopyError> {
        self.connection.expect()
    }

    /// What was sent so far.
    pub fn report(&mut self) -> &mut Report {
        &mut self.report
    }

    /// Says that this was all, and returns the receiver's report together with the troubles here.
    ///
    /// # Errors
    /// As [`Sender::send_all`].
    pub fn finish(mut self) -> Result<Report, CopyError> {
        let end = Frame::End(self.report.to_json());
        let frame = self.ask(&end)?;
        let Frame::Answer(json) = &frame else {
            return Err(CopyError::Broken("a frame came out of turn"));
        };
        let mut report: Report = serde_json::from_slice(json)
            .map_err(|_| CopyError::Broken("its report is not understood"))?;
        if report.stopped.is_some() {
            return Err(Connection::stopped_by(&frame));
        }
        report.resumed = self.report.resumed;
        report.add_troubles_of(&self.report);
        Ok(report)
    }

    /// Tells the receiver, and the watch here, how much comes.
    fn count(&mut self, paths: &[impl AsRef<Path>]) -> Result<(), CopyError> {
        let (mut files, mut bytes) = (0, 0);
        let mut add = |stat: &Stat| {
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                files += 1;
                bytes += u64::try_from(stat.st_size).unwrap_or(0);
            }
        };
        for path in paths {
            let Ok(stat) = rustix::fs::stat(path.as_ref()) else {
                continue;
            };
            add(&stat);
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = rustix::fs::open(path.as_ref(), flags, Mode::empty());
            let walk = opened.and_then(|fd| Walk::new(fd, RelativePath::default(), |_, _| true));
            for step in walk.into_iter().flatten() {
                if let Step::Other(_, stat) = step {
                    add(&stat);
                }
            }
        }
        self.watch.total(files, bytes);
        self.send(&Frame::Total(files, bytes))
    }
}

/// What is at a path, without following it.
pub(crate) fn look(directory: impl AsFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// The SHA-256 of a file of a directory, if that has this length.
#[must_use]
pub fn digest_in(directory: BorrowedFd<'_>, name: &[u8], length: u64) -> Option<[u8; 32]> {
    let (file, stat) = open_file(directory, name).ok()?;
    let has_length = u64::try_from(stat.st_size).is_ok_and(|size| size == length);
    has_length.then(|| quiet_digest_of(&file, length).ok())?
}

/// Opens a file that may meanwhile be something else.
fn open_file(directory: BorrowedFd<'_>, name: &[u8]) -> Result<(OwnedFd, Stat), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = openat(directory, name, flags, Mode::empty())?;
    let stat = fstat(&fd)?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if is_file {
        Ok((fd, stat))
    } else {
        Err(Errno::NOENT)
    }
}
