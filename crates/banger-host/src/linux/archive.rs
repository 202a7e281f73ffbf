//! Archives on this host: FileOp::PackFiles and FileOp::UnpackFiles.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::context::During as _;
use super::files::open;
use super::replacement::Replacement;
use crate::archive::{self, Content, Overlay, PackEntry, UnpackEntry};
use crate::watch::Meter;
use crate::{Change, Result, Watch};

/// The number of bytes read or written at once.
const BUFFER: usize = 1 << 20;

impl Content for File {
    fn data(&self) -> io::Result<Vec<Range<u64>>> {
        let length = self.metadata()?.len();
        let mut found = Vec::new();
        let mut at = 0;
        while at < length {
            let start = match rustix::fs::seek(self, SeekFrom::Data(at)) {
                Ok(start) => start,
                // The rest of the file is a hole.
                Err(Errno::NXIO) => break,
                // The file system does not report holes; zeros are left out later.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                    found.push(at..length);
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            let end = rustix::fs::seek(self, SeekFrom::Hole(start))?.min(length);
            found.push(start..end);
            at = end;
        }
        Ok(found)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match FileExt::read_at(self, rest, at + done as u64) {
                Ok(0) => {
                    rest.fill(0);
                    break;
                }
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// FileOp::PackFiles.
pub(super) fn pack(
    to: &Path,
    head: &[u8],
    files: &[PackEntry],
    watch: Watch<'_>,
) -> Result<Change> {
    let describe = || format!("write the archive `{}`", to.display());
    let mut contents: Vec<(u64, Box<dyn Content>)> = Vec::new();
    for file in files {
        let reading =
            |path: &Path| open(path, true).during(|| format!("open `{}`", path.display()));
        let base = reading(&file.path)?;
        let content: Box<dyn Content> = match &file.store {
            None => Box::new(base),
            Some(store) => Box::new(Overlay::read(base, reading(store)?).during(describe)?),
        };
        contents.push((file.size, content));
    }
    let contents: Vec<_> = contents.iter().map(|(size, it)| (*size, &**it)).collect();
    let replacement = Replacement::begin(to)?;
    let file = replacement.create()?;
    let mut writer = BufWriter::with_capacity(BUFFER, &file);
    archive::pack(&mut writer, head, &contents, watch).during(describe)?;
    writer.flush().during(describe)?;
    drop(writer);
    replacement.commit(&file, 0o600, None)?;
    Ok(Change::Made)
}

/// FileOp::UnpackFiles.
pub(super) fn unpack(from: &Path, to: &[UnpackEntry], watch: Watch<'_>) -> Result<Change> {
    let describe = || format!("unpack the archive `{}`", from.display());
    let archive = open(from, true).during(describe)?;
    let mut files = Vec::new();
    for unpacked in to {
        let replacement = Replacement::begin(&unpacked.path)?;
        let file = replacement.create()?;
        file.set_len(unpacked.size).during(describe)?;
        files.push((replacement, file));
    }
    let sizes: Vec<u64> = to.iter().map(|it| it.size).collect();
    let length = archive.metadata().during(describe)?.len();
    let mut meter = Meter::new(length, watch);
    let reader = BufReader::with_capacity(BUFFER, archive);
    archive::unpack(reader, &sizes, |number, offset, bytes| {
        if let Some((_, file)) = files.get(number) {
            file.write_all_at(bytes, offset)?;
        }
        meter.add(bytes.len() as u64)
    })
    .during(describe)?;
    meter.end();
    for (replacement, file) in files {
        replacement.commit(&file, 0o644, None)?;
    }
    Ok(Change::Made)
}
