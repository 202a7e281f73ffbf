//! Files: their data arrives in pieces, after the part of a large one that is there already.

use std::os::fd::OwnedFd;

use super::file::NewFile;
use super::{MOST_PATHS, Receiver, size_of_path};
use crate::connection::CopyError;
use crate::frame::{Frame, Head, Meta, Node};
use crate::path::RelativePath;
use rustix::io::Errno;

/// A file whose data arrives.
#[derive(Debug)]
pub(super) struct IncomingFile {
    path: RelativePath,
    name: Vec<u8>,
    meta: Meta,
    linkable: bool,
    /// Nothing if it cannot be written; its data is then dropped.
    file: Option<NewFile>,
    /// The end of the data so far.
    end: u64,
}

impl Receiver<'_> {
    pub(super) fn begin_file(
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
    pub(super) fn start(
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

    pub(super) fn take_of_file(&mut self, frame: Frame) -> Result<(), CopyError> {
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

    pub(super) fn finish_file(&mut self, size: u64) -> Result<(), CopyError> {
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
