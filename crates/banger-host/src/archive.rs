//! An archive: several files in one, without their holes, and with a digest over all of it.
//!
//! ```text
//!   magic (16) │ length of the head (4) │ head │ number of files (4) │ file 1 │ … │ SHA-256 of all before (32)
//!   a file:  size (8) │ chunk │ chunk │ … │ all ones (8)
//!   a chunk: offset (8) │ length (4) │ bytes
//! ```
//!
//! Numbers are little-endian. Chunks are in the order of their offsets, do not overlap, and have at
//! most [`CHUNK`] bytes; the space between them is a hole. An archive names no paths: the reader
//! decides where each file goes and how large it is. An archive is hostile even if its digest is
//! right: the digest detects damage, not malice.

mod overlay;

use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::Watch;
use crate::watch::Meter;

pub(crate) use overlay::Overlay;

/// The magic bytes at the start of every archive.
const MAGIC: &[u8; 16] = b"banger archive 1";

/// The maximum length of a chunk, in bytes.
const CHUNK: usize = 256 << 10;

/// The maximum length of a head, in bytes.
pub const LARGEST_HEAD: usize = 1 << 20;

/// The bytes before the head: the magic, and the length of the head.
pub const BEFORE_HEAD: usize = MAGIC.len() + 4;

/// The length of the digest at the end, in bytes.
pub const DIGEST: u64 = 32;

/// The end of a file, written in place of the next chunk's offset.
const END: u64 = u64::MAX;

/// A file to pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackEntry {
    /// The file, or the base of a disk.
    pub path: PathBuf,
    /// The exception store of a dm-snapshot disk: the changes over the base at `path`.
    pub store: Option<PathBuf>,
    /// Its size in bytes. The range beyond the end of `path` is a hole.
    pub size: u64,
}

/// A file to unpack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackEntry {
    /// The path to unpack to.
    pub path: PathBuf,
    /// Its size in bytes; a file of any other size is rejected.
    pub size: u64,
}

/// Bytes at offsets, with holes.
pub(crate) trait Content {
    /// The ranges that may hold anything but zeros, in order.
    fn data(&self) -> io::Result<Vec<Range<u64>>>;

    /// Fills the buffer from this offset on, with zeros beyond the end.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;
}

/// A writer that digests what it writes.
struct DigestStream<T> {
    inner: T,
    digest: Sha256,
}

impl<T: Write> DigestStream<T> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.inner.write_all(bytes)
    }
}

impl<T: Read> DigestStream<T> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                return invalid("it is cut off".to_owned());
            }
            error
        })?;
        self.digest.update(&*bytes);
        Ok(())
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Writes an archive.
pub(crate) fn pack(
    to: impl Write,
    head: &[u8],
    files: &[(u64, &dyn Content)],
    watch: Watch<'_>,
) -> io::Result<()> {
    let mut meter = Meter::new(data_of(files)?, watch);
    let mut to = DigestStream {
        inner: to,
        digest: Sha256::new(),
    };
    let number = |count: usize| u32::try_from(count).map_err(|_| invalid("too much".to_owned()));
    to.put(MAGIC)?;
    to.put(&number(head.len())?.to_le_bytes())?;
    to.put(head)?;
    to.put(&number(files.len())?.to_le_bytes())?;
    for (size, content) in files {
        to.put(&size.to_le_bytes())?;
        pack_data(&mut to, *size, *content, &mut meter)?;
        to.put(&END.to_le_bytes())?;
    }
    let digest = to.digest.finalize();
    to.inner.write_all(&digest)?;
    meter.end();
    Ok(())
}

/// The bytes of these files that are no holes.
fn data_of(files: &[(u64, &dyn Content)]) -> io::Result<u64> {
    let mut whole = 0;
    for (size, content) in files {
        let ranges = content.data()?.into_iter();
        whole += ranges.map(|it| data_within(&it, *size)).sum::<u64>();
    }
    Ok(whole)
}

