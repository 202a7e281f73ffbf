//! Lists the snapshots, with their properties.

use super::check_name;
use super::device_mapper::DeviceMapper;
use super::plan::SECTORS_OF_MIB;
use super::store::store_of;
use crate::linux::context::During as _;
use crate::linux::files::absent;
use crate::{Result, Snapshot, SnapshotStore};

/// Look::snapshot.
pub(crate) fn state(name: &str) -> Result<Option<Snapshot>> {
    check_name(name)?;
    let Some(mapper) = DeviceMapper::open()? else {
        return Ok(None);
    };
    let Some(device) = mapper.device(name)? else {
        return Ok(None);
    };
    let targets = if device.is_live {
        mapper.status(name)?
    } else {
        Vec::new()
    };
    Ok(Some(match targets.first() {
        Some(target) => Snapshot {
            size_mib: target.length / SECTORS_OF_MIB,
            store: store_of(&target.parameters),
        },
        None => Snapshot {
            size_mib: 0,
            store: SnapshotStore::Invalid,
        },
    }))
}

/// Look::snapshots. It needs no privilege: the kernel lists all devices to every user.
pub(crate) fn names(prefix: &str) -> Result<Vec<String>> {
    let describe = || "list the devices of device-mapper".to_owned();
    let Some(entries) = absent(std::fs::read_dir("/sys/block")).during(describe)? else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.during(describe)?.path().join("dm/name");
        let Ok(name) = std::fs::read_to_string(path) else {
            continue;
        };
        let name = name.trim();
        let name = name.strip_suffix("-origin").unwrap_or(name);
        if name.starts_with(prefix) && check_name(name).is_ok() {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}
