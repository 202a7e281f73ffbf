//! Decompresses a source into a sparse file, and computes its digest.

use std::fs::{File, Permissions};
use std::io::{BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;

use banger_api::{Code, Error};
use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use xz2::read::XzDecoder;

use super::work::{Meter, Work};
use crate::download::hexadecimal;
use crate::error::Result;

/// The size of one read, in bytes.
const PIECE: usize = 1 << 20;

/// A reader of a part of a file.
#[derive(Debug)]
pub(super) struct Window {
    file: File,
    at: u64,
    end: u64,
}

impl Window {
    /// Reads a whole file.
    pub(super) fn whole(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|cause| unreadable(path, &cause))?;
        let end = file.metadata().map_err(|cause| unreadable(path, &cause))?;
        Ok(Self {
            file,
            at: 0,
            end: end.len(),
        })
    }

    /// Reads `length` bytes from `offset`, or to the end of the file.
    pub(super) fn part(file: &File, offset: u64, length: u64) -> std::io::Result<Self> {
        Ok(Self {
            file: file.try_clone()?,
            at: offset,
            end: offset.saturating_add(length),
        })
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A window whose progress is told.
struct MeasuredWindow<'w, 'a> {
    window: Window,
    begin: u64,
    meter: Meter<'w, 'a>,
}

impl Read for MeasuredWindow<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.window.read(buffer)?;
        self.meter.tell(self.window.at - self.begin);
        Ok(read)
    }
}

pub(super) fn unreadable(path: &Path, cause: &std::io::Error) -> Error {
    let code = match cause.kind() {
        std::io::ErrorKind::NotFound => Code::NotFound,
        _ => Code::Host,
    };
    Error::new(code, format!("`{}` cannot be read", path.display())).cause(cause.to_string())
}

/// Whether these bytes are the beginning of a supported compressed format.
pub(super) fn is_compressed(head: &[u8]) -> bool {
    let beginnings: [&[u8]; 3] = [b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    beginnings.iter().any(|it| head.starts_with(it))
}

/// Writes the source to `to`, decompressed if necessary, and returns the SHA-256 of the output, in
/// hexadecimal.
///
/// # Errors
/// If it is damaged, or larger than `largest` bytes.
pub(super) fn write(mut from: Window, to: &Path, largest: u64, work: &Work<'_>) -> Result<String> {
    let mut head = [0; 8];
    let damaged = |cause: std::io::Error| {
        Error::new(Code::Invalid, "it cannot be read").cause(cause.to_string())
    };
    let length = from.read(&mut head).map_err(damaged)?;
    from.at -= length as u64;
    let head = &head[..length];
    let length = from.file.metadata().map_or(from.end, |it| it.len());
    let from = MeasuredWindow {
        begin: from.at,
        meter: work.meter(from.end.min(length).saturating_sub(from.at)),
        window: from,
    };
    let mut reader: Box<dyn Read + '_> = if head.starts_with(b"\x1f\x8b") {
        Box::new(MultiGzDecoder::new(BufReader::new(from)))
    } else if head.starts_with(b"\xfd7zXZ\0") {
        Box::new(XzDecoder::new_multi_decoder(BufReader::new(from)))
    } else if head.starts_with(b"\x28\xb5\x2f\xfd") {
        Box::new(zstd::Decoder::new(from).map_err(damaged)?)
    } else {
        Box::new(from)
    };
    let unwritten = |cause: std::io::Error| {
        let what = format!("`{}` cannot be written", to.display());
        Error::new(Code::Host, what).cause(cause.to_string())
    };
    let mut file = File::create_new(to).map_err(unwritten)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    let mut written: u64 = 0;
    loop {
        work.check()?;
        let read = reader.read(&mut piece).map_err(damaged)?;
        if read == 0 {
            break;
        }
        written += read as u64;
        if written > largest {
            return Err(Error::new(
                Code::Invalid,
                format!("it is larger than {} GiB unpacked", largest >> 30),
            ));
        }
        hash.update(&piece[..read]);
        if piece[..read].iter().all(|byte| *byte == 0) {
            file.seek(SeekFrom::Start(written)).map_err(unwritten)?;
        } else {
            file.write_all(&piece[..read]).map_err(unwritten)?;
        }
    }
    file.set_len(written).map_err(unwritten)?;
    Ok(hexadecimal(hash))
}

/// Refuses an archive of files that does not end in zeros, as every tar does: it is cut off.
pub(super) fn refuse_cut_archive(file: &File) -> Result<()> {
    let length = file.metadata().map_or(0, |it| it.len());
    let last = head::<512>(file, length.saturating_sub(512)).unwrap_or_default();
    if last.len() == 512 && last.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    Err(Error::new(Code::Invalid, "it is cut off").cause("a tar archive ends in zeros"))
}

/// Makes a file as readable as an image has to be, and writable by its owner only.
pub(super) fn make_readable(path: &Path) -> Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o644))
        .map_err(|cause| unreadable(path, &cause))
}

/// The first bytes of a file, at most `N`.
pub(super) fn head<const N: usize>(file: &File, offset: u64) -> std::io::Result<Vec<u8>> {
    let mut head = vec![0; N];
    let mut length = 0;
    while length < N {
        match file.read_at(&mut head[length..], offset + length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    head.truncate(length);
    Ok(head)
}