/// The length of a range, up to the size of its file.
fn data_within(range: &Range<u64>, size: u64) -> u64 {
    range.end.min(size).saturating_sub(range.start)
}

fn pack_data(
    to: &mut DigestStream<impl Write>,
    size: u64,
    content: &dyn Content,
    meter: &mut Meter<'_>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    for Range { start, end } in content.data()? {
        let (mut at, end) = (start, end.min(size));
        while at < end {
            // Chunks end where their size divides the offset, so that no two share a block.
            let to_boundary = CHUNK as u64 - at % CHUNK as u64;
            let length = to_boundary.min(end - at);
            let chunk = &mut buffer[..usize::try_from(length).unwrap_or(CHUNK)];
            content.read_at(chunk, at)?;
            if chunk.iter().any(|byte| *byte != 0) {
                let count = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
                to.put(&at.to_le_bytes())?;
                to.put(&count.to_le_bytes())?;
                to.put(chunk)?;
            }
            meter.add(length)?;
            at += length;
        }
    }
    Ok(())
}

/// The length of the head, from the first [`BEFORE_HEAD`] bytes of an archive.
///
/// # Errors
/// A description, if the bytes do not begin an archive, or its head exceeds [`LARGEST_HEAD`].
pub fn head_length(bytes: &[u8]) -> Result<usize, String> {
    let (Some(magic), Some(length)) = (bytes.get(..MAGIC.len()), bytes.get(MAGIC.len()..)) else {
        return Err("it is not an archive of a VM".to_owned());
    };
    if magic != MAGIC {
        return Err("it is not an archive of a VM".to_owned());
    }
    let length = <[u8; 4]>::try_from(length).map_err(|_| "it is cut off".to_owned())?;
    match usize::try_from(u32::from_le_bytes(length)) {
        Ok(length) if length <= LARGEST_HEAD => Ok(length),
        _ => Err("its head is too large".to_owned()),
    }
}

/// Reads an archive of files of these sizes, and passes their content to `write`. Discard what was
/// written unless this succeeds: the digest is checked last.
pub(crate) fn unpack(
    from: impl Read,
    sizes: &[u64],
    mut write: impl FnMut(usize, u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut from = DigestStream {
        inner: from,
        digest: Sha256::new(),
    };
    let before: [u8; BEFORE_HEAD] = from.take()?;
    let mut buffer = vec![0; head_length(&before).map_err(invalid)?];
    from.fill(&mut buffer)?;
    let count = u32::from_le_bytes(from.take()?);
    if usize::try_from(count).ok() != Some(sizes.len()) {
        return Err(invalid(format!(
            "it has {count} files, not {}",
            sizes.len()
        )));
    }
    buffer.resize(CHUNK, 0);
    for (number, size) in sizes.iter().enumerate() {
        let found = u64::from_le_bytes(from.take()?);
        if found != *size {
            return Err(invalid(format!(
                "file {number} has {found} bytes, not {size}"
            )));
        }
        let mut free_from = 0;
        loop {
            let offset = u64::from_le_bytes(from.take()?);
            if offset == END {
                break;
            }
            let length = u32::from_le_bytes(from.take()?);
            let end = offset.checked_add(length.into());
            let chunk = usize::try_from(length)
                .ok()
                .and_then(|it| buffer.get_mut(..it));
            let (Some(end), Some(chunk)) = (end.filter(|end| end <= size), chunk) else {
                return Err(invalid(format!(
                    "file {number} has a chunk that does not fit"
                )));
            };
            if offset < free_from || length == 0 {
                return Err(invalid(format!(
                    "the chunks of file {number} are not in order"
                )));
            }
            free_from = end;
            from.fill(chunk)?;
            write(number, offset, chunk)?;
        }
    }
    let expected = from.digest.clone().finalize();
    let found: [u8; 32] = from.take()?;
    if found[..] != expected[..] {
        return Err(invalid("its digest is wrong: it is damaged".to_owned()));
    }
    if from.inner.read(&mut [0])? > 0 {
        return Err(invalid("something follows its end".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
