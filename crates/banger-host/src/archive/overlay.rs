//! The content of a dm-snapshot disk, read without the kernel's device-mapper.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::{Content, invalid};
use crate::cow::{CHUNK, HEADER_LENGTH, Header};

/// A dm-snapshot disk: its base, with the chunks of its store in place of those that changed.
pub(crate) struct Overlay<T> {
    base: T,
    store: T,
    chunk: u64,
    /// The position in the store of each changed chunk of the disk; both count in chunks.
    exceptions: BTreeMap<u64, u64>,
}

impl<T: Content> Overlay<T> {
    /// Reads the exceptions of the store.
    pub(crate) fn read(base: T, store: T) -> io::Result<Self> {
        let mut header = [0; HEADER_LENGTH];
        store.read_at(&mut header, 0)?;
        let chunk = match Header::read(&header) {
            Header::Fresh => None,
            Header::Valid { chunk } => Some(chunk),
            Header::GivenUp { .. } => return Err(invalid("its store was cut off".to_owned())),
            Header::Odd(what) => return Err(invalid(format!("its store is none: {what}"))),
        };
        let exceptions = chunk.map_or_else(|| Ok(BTreeMap::new()), |it| exceptions(&store, it))?;
        Ok(Self {
            base,
            store,
            chunk: chunk.unwrap_or(CHUNK),
            exceptions,
        })
    }
}

/// The exceptions of a store, as `dm-snap-persistent.c` reads them: one metadata area after
/// another, up to the first entry without a chunk.
fn exceptions(store: &impl Content, chunk: u64) -> io::Result<BTreeMap<u64, u64>> {
    let in_an_area = chunk / 16;
    let mut area = vec![0; usize::try_from(chunk).map_err(|_| invalid("large".to_owned()))?];
    let mut exceptions = BTreeMap::new();
    let end = store.data()?.last().map_or(0, |it| it.end);
    for number in 0.. {
        let at = (1 + number * (in_an_area + 1)).saturating_mul(chunk);
        if at >= end {
            break;
        }
        store.read_at(&mut area, at)?;
        for entry in area.chunks_exact(16) {
            let word = |at: usize| {
                let bytes = entry.get(at..at + 8).and_then(|it| it.try_into().ok());
                u64::from_le_bytes(bytes.unwrap_or_default())
            };
            if word(8) == 0 {
                return Ok(exceptions);
            }
            exceptions.insert(word(0), word(8));
        }
    }
    Ok(exceptions)
}

impl<T: Content> Content for Overlay<T> {
    fn data(&self) -> io::Result<Vec<Range<u64>>> {
        let changed = self.exceptions.keys().map(|old| {
            let start = old.saturating_mul(self.chunk);
            start..start.saturating_add(self.chunk)
        });
        let mut all: Vec<Range<u64>> = self.base.data()?.into_iter().chain(changed).collect();
        all.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in all {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Ok(merged)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let (mut at, mut rest) = (at, buffer);
        while !rest.is_empty() {
            let (old, within) = (at / self.chunk, at % self.chunk);
            let length = usize::try_from(self.chunk - within).unwrap_or(rest.len());
            let (part, behind) = rest.split_at_mut(length.min(rest.len()));
            match self.exceptions.get(&old) {
                Some(new) => self
                    .store
                    .read_at(part, new.saturating_mul(self.chunk) + within)?,
                None => self.base.read_at(part, at)?,
            }
            at += part.len() as u64;
            rest = behind;
        }
        Ok(())
    }
}
