//! The fields of an ext4 superblock that the start needs, read from the device itself.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::failure::{Context as _, Failure, Result};

/// The offset of the superblock, for every block size.
const OFFSET: u64 = 1024;
const LENGTH: usize = 1024;

const MAGIC: u16 = 0xEF53;

/// The flag for a file system in which the kernel found errors.
const HAS_ERRORS: u16 = 2;

/// The feature flag for a journal that must be replayed.
const RECOVER: u32 = 0x4;

/// The feature flag for block numbers with 64 bits.
const WIDE: u32 = 0x80;

/// The fields of a superblock that we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// The size of a block, in bytes.
    pub(crate) block_size: u64,
    /// The number of blocks of the file system.
    pub(crate) blocks: u64,
    /// Whether it has errors that are not repaired yet.
    pub(crate) has_errors: bool,
    /// Whether its journal must be replayed, because it was not unmounted.
    pub(crate) needs_recovery: bool,
}

fn u16_at(bytes: &[u8; LENGTH], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8; LENGTH], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl Superblock {
    /// Reads a device's superblock.
    pub(crate) fn read(device: &str) -> Result<Self> {
        let what = || format!("read the superblock of `{device}`");
        let mut bytes = [0; LENGTH];
        let file = File::open(device).while_doing(what)?;
        file.read_exact_at(&mut bytes, OFFSET).while_doing(what)?;
        Self::parse(&bytes).while_doing(what)
    }

    fn parse(bytes: &[u8; LENGTH]) -> Result<Self> {
        if u16_at(bytes, 0x38) != MAGIC {
            return Err(Failure::new("it is not an ext4 file system"));
        }
        let log_block_size = u32_at(bytes, 0x18);
        if log_block_size > 6 {
            return Err(Failure::new(format!(
                "a block size of 2^{log_block_size} KiB"
            )));
        }
        let incompatible = u32_at(bytes, 0x60);
        let high = if incompatible & WIDE == 0 {
            0
        } else {
            u32_at(bytes, 0x150)
        };
        Ok(Self {
            block_size: 1024 << log_block_size,
            blocks: u64::from(high) << 32 | u64::from(u32_at(bytes, 0x4)),
            has_errors: u16_at(bytes, 0x3A) & HAS_ERRORS != 0,
            needs_recovery: incompatible & RECOVER != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0x38..0x3A].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[0x3A] = 1;
        bytes[0x4..0x8].copy_from_slice(&262_144_u32.to_le_bytes());
        bytes[0x18] = 2;
        bytes
    }

    #[test]
    fn a_clean_file_system_is_read() {
        let read = Superblock::parse(&bytes()).unwrap();
        assert_eq!(
            read,
            Superblock {
                block_size: 4096,
                blocks: 262_144,
                has_errors: false,
                needs_recovery: false,
            }
        );
    }

    #[test]
    fn errors_and_wide_block_numbers_are_seen() {
        let mut bytes = bytes();
        bytes[0x3A] = 3;
        bytes[0x150] = 1;
        assert_eq!(Superblock::parse(&bytes).unwrap().blocks, 262_144);
        bytes[0x60] = 0x80;
        let read = Superblock::parse(&bytes).unwrap();
        assert_eq!((read.blocks, read.has_errors), ((1 << 32) + 262_144, true));
        assert!(!read.needs_recovery);
        bytes[0x60] |= 4;
        assert!(Superblock::parse(&bytes).unwrap().needs_recovery);
    }

    #[test]
    fn what_is_no_ext4_is_refused() {
        assert!(
            Superblock::parse(&[0; LENGTH])
                .unwrap_err()
                .to_string()
                .contains("not an ext4")
        );
        let mut bytes = bytes();
        bytes[0x18] = 200;
        assert!(
            Superblock::parse(&bytes)
                .unwrap_err()
                .to_string()
                .contains("block size")
        );
    }
}
