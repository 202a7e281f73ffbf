//! The kernel memory that the store of a snapshot may need.
//!
//! A user may change the store's file during the check. So the values are checked again in the loop
//! device and in the table, where a user cannot change them.

use super::device_mapper::{DeviceMapper, Target};
use super::loops::Loop;
use super::plan::{Measures, SECTOR, device_number};
use super::store::header;
use super::{SnapshotSpec, check_name};
use crate::cow;
use crate::linux::context::During as _;
use crate::{Error, Kind, Result};

/// The most memory that the store of a snapshot may take, in bytes.
pub(crate) fn memory_of_store(wanted: &SnapshotSpec) -> Result<u64> {
    let length = wanted.cow.metadata();
    let length = length.during(|| "examine the store".to_owned())?.len();
    Ok(cow::memory(length, header(&wanted.cow)?.chunk()))
}

/// The most memory that the store of this snapshot takes, in bytes; 0 without a snapshot or an
/// active table.
pub(crate) fn memory(name: &str) -> Result<u64> {
    check_name(name)?;
    let Some(mapper) = DeviceMapper::open()? else {
        return Ok(0);
    };
    if mapper.device(name)?.is_none() {
        return Ok(0);
    }
    let table = mapper.table(name)?;
    let Some((store, chunk)) = store_of_table(&table) else {
        return Ok(0);
    };
    Ok(cow::memory(length(store)?, chunk))
}

/// The device of the store, and its chunk in bytes: `<origin> <store> <flags> <chunk> …`.
fn store_of_table(table: &[Target]) -> Option<(u64, u64)> {
    let mut words = table.first()?.parameters.split(' ');
    let store = device_number(words.nth(1)?)?;
    let chunk: u64 = words.nth(1)?.parse().ok()?;
    Some((store, chunk * SECTOR))
}

/// The length of a block device, in bytes.
fn length(device: u64) -> Result<u64> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let path = format!("/sys/dev/block/{major}:{minor}/size");
    let text = std::fs::read_to_string(&path).during(|| format!("read `{path}`"))?;
    let sectors: Option<u64> = text.trim().parse().ok();
    let odd = || Error::new(Kind::Other, format!("`{path}` does not contain a number"));
    Ok(sectors.ok_or_else(odd)?.saturating_mul(SECTOR))
}

/// Rejects a store that has grown since it was measured.
pub(super) fn need_length(store: &Loop, measures: &Measures) -> Result<()> {
    if length(store.number)? <= measures.cow {
        return Ok(());
    }
    Err(Error::new(
        Kind::Denied,
        "the store grew while it was put in force",
    ))
}

/// Rejects a store whose chunk size has changed since it was measured. The kernel uses the one that
/// it has read itself.
pub(super) fn need_chunk(mapper: &DeviceMapper, name: &str, measures: &Measures) -> Result<()> {
    let table = mapper.loaded_table(name)?;
    match store_of_table(&table) {
        Some((_, chunk)) if chunk == measures.chunk * SECTOR => Ok(()),
        Some(_) | None => Err(Error::new(
            Kind::Denied,
            "the header of the store changed while it was put in force",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_and_its_chunk_are_read_from_a_table() {
        let table = |parameters: &str| {
            vec![Target {
                start: 0,
                length: 2048,
                kind: "snapshot".to_owned(),
                parameters: parameters.to_owned(),
            }]
        };
        let found = store_of_table(&table("253:0 7:1 PO 32 1 discard_zeroes_cow"));
        assert_eq!(found, Some((rustix::fs::makedev(7, 1), 16384)));
        for odd in ["", "253:0", "253:0 7:1", "253:0 7:1 PO", "253:0 7:1 PO x"] {
            assert_eq!(store_of_table(&table(odd)), None, "{odd:?}");
        }
        assert_eq!(store_of_table(&[]), None);
    }
}
