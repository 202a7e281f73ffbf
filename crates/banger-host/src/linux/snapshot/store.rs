//! The store of a snapshot: its header in the file, and its status in the kernel.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use crate::cow::{HEADER_LENGTH, Header, VALID_AT};
use crate::linux::context::During as _;
use crate::linux::files::custom;
use crate::{Change, Error, Kind, Result, SnapshotStore};

/// The header of an open store.
pub(super) fn header(cow: &File) -> Result<Header> {
    let mut bytes = [0; HEADER_LENGTH];
    match cow.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(Header::read(&bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(Header::Fresh),
        Err(error) => Err(error).during(|| "read the header of the store".to_owned()),
    }
}

/// The kernel's status of a store.
pub(super) fn store_of(status: &str) -> SnapshotStore {
    let used = || {
        let (share, metadata) = status.split_once(' ')?;
        let (used, total) = share.split_once('/')?;
        Some(SnapshotStore::Used {
            sectors: used.parse().ok()?,
            of: total.parse().ok()?,
            metadata: metadata.trim().parse().ok()?,
        })
    };
    if status == "Overflow" {
        return SnapshotStore::Overflow;
    }
    used().unwrap_or(SnapshotStore::Invalid)
}

/// FileOp::RestoreStore.
pub(crate) fn restore(cow: &Path) -> Result<Change> {
    let describe = || format!("restore the store `{}`", cow.display());
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options()
        .read(true)
        .write(true)
        .custom_flags(custom(flags))
        .open(cow)
        .during(describe)?;
    if !file.metadata().during(describe)?.is_file() {
        return Err(Error::new(Kind::Other, "it is not a regular file").within(describe()));
    }
    match header(&file).map_err(|error| error.within(describe()))? {
        Header::Fresh | Header::Valid { .. } => Ok(Change::Already),
        Header::GivenUp { .. } => {
            file.write_all_at(&1u32.to_le_bytes(), VALID_AT)
                .during(describe)?;
            file.sync_all().during(describe)?;
            Ok(Change::Made)
        }
        Header::Odd(what) => Err(Error::new(
            Kind::Other,
            format!("it is not a snapshot's store: {what}"),
        )
        .within(describe())),
    }
}
