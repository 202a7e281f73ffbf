//! The content of one file, as it comes from a guest, for an archive: exactly as long as was said
//! before.

use std::io::{self, Read};

use banger_copy::{Connection, CopyError, Frame};

/// The most of a file without a size, such as those of /proc, in bytes: an archive has the size
/// first.
const LONGEST_UNSIZED: usize = 16 << 20;

/// How a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It was read to its end, which is here.
    Whole(u64),
    /// The guest could not read it to its end.
    Gone,
}

/// The content: data, zeros for holes, and zeros for what a file lacks that shrank meanwhile.
pub(super) struct Content<'a> {
    connection: &'a mut Connection,
    size: u64,
    /// What was read.
    place: u64,
    /// Where the piece begins that is being read.
    begin: u64,
    piece: Vec<u8>,
    ending: Option<Ending>,
    /// The reason that nothing more comes.
    pub(super) broken: Option<CopyError>,
}

impl<'a> Content<'a> {
    pub(super) fn new(connection: &'a mut Connection, size: u64) -> Self {
        Self {
            connection,
            size,
            place: 0,
            begin: 0,
            piece: Vec::new(),
            ending: None,
            broken: None,
        }
    }

    /// Takes the next frame.
    fn advance(&mut self) -> Result<(), CopyError> {
        match self.connection.expect()? {
            Frame::Data(offset, bytes) => {
                let end = self.begin + self.piece.len() as u64;
                if offset < end || offset.checked_add(bytes.len() as u64).is_none() {
                    return Err(CopyError::Broken("data has no place in its file"));
                }
                (self.begin, self.piece) = (offset, bytes);
            }
            Frame::FileEnd(end) => self.ending = Some(Ending::Whole(end)),
            Frame::FileGone => self.ending = Some(Ending::Gone),
            _ => return Err(CopyError::Broken("a frame came within a file")),
        }
        Ok(())
    }

    /// Takes what is left, and returns how the file ended.
    pub(super) fn finish(mut self) -> Result<Ending, CopyError> {
        loop {
            if let Some(broken) = self.broken.take() {
                return Err(broken);
            }
            if let Some(ending) = self.ending {
                return Ok(ending);
            }
            self.advance()?;
        }
    }

    /// Takes the whole of a file whose size is not known; nothing if it is too long.
    pub(super) fn collect(mut self) -> Result<(Option<Vec<u8>>, Ending), CopyError> {
        let mut bytes = Vec::new();
        loop {
            let before = self.begin + self.piece.len() as u64;
            self.advance()?;
            if let Some(ending) = self.ending {
                let is_whole = bytes.len() <= LONGEST_UNSIZED;
                return Ok((is_whole.then_some(bytes), ending));
            }
            if self.begin == before && bytes.len() <= LONGEST_UNSIZED {
                bytes.extend_from_slice(&self.piece);
            } else {
                bytes.resize(LONGEST_UNSIZED + 1, 0);
            }
        }
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.place).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        while self.ending.is_none() && self.place >= self.begin + self.piece.len() as u64 {
            if let Err(error) = self.advance() {
                let text = error.to_string();
                self.broken = Some(error);
                return Err(io::Error::other(text));
            }
        }
        let end = self.begin + self.piece.len() as u64;
        let count = if self.place < self.begin {
            let hole = usize::try_from(self.begin - self.place).unwrap_or(usize::MAX);
            let count = wanted.min(hole);
            buffer[..count].fill(0);
            count
        } else if self.place < end {
            let at = usize::try_from(self.place - self.begin).unwrap_or(usize::MAX);
            let count = wanted.min(self.piece.len() - at);
            buffer[..count].copy_from_slice(&self.piece[at..at + count]);
            count
        } else {
            buffer[..wanted].fill(0);
            wanted
        };
        self.place += count as u64;
        Ok(count)
    }
}
