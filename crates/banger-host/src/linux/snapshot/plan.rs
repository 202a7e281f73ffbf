//! The plan of a snapshot: sizes and tables, from values that are checked again later.

use std::os::unix::fs::MetadataExt as _;

use rustix::fs::OFlags;

use super::SnapshotSpec;
use super::device_mapper::Target;
use super::store::header;
use crate::cow::{Header, LEAST_CHUNK, least_length};
use crate::linux::context::During as _;
use crate::{Error, Kind, Result};

pub(super) const SECTOR: u64 = 512;
pub(super) const SECTORS_OF_MIB: u64 = 2048;

/// The largest disk, in MiB: 64 TiB.
pub(super) const LARGEST_MIB: u64 = 64 << 20;

/// The measures of the files and of the requested disk; all of them are checked again later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measures {
    /// The size of the disk, in sectors.
    pub(super) size: u64,
    /// The size of the base, in sectors.
    pub(super) base: u64,
    /// The size of a chunk, in sectors.
    pub(super) chunk: u64,
    /// The length of the store, in bytes.
    pub(super) cow: u64,
    pub(super) base_file: (u64, u64),
    pub(super) cow_file: (u64, u64),
}

impl Measures {
    pub(super) fn of(wanted: &SnapshotSpec) -> Result<Self> {
        let odd = |text: String| Error::new(Kind::Other, text);
        let base = wanted
            .base
            .metadata()
            .during(|| "examine the base".to_owned())?;
        let cow = wanted
            .cow
            .metadata()
            .during(|| "examine the store".to_owned())?;
        if !base.is_file() || !cow.is_file() {
            return Err(odd("base and store must be regular files".to_owned()));
        }
        let mode =
            rustix::fs::fcntl_getfl(&wanted.cow).during(|| "examine the store".to_owned())?;
        if mode & OFlags::RWMODE != OFlags::RDWR {
            return Err(odd("the store is not open for writing".to_owned()));
        }
        if !(1..=LARGEST_MIB).contains(&wanted.size_mib) {
            return Err(odd(format!(
                "{} MiB are out of range: 1 to {LARGEST_MIB}",
                wanted.size_mib
            )));
        }
        let size = wanted.size_mib * SECTORS_OF_MIB;
        if base.len() == 0 || base.len() % SECTOR != 0 || base.len() / SECTOR > size {
            return Err(odd(format!(
                "a base of {} bytes does not go into a disk of {} MiB",
                base.len(),
                wanted.size_mib
            )));
        }
        let header = header(&wanted.cow)?;
        if let Header::Odd(what) = &header {
            return Err(odd(format!("the file is not a snapshot's store: {what}")));
        }
        if header.chunk() < LEAST_CHUNK {
            return Err(odd(format!(
                "a store with chunks of {} bytes takes too much of the kernel's memory; the minimum is {LEAST_CHUNK}",
                header.chunk()
            )));
        }
        let least = least_length(size * SECTOR, header.chunk());
        if cow.len() < least {
            return Err(odd(format!(
                "a store of {} bytes would overflow: a disk of {} MiB needs {least}",
                cow.len(),
                wanted.size_mib
            )));
        }
        Ok(Self {
            size,
            base: base.len() / SECTOR,
            chunk: header.chunk() / SECTOR,
            cow: cow.len(),
            base_file: (base.dev(), base.ino()),
            cow_file: (cow.dev(), cow.ino()),
        })
    }

    /// The table of the origin: the base, followed by zeros.
    pub(super) fn origin_table(&self, base: u64) -> Vec<Target> {
        let mut table = vec![Target {
            start: 0,
            length: self.base,
            kind: "linear".to_owned(),
            parameters: format!("{} 0", major_minor(base)),
        }];
        if self.size > self.base {
            table.push(Target {
                start: self.base,
                length: self.size - self.base,
                kind: "zero".to_owned(),
                parameters: String::new(),
            });
        }
        table
    }

    /// The table of the snapshot. `P`: writes are persistent. `O`: an overflow is reported as one
    /// (Linux 4.4). A discard of whole chunks zeroes them in the store, which punches holes into
    /// its file (Linux 5.3).
    pub(super) fn table(&self, origin: u64, store: u64) -> Vec<Target> {
        vec![Target {
            start: 0,
            length: self.size,
            kind: "snapshot".to_owned(),
            parameters: format!(
                "{} {} PO {} 1 discard_zeroes_cow",
                major_minor(origin),
                major_minor(store),
                self.chunk
            ),
        }]
    }
}

/// A device number in the notation of device-mapper.
fn major_minor(device: u64) -> String {
    format!(
        "{}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    )
}

pub(super) fn device_number(text: &str) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    Some(rustix::fs::makedev(
        major.parse().ok()?,
        minor.parse().ok()?,
    ))
}
