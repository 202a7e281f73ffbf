//! Finds the root partition of an untrusted raw disk. No program of the host reads its partition
//! table.
//!
//! GPT is described in the UEFI specification, chapter 5; the partition types in
//! <https://uapi-group.org/specifications/specs/discoverable_partitions_specification>.

use std::fs::File;

use banger_api::{Code, Error};

use super::plain::head;
use crate::error::Result;
use crate::image::ext4;

/// The length of a sector, in bytes.
const SECTOR: u64 = 512;

/// The maximum number of table entries that are read.
const ENTRIES: u32 = 256;

/// 4f68bce3-e8cd-4db1-96e7-fbcaf984b709, as GPT stores it: the root of an x86-64 system.
const ROOT: [u8; 16] = [
    0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09,
];

/// A partition, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) offset: u64,
    pub(super) length: u64,
    is_root: bool,
}

/// The partitions of a disk; `None` if it has no table.
pub(super) fn partitions(disk: &File) -> std::io::Result<Option<Vec<Partition>>> {
    let first = head::<1024>(disk, 0)?;
    if first.get(510..512) != Some(b"\x55\xaa") {
        return Ok(None);
    }
    if first.get(512..520) == Some(b"EFI PART") {
        return gpt(disk, &first[512..]).map(Some);
    }
    let entries = first[446..510].chunks_exact(16);
    let found: Vec<_> = entries
        .filter(|entry| entry[4] == 0x83)
        .map(|entry| Partition {
            offset: number(&entry[8..12]) * SECTOR,
            length: number(&entry[12..16]) * SECTOR,
            is_root: false,
        })
        .collect();
    Ok((!found.is_empty()).then_some(found))
}

fn gpt(disk: &File, header: &[u8]) -> std::io::Result<Vec<Partition>> {
    let (table, count, size) = (
        number(&header[72..80]),
        u32::try_from(number(&header[80..84])).unwrap_or(ENTRIES),
        number(&header[84..88]),
    );
    let mut found = Vec::new();
    for index in 0..count.min(ENTRIES) {
        let at = table.checked_mul(SECTOR);
        let at = at.and_then(|it| it.checked_add(u64::from(index).checked_mul(size)?));
        let Some(entry) = at.map(|at| head::<128>(disk, at)).transpose()? else {
            break;
        };
        let (Some(kind), Some(first), Some(last)) =
            (entry.get(..16), entry.get(32..40), entry.get(40..48))
        else {
            break;
        };
        let (first, last) = (number(first), number(last));
        if kind.iter().any(|byte| *byte != 0) && first <= last && last < u64::MAX / SECTOR - 1 {
            found.push(Partition {
                offset: first * SECTOR,
                length: (last + 1 - first) * SECTOR,
                is_root: kind == ROOT,
            });
        }
    }
    Ok(found)
}

fn number(little_endian: &[u8]) -> u64 {
    let bytes = little_endian.iter().rev();
    bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The root partition: the one with that type, or else the only one with ext4.
pub(super) fn root(disk: &File, partitions: &[Partition]) -> Result<Partition> {
    let mut ext4 = Vec::new();
    for partition in partitions {
        let length = ext4::length_at(disk, partition.offset).map_err(|cause| {
            Error::new(Code::Host, "read the disk's partitions").cause(cause.to_string())
        })?;
        if length.is_some_and(|length| length <= partition.length) {
            ext4.push(*partition);
        }
    }
    let refusal =
        |why: String| Error::new(Code::Invalid, "its root partition is not found").cause(why);
    let hint = "boot it elsewhere, and import a tar of its files: tar --one-file-system --xattrs -C / -cf root.tar .";
    let root = ext4.iter().find(|it| it.is_root);
    match (root, ext4.as_slice()) {
        (Some(root), _) => Ok(*root),
        (None, [only]) => Ok(*only),
        (None, []) => {
            let count = partitions.len();
            Err(refusal(format!(
                "none of its {count} partitions is a complete ext4 file system"
            ))
            .hint(hint))
        }
        (None, several) => {
            let count = several.len();
            Err(refusal(format!(
                "{count} partitions are ext4, and none has the type of a root partition"
            ))
            .hint(hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    /// A disk of 8 MiB with these partitions: type, first and last sector.
    fn disk(entries: &[([u8; 16], u64, u64)]) -> File {
        let disk = tempfile::tempfile().unwrap();
        disk.set_len(8 << 20).unwrap();
        disk.write_all_at(b"\x55\xaaEFI PART", 510).unwrap();
        disk.write_all_at(&2_u64.to_le_bytes(), 512 + 72).unwrap();
        disk.write_all_at(&128_u32.to_le_bytes(), 512 + 80).unwrap();
        disk.write_all_at(&128_u32.to_le_bytes(), 512 + 84).unwrap();
        for (index, (kind, first, last)) in (0..).zip(entries) {
            let at = 1024 + 128 * index;
            disk.write_all_at(kind, at).unwrap();
            disk.write_all_at(&first.to_le_bytes(), at + 32).unwrap();
            disk.write_all_at(&last.to_le_bytes(), at + 40).unwrap();
        }
        disk
    }

    /// A superblock of this many blocks of 1 KiB.
    fn format(disk: &File, sector: u64, blocks: u32) {
        let at = sector * SECTOR + 1024;
        disk.write_all_at(&blocks.to_le_bytes(), at + 4).unwrap();
        disk.write_all_at(b"\x53\xef", at + 0x38).unwrap();
    }

    fn found(disk: &File) -> Result<u64> {
        let partitions = partitions(disk).unwrap().unwrap();
        root(disk, &partitions).map(|it| it.offset / SECTOR)
    }

    #[test]
    fn the_root_is_the_one_that_says_so_or_the_only_one_with_ext4() {
        let other = [7; 16];
        let two = disk(&[(other, 2048, 4095), (ROOT, 4096, 8191)]);
        assert!(found(&two).is_err(), "neither has a file system");
        format(&two, 2048, 1024);
        assert_eq!(found(&two).unwrap(), 2048);
        format(&two, 4096, 2048);
        assert_eq!(found(&two).unwrap(), 4096);
        let alike = disk(&[(other, 2048, 4095), (other, 4096, 8191)]);
        format(&alike, 2048, 1024);
        format(&alike, 4096, 2048);
        assert!(found(&alike).unwrap_err().to_string().contains("none has"));
        let short = disk(&[(ROOT, 2048, 2049)]);
        format(&short, 2048, 1024);
        assert!(
            found(&short).is_err(),
            "its file system is longer than itself"
        );
    }

    #[test]
    fn a_table_of_nonsense_is_no_panic() {
        for byte in [0x00, 0x7f, 0xff] {
            let disk = disk(&[(ROOT, 2048, 4095), ([byte; 16], u64::MAX, u64::MAX)]);
            disk.write_all_at(&[byte; 16], 512 + 72).unwrap();
            let _ = partitions(&disk).unwrap().map(|them| root(&disk, &them));
        }
        let empty = tempfile::tempfile().unwrap();
        assert_eq!(partitions(&empty).unwrap(), None);
    }
}
