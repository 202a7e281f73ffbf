//! Simulated snapshots: devices, the loop devices below them, and their users.

use std::path::{Path, PathBuf};

use super::change::{made, missing};
use super::{SimSnapshot, SimState};
use crate::cow::{HEADER_LENGTH, Header, VALID_AT, length_mib};
use crate::{Change, Error, Kind, Result, Snapshot, SnapshotFiles, SnapshotStore, snapshot_node};

const MIB: u64 = 1 << 20;

/// The header of a used store, with chunks of 16 KiB.
const HEADER: [u8; HEADER_LENGTH] = *b"SnAp\x01\0\0\0\x01\0\0\0\x20\0\0\0";

fn header(state: &SimState, cow: &Path) -> Result<Header> {
    let file = state.files.get(cow).ok_or_else(|| missing(cow))?;
    Ok(Header::read(&file.contents))
}

pub(super) fn restore(state: &mut SimState, cow: &Path) -> Result<Change> {
    match header(state, cow)? {
        Header::Fresh | Header::Valid { .. } => Ok(Change::Already),
        Header::GivenUp { .. } => {
            if let Some(file) = state.files.get_mut(cow) {
                file.contents[VALID_AT as usize] = 1;
            }
            Ok(Change::Made)
        }
        Header::Odd(what) => Err(Error::new(Kind::Other, what)),
    }
}

pub(super) fn make(
    state: &mut SimState,
    name: &str,
    SnapshotFiles { base, cow, owner }: &SnapshotFiles,
    size_mib: u64,
) -> Result<Change> {
    let length = |path: &PathBuf| {
        let file = state.files.get(path).ok_or_else(|| missing(path));
        file.map(|it| it.length)
    };
    if length(base)? > size_mib * MIB || length(cow)? < length_mib(size_mib) * MIB {
        return Err(Error::new(
            Kind::Other,
            "the base is larger than the disk, or the store would overflow",
        ));
    }
    match header(state, cow)? {
        Header::Fresh | Header::Valid { .. } => {}
        Header::GivenUp { .. } => return Err(Error::new(Kind::Other, "the store was invalidated")),
        Header::Odd(what) => return Err(Error::new(Kind::Other, what)),
    }
    if let Some(file) = state.files.get_mut(cow)
        && file.contents.len() < HEADER_LENGTH
    {
        file.contents = HEADER.to_vec();
    }
    let before = state.snapshots.get(name);
    let wanted = SimSnapshot {
        base: base.clone(),
        cow: cow.clone(),
        size_mib: size_mib.max(before.map_or(0, |it| it.size_mib)),
        owner: *owner,
        given_up: false,
    };
    for file in [base, cow] {
        let users = state.loops.entry(file.clone()).or_default();
        users.insert(name.to_owned());
    }
    made(state.snapshots.insert(name.to_owned(), wanted.clone()) != Some(wanted))
}

pub(super) fn remove(state: &mut SimState, name: &str) -> Result<Change> {
    let node = snapshot_node(name).display().to_string();
    let user = state.processes.iter().find(|(_, it)| {
        let jailed = it.jailed.as_ref().is_some_and(|it| it.name == name);
        it.exit.is_none() && (jailed || it.arguments.contains(&node))
    });
    if let Some((pid, _)) = user {
        return Err(Error::new(
            Kind::Busy,
            format!("the device `{name}`: in use by process {pid}"),
        ));
    }
    state.loops.retain(|_, users| {
        users.remove(name);
        !users.is_empty()
    });
    made(state.snapshots.remove(name).is_some())
}

pub(super) fn look(state: &SimState, name: &str) -> Option<Snapshot> {
    let found = state.snapshots.get(name)?;
    let store = if found.given_up {
        SnapshotStore::Invalid
    } else {
        SnapshotStore::Used {
            sectors: 32,
            of: length_mib(found.size_mib) * 2048,
            metadata: 32,
        }
    };
    Some(Snapshot {
        size_mib: found.size_mib,
        store,
    })
}
