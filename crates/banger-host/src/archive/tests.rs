//! Archives in memory.

use super::*;
use crate::watch::nobody;

/// Bytes in memory, and the ranges of them that are reported as data.
struct Bytes(Vec<u8>, Vec<Range<u64>>);

impl Content for Bytes {
    fn data(&self) -> io::Result<Vec<Range<u64>>> {
        Ok(self.1.clone())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        buffer.fill(0);
        let at = usize::try_from(at).unwrap().min(self.0.len());
        let part = &self.0[at..];
        let length = part.len().min(buffer.len());
        buffer[..length].copy_from_slice(&part[..length]);
        Ok(())
    }
}

/// The range from 0 to `end`.
fn one(end: u64) -> Range<u64> {
    0..end
}

fn bytes(contents: &[u8]) -> Bytes {
    Bytes(contents.to_vec(), Vec::from([one(contents.len() as u64)]))
}

fn packed() -> (Vec<u8>, [u64; 2]) {
    let mut archive = Vec::new();
    let (one, two) = (bytes(b"one\0two"), bytes(&[7; CHUNK + 5]));
    let sizes = [1 << 40, CHUNK as u64 + 5];
    let files: [(u64, &dyn Content); 2] = [(sizes[0], &one), (sizes[1], &two)];
    pack(&mut archive, b"head", &files, &nobody).unwrap();
    (archive, sizes)
}

fn unpacked(archive: &[u8], sizes: &[u64]) -> Result<Vec<(usize, u64, usize)>, String> {
    let mut chunks = Vec::new();
    unpack(archive, sizes, |number, offset, chunk| {
        chunks.push((number, offset, chunk.len()));
        Ok(())
    })
    .map_err(|error| error.to_string())?;
    Ok(chunks)
}

#[test]
fn what_was_packed_comes_out_and_holes_take_nothing() {
    let (archive, sizes) = packed();
    let chunks = unpacked(&archive, &sizes).unwrap();
    assert_eq!(chunks, [(0, 0, 7), (1, 0, CHUNK), (1, CHUNK as u64, 5)]);
    assert!(archive.len() < CHUNK + 200);
    assert_eq!(head_length(&archive[..BEFORE_HEAD]), Ok(4));
}

#[test]
fn every_damage_is_refused() {
    let (archive, sizes) = packed();
    for length in (0..150).chain(archive.len() - 50..archive.len()) {
        assert!(unpacked(&archive[..length], &sizes).is_err(), "{length}");
    }
    for at in (0..150).chain(archive.len() - 50..archive.len()) {
        let mut damaged = archive.clone();
        damaged[at] ^= 1;
        assert!(unpacked(&damaged, &sizes).is_err(), "{at}");
    }
    let mut longer = archive.clone();
    longer.push(0);
    let error = unpacked(&longer, &sizes).unwrap_err();
    assert!(error.contains("follows"), "{error}");
    assert!(unpacked(&archive, &sizes[..1]).is_err());
    assert!(unpacked(&archive, &[sizes[0], sizes[1] + 1]).is_err());
}

/// An archive of one file with these chunks and a correct digest.
fn hostile(size: u64, chunks: &[(u64, u32)]) -> Vec<u8> {
    let mut archive = [&MAGIC[..], &0u32.to_le_bytes(), &1u32.to_le_bytes()].concat();
    archive.extend(size.to_le_bytes());
    for (offset, length) in chunks {
        archive.extend(offset.to_le_bytes());
        archive.extend(length.to_le_bytes());
        archive.extend(vec![1; (*length).min(1 << 20) as usize]);
    }
    archive.extend(END.to_le_bytes());
    let digest = Sha256::digest(&archive);
    archive.extend(digest);
    archive
}

#[test]
fn chunks_that_overlap_or_lie_outside_are_refused_though_the_digest_is_right() {
    assert!(unpacked(&hostile(100, &[(0, 10), (10, 90)]), &[100]).is_ok());
    for chunks in [
        &[(0, 10), (9, 10)][..],
        &[(10, 10), (0, 10)],
        &[(0, 10), (0, 10)],
        &[(91, 10)],
        &[(u64::MAX - 1, 10)],
        &[(0, 0)],
        &[(0, u32::MAX)],
        &[(0, CHUNK as u32 + 1)],
    ] {
        let archive = hostile(100, chunks);
        assert!(unpacked(&archive, &[100]).is_err(), "{chunks:?}");
    }
    let large = hostile(u64::MAX, &[(0, CHUNK as u32 + 1)]);
    assert!(unpacked(&large, &[u64::MAX]).is_err());
}

#[test]
fn a_head_is_bounded() {
    let long = [&MAGIC[..], &u32::MAX.to_le_bytes()].concat();
    assert!(head_length(&long).is_err());
    assert!(head_length(b"PK").is_err());
    assert!(head_length(&[0; BEFORE_HEAD]).is_err());
}

#[test]
fn a_disk_of_dm_snapshot_is_its_base_with_what_was_written_over_it() {
    const C: usize = 4096;
    let chunk = |byte: u8| vec![byte; C];
    let base = [chunk(1), chunk(2)].concat();
    let mut header = chunk(0);
    header[..16].copy_from_slice(&[0x7041_6e53_u32, 1, 1, 8].map(u32::to_le_bytes).concat());
    let mut area = chunk(0);
    // The store has chunk 1 of the disk at 3, and chunk 5 at 2.
    let entries = [1u64, 3, 5, 2].map(u64::to_le_bytes).concat();
    area[..32].copy_from_slice(&entries);
    let store = [header, area, chunk(8), chunk(9)].concat();
    let disk = Overlay::read(bytes(&base), bytes(&store)).unwrap();
    let c = C as u64;
    assert_eq!(disk.data().unwrap(), [0..2 * c, 5 * c..6 * c]);
    let mut all = vec![0; 6 * C];
    disk.read_at(&mut all, 0).unwrap();
    let expected = [chunk(1), chunk(9), chunk(0), chunk(0), chunk(0), chunk(8)].concat();
    assert!(all == expected);
    let fresh = Overlay::read(bytes(&base), bytes(&[])).unwrap();
    assert_eq!(fresh.data().unwrap(), vec![one(2 * c)]);
    let mut given_up = store.clone();
    given_up[4] = 0;
    assert!(Overlay::read(bytes(&base), bytes(&given_up)).is_err());
}
