//! The exception store of a snapshot: the length of its file, and its header.
//!
//! A snapshot (Linux, `Documentation/admin-guide/device-mapper/snapshot.rst`) keeps what is written
//! to it in chunks of a file of its own. The layout is that of `drivers/md/dm-snap-persistent.c`;
//! `n` is a sixteenth of the chunk's bytes, as an exception takes 16:
//!
//! ```text
//!   header │ metadata 0 │ n chunks of data │ metadata 1 │ n chunks of data │ … │ metadata m
//! ```
//!
//! The kernel zeroes the next metadata chunk as soon as one is full, so one more is needed than
//! there are areas of data.

/// The size of a chunk of a new store, in bytes; docs/storage.md has the measurement.
pub const CHUNK: u64 = 16 << 10;

/// The bytes that one exception takes in the metadata (`struct disk_exception`).
const EXCEPTION: u64 = 16;

/// The smallest chunk of a store that is accepted, in bytes. The kernel keeps an exception in
/// memory for each chunk, so smaller chunks make a store take more of it.
pub(crate) const LEAST_CHUNK: u64 = 4096;

/// The bytes of memory that one exception takes (`struct dm_exception`).
const EXCEPTION_IN_MEMORY: u64 = 32;

/// The most bytes of memory that the exception tables take: `calc_max_buckets` of
/// `drivers/md/dm-snap.c`, and an eighth of that for pending exceptions.
const TABLES: u64 = (2 << 20) + (2 << 20) / 8;

/// The bytes of memory that each MiB of a new store takes.
pub(crate) const MEMORY_OF_A_MIB: u64 = MIB / CHUNK * EXCEPTION_IN_MEMORY;

/// The most memory, in bytes, that the kernel takes for a store of this length and chunk size.
pub(crate) fn memory(length: u64, chunk: u64) -> u64 {
    (length / chunk.max(SECTOR))
        .saturating_mul(EXCEPTION_IN_MEMORY)
        .saturating_add(TABLES)
}

/// The bytes of a sector, the unit of the header.
const SECTOR: u64 = 512;

const MIB: u64 = 1 << 20;

/// The bytes of the header that are used (`struct disk_header`).
pub const HEADER_LENGTH: usize = 16;

/// The offset in the header of the word that tells whether the store is valid.
pub(crate) const VALID_AT: u64 = 4;

/// `SNAP_MAGIC`: "SnAp". The header is little-endian.
const MAGIC: u32 = 0x7041_6e53;

/// `SNAPSHOT_DISK_VERSION`.
const VERSION: u32 = 1;

/// The length in MiB of a store's file that holds every chunk of a disk of `size_mib`, so that the
/// store never overflows.
#[must_use]
pub fn length_mib(size_mib: u64) -> u64 {
    least_length(size_mib.saturating_mul(MIB), CHUNK).div_ceil(MIB)
}

/// The length in bytes of a store's file that holds every chunk of a disk of `size` bytes.
pub(crate) fn least_length(size: u64, chunk: u64) -> u64 {
    let chunks = size.div_ceil(chunk);
    let in_an_area = chunk / EXCEPTION;
    let areas = chunks.div_ceil(in_an_area);
    // The header, each area with its metadata, and the metadata chunk after the last area.
    (1 + areas * (1 + in_an_area) + 1).saturating_mul(chunk)
}

/// The header of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    /// No header yet: the kernel writes it at first use.
    Fresh,
    /// The store is valid.
    Valid {
        /// The size of its chunks, in bytes.
        chunk: u64,
    },
    /// The kernel could not write to the file, and invalidated the store.
    GivenUp {
        /// The size of its chunks, in bytes.
        chunk: u64,
    },
    /// Not a store of banger's, with the reason.
    Odd(String),
}

impl Header {
    /// Parses the first [`HEADER_LENGTH`] bytes of a store; an empty file has none.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let word = |index: usize| {
            let bytes = bytes.get(4 * index..4 * index + 4);
            bytes.map_or(0, |it| u32::from_le_bytes([it[0], it[1], it[2], it[3]]))
        };
        let (magic, valid, version, sectors) = (word(0), word(1), word(2), word(3));
        let chunk = u64::from(sectors) * SECTOR;
        match magic {
            0 => Self::Fresh,
            MAGIC if version != VERSION => Self::Odd(format!("its version is {version}")),
            MAGIC if !sectors.is_power_of_two() => {
                Self::Odd(format!("its chunks have {sectors} sectors"))
            }
            MAGIC if valid == 0 => Self::GivenUp { chunk },
            MAGIC => Self::Valid { chunk },
            _ => Self::Odd("it does not begin as one".to_owned()),
        }
    }

    /// The chunk size of a store with this header, in bytes.
    pub(crate) fn chunk(&self) -> u64 {
        match self {
            Self::Valid { chunk } | Self::GivenUp { chunk } => *chunk,
            Self::Fresh | Self::Odd(_) => CHUNK,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(words: [u32; 4]) -> Header {
        let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        Header::read(&bytes)
    }

    #[test]
    fn the_length_holds_header_data_metadata_and_one_metadata_more() {
        // 4 KiB chunks, 256 exceptions in each metadata chunk: 1 MiB is one area, full.
        assert_eq!(least_length(1 << 20, 4096), (1 + 1 + 256 + 1) * 4096);
        assert_eq!(
            least_length((1 << 20) + 1, 4096),
            (1 + 2 * 257 + 1) * 4096,
            "a chunk more begins an area"
        );
        assert_eq!(length_mib(1024), 1026);
    }

    #[test]
    fn the_overhead_stays_below_half_a_percent_of_a_large_disk() {
        for chunk in [4096, CHUNK, 65536] {
            let size = 1u64 << 40;
            let over = least_length(size, chunk) - size;
            assert!(over * 200 < size, "{chunk}: {over}");
        }
    }

    #[test]
    fn the_memory_of_a_store_grows_as_its_chunks_shrink() {
        let gib = 1 << 30;
        assert_eq!(memory(gib, CHUNK) - TABLES, gib / 512);
        assert_eq!(memory(gib, 512) - TABLES, gib / 16);
        assert!(memory(u64::MAX, 1) > 1 << 60, "it does not overflow");
    }

    #[test]
    fn a_header_is_read_as_the_kernel_reads_it() {
        assert_eq!(header([0, 0, 0, 0]), Header::Fresh);
        assert_eq!(Header::read(&[]), Header::Fresh);
        assert_eq!(header([MAGIC, 1, 1, 32]), Header::Valid { chunk: 16384 });
        assert_eq!(header([MAGIC, 0, 1, 8]), Header::GivenUp { chunk: 4096 });
        for odd in [
            [MAGIC, 1, 2, 8],
            [MAGIC, 1, 1, 7],
            [MAGIC, 1, 1, 0],
            [MAGIC + 1, 1, 1, 8],
        ] {
            assert!(matches!(header(odd), Header::Odd(_)), "{odd:?}");
        }
    }
}
