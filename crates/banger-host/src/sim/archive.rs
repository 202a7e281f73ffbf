//! Archives of the simulated files.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::change::missing;
use super::{SimFile, SimState};
use crate::archive::{self, Content, Overlay, PackEntry, UnpackEntry};
use crate::watch::nobody;
use crate::{Error, Result};

/// The maximum number of bytes that the simulated host keeps of a file.
const MOST: usize = 64 << 20;

impl Content for &SimFile {
    fn data(&self) -> io::Result<Vec<Range<u64>>> {
        let all = 0..self.contents.len() as u64;
        Ok(Vec::from([all]))
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        buffer.fill(0);
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(found) = self.contents.get(at..) {
            let length = found.len().min(buffer.len());
            buffer[..length].copy_from_slice(&found[..length]);
        }
        Ok(())
    }
}

fn io_error(what: &str) -> impl Fn(io::Error) -> Error {
    move |cause| Error::io(what.to_owned(), cause)
}

/// The bytes of an archive.
pub(super) fn pack(state: &SimState, head: &[u8], files: &[PackEntry]) -> Result<Vec<u8>> {
    let failed = io_error("write the archive");
    let file = |path: &Path| state.files.get(path).ok_or_else(|| missing(path));
    let mut contents: Vec<(u64, Box<dyn Content + '_>)> = Vec::new();
    for packed in files {
        let base = file(&packed.path)?;
        let content: Box<dyn Content + '_> = match &packed.store {
            None => Box::new(base),
            Some(store) => Box::new(Overlay::read(base, file(store)?).map_err(&failed)?),
        };
        contents.push((packed.size, content));
    }
    let contents: Vec<_> = contents.iter().map(|(size, it)| (*size, &**it)).collect();
    let mut bytes = Vec::new();
    archive::pack(&mut bytes, head, &contents, &nobody).map_err(failed)?;
    Ok(bytes)
}

/// The files of an archive.
pub(super) fn unpack(from: &SimFile, to: &[UnpackEntry]) -> Result<Vec<(PathBuf, SimFile)>> {
    let sizes: Vec<u64> = to.iter().map(|it| it.size).collect();
    let mut contents: Vec<Vec<u8>> = vec![Vec::new(); to.len()];
    archive::unpack(&*from.contents, &sizes, |number, offset, bytes| {
        let end = usize::try_from(offset)
            .ok()
            .and_then(|it| it.checked_add(bytes.len()));
        let end = end.filter(|end| *end <= MOST);
        let (Some(end), Some(file)) = (end, contents.get_mut(number)) else {
            return Err(io::Error::other("the model keeps no file so large"));
        };
        file.resize(end, 0);
        file[end - bytes.len()..].copy_from_slice(bytes);
        Ok(())
    })
    .map_err(io_error("unpack the archive"))?;
    let file = |(unpacked, contents): (&UnpackEntry, Vec<u8>)| {
        let file = SimFile {
            length: unpacked.size,
            contents,
            ..SimFile::default()
        };
        (unpacked.path.clone(), file)
    };
    Ok(to.iter().zip(contents).map(file).collect())
}
