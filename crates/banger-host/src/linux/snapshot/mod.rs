//! Root disks over a shared base, by the kernel's device-mapper.
//!
//! ```text
//!   /dev/banger/<name>                the node, 0600, its owner's
//!        │
//!   <name>          snapshot ─────────────────────┐ what was written
//!        │ what was not                           │
//!   <name>-origin   linear ───┬─ zero             │      read-only
//!                             │  up to the size   │
//!   loop device, read-only, shared                loop device, its own
//!                             │                   │
//!   the base                                      the store
//! ```
//!
//! A snapshot cannot be longer than its origin, so each has an origin of its own: the base,
//! followed by zeros. Growing loads longer tables into both.
//!
//! The base cannot be written: its loop device is read-only, and so is the table of the origin.

mod device_mapper;
mod look;
mod loops;
mod memory;
mod node;
mod plan;
mod store;
mod users;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use self::device_mapper::{Device, DeviceMapper, Target};
use self::plan::{Measures, device_number};
use self::store::{header, store_of};
use super::context::During as _;
use super::files::{custom, made};
use super::units::{self, Manager};
use crate::cow::Header;
use crate::{Change, Error, Kind, Owner, Result, SnapshotFiles, SnapshotStore};

pub(crate) use look::{names, state};
pub(crate) use memory::{memory, memory_of_store};
pub(crate) use node::path as node_path;
pub(crate) use store::restore;

/// How long to retry the removal of a device in use. udev and similar programs open a device for a
/// moment, and a killed hypervisor closes it after its last write.
const PATIENCE: Duration = Duration::from_secs(5);

/// The prefix of the names of all snapshots.
const PREFIX: &str = "banger-1-";

/// The snapshot to make. Its files are open, which shows that the caller may open them.
#[derive(Debug)]
pub(crate) struct SnapshotSpec {
    /// `banger-1-<4 hexadecimal digits>-<8 hexadecimal digits>`.
    pub(crate) name: String,
    /// The shared base, open for reading.
    pub(crate) base: File,
    /// Its own store, open for reading and writing.
    pub(crate) cow: File,
    /// Its size in MiB.
    pub(crate) size_mib: u64,
    /// The user of its node.
    pub(crate) uid: u32,
    /// The group of its node.
    pub(crate) gid: u32,
}

/// A lock that serializes changes, so that two of them do not both make a loop device for one base.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rejects names that are not banger snapshot names.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let hexadecimal = |text: &str, length: usize| {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        text.len() == length && text.bytes().all(digit)
    };
    let parts = name.strip_prefix(PREFIX).and_then(|it| it.split_once('-'));
    if parts.is_some_and(|(instance, id)| hexadecimal(instance, 4) && hexadecimal(id, 8)) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Other,
        format!("`{}` is not a banger snapshot name", name.escape_debug()),
    ))
}

fn origin_of(name: &str) -> String {
    format!("{name}-origin")
}

/// Opens a base and a store for [`make`]. A store may not be a symbolic link.
pub(crate) fn open(files: &SnapshotFiles) -> Result<(File, File)> {
    let opened = |path: &Path, write: bool, flags: OFlags| {
        File::options()
            .read(true)
            .write(write)
            .custom_flags(custom(flags | OFlags::NONBLOCK | OFlags::NOCTTY))
            .open(path)
            .during(|| format!("open `{}`", path.display()))
    };
    Ok((
        opened(&files.base, false, OFlags::empty())?,
        opened(&files.cow, true, OFlags::NOFOLLOW)?,
    ))
}

/// The state of the device with a snapshot's name.
#[derive(Debug)]
enum SnapshotState {
    Nothing,
    /// A complete snapshot over the wanted files, with this size in sectors.
    Same {
        device: u64,
        size: u64,
    },
    /// Anything else: incomplete, over other files, or invalidated by the kernel.
    Other,
}

impl SnapshotState {
    fn look(mapper: &DeviceMapper, name: &str, measures: &Measures) -> Result<Self> {
        let origin_name = origin_of(name);
        let pair = (mapper.device(name)?, mapper.device(&origin_name)?);
        let (snapshot, origin) = match pair {
            (None, None) => return Ok(Self::Nothing),
            (Some(snapshot), Some(origin)) if snapshot.is_live && origin.is_live => {
                (snapshot, origin)
            }
            _ => return Ok(Self::Other),
        };
        let status = mapper.status(name)?;
        let is_good = status
            .first()
            .is_some_and(|it| matches!(store_of(&it.parameters), SnapshotStore::Used { .. }));
        let tables = (mapper.table(name)?, mapper.table(&origin_name)?);
        Ok(match size_of_whole(&tables, origin, measures) {
            Some(size) if is_good => Self::Same {
                device: snapshot.number,
                size,
            },
            _ => Self::Other,
        })
    }
}

/// The size in sectors of a snapshot with these tables, if it is over the wanted files.
fn size_of_whole(
    (snapshot, origin): &(Vec<Target>, Vec<Target>),
    origin_device: Device,
    measures: &Measures,
) -> Option<u64> {
    let [only] = snapshot.as_slice() else {
        return None;
    };
    let mut words = only.parameters.split(' ');
    let over = device_number(words.next()?)?;
    let store = loops::behind(device_number(words.next()?)?)?;
    let first = origin.first()?;
    let base = loops::behind(device_number(first.parameters.split(' ').next()?)?)?;
    let length: u64 = origin.iter().map(|it| it.length).sum();
    let is_so = over == origin_device.number
        && store == measures.cow_file
        && base == measures.base_file
        && first.length == measures.base
        && length == only.length;
    is_so.then_some(only.length)
}

/// RootOp::MakeSnapshot. Without an owner it is for the user that we run as.
pub(super) fn make_of_paths(name: &str, files: &SnapshotFiles, size_mib: u64) -> Result<Change> {
    let (base, cow) = open(files)
        .map_err(|error| error.within(format!("make the snapshot `{}`", name.escape_debug())))?;
    let ours = || Owner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    };
    let owner = files.owner.unwrap_or_else(ours);
    make(&SnapshotSpec {
        name: name.to_owned(),
        base,
        cow,
        size_mib,
        uid: owner.uid,
        gid: owner.gid,
    })
}

/// RootOp::MakeSnapshot, with its files open.
pub(crate) fn make(wanted: &SnapshotSpec) -> Result<Change> {
    let what = || format!("make the snapshot `{}`", wanted.name.escape_debug());
    check_name(&wanted.name)
        .and_then(|()| make_checked(wanted))
        .map_err(|error| error.within(what()))
}

fn make_checked(wanted: &SnapshotSpec) -> Result<Change> {
    let name = &wanted.name;
    let measures = Measures::of(wanted)?;
    if matches!(header(&wanted.cow)?, Header::GivenUp { .. }) {
        return Err(Error::new(
            Kind::Other,
            "the kernel has invalidated its store after a failed write",
        ));
    }
    let mapper = open_mapper()?;
    let _alone = alone();
    let present = SnapshotState::look(&mapper, name, &measures)?;
    let (device, changed) = match present {
        SnapshotState::Same { device, size } if size >= measures.size => (device, false),
        SnapshotState::Same { device, .. } => {
            grow(&mapper, wanted, &measures)?;
            (device, true)
        }
        SnapshotState::Nothing | SnapshotState::Other => {
            if matches!(present, SnapshotState::Other) {
                dismantle(&mapper, name)?;
            }
            let built = build(&mapper, wanted, &measures);
            if built.is_err() {
                // `remove` can remove the rest later; the first error is the one to report.
                let _ = dismantle(&mapper, name);
            }
            (built?, true)
        }
    };
    let owner = Owner {
        uid: wanted.uid,
        gid: wanted.gid,
    };
    Ok(made(node::put(name, device, owner)? | changed))
}

fn open_mapper() -> Result<DeviceMapper> {
    DeviceMapper::open()?.ok_or_else(|| {
        Error::new(Kind::Unsupported, "this kernel has no device-mapper")
            .hint("sudo modprobe dm-snapshot")
    })
}

/// Makes both devices, and returns the snapshot's number. The loop devices stay open here until
/// device-mapper has them.
fn build(mapper: &DeviceMapper, wanted: &SnapshotSpec, measures: &Measures) -> Result<u64> {
    let origin_name = origin_of(&wanted.name);
    let base = loops::of_base(&wanted.base)?;
    let store = loops::of_store(&wanted.cow, &wanted.name)?;
    memory::need_length(&store, measures)?;
    let origin = mapper.create(&origin_name)?;
    mapper.load(&origin_name, &measures.origin_table(base.number), true)?;
    mapper.resume(&origin_name)?;
    let snapshot = mapper.create(&wanted.name)?;
    mapper.load(
        &wanted.name,
        &measures.table(origin.number, store.number),
        false,
    )?;
    memory::need_chunk(mapper, &wanted.name, measures)?;
    mapper.resume(&wanted.name)?;
    Ok(snapshot.number)
}

/// Loads longer tables, the origin's first, because a snapshot is never longer than its origin.
fn grow(mapper: &DeviceMapper, wanted: &SnapshotSpec, measures: &Measures) -> Result<()> {
    let origin_name = origin_of(&wanted.name);
    let base = loops::of_base(&wanted.base)?;
    let store = loops::of_store(&wanted.cow, &wanted.name)?;
    memory::need_length(&store, measures)?;
    let origin = mapper
        .device(&origin_name)?
        .ok_or_else(|| Error::new(Kind::Missing, "its origin disappeared while it was growing"))?;
    mapper.load(&origin_name, &measures.origin_table(base.number), true)?;
    mapper.resume(&origin_name)?;
    // The exceptions move from the old table to the new one, so the old one must be suspended.
    mapper.suspend(&wanted.name)?;
    let loaded = mapper.load(
        &wanted.name,
        &measures.table(origin.number, store.number),
        false,
    );
    // Resumes even after an error, so that no write waits forever.
    let resumed = mapper.resume(&wanted.name);
    loaded.and(resumed)
}

/// RootOp::RemoveSnapshot.
///
/// Fails while a process still runs as the machine's user: it may have another node of the device,
/// and would reach the next disk that gets the number.
pub(crate) fn remove(name: &str) -> Result<Change> {
    let what = || format!("remove the snapshot `{}`", name.escape_debug());
    let removed = check_name(name).and_then(|()| {
        units::need_none(name, &[Manager::System])?;
        node::need_no_user(name)?;
        let _alone = alone();
        match DeviceMapper::open()? {
            Some(mapper) => dismantle(&mapper, name),
            None => node::remove(name),
        }
    });
    Ok(made(removed.map_err(|error| error.within(what()))?))
}

/// Removes both devices. The node is revoked first, because its number may be another device's a
/// moment later. The loop devices end with the tables.
fn dismantle(mapper: &DeviceMapper, name: &str) -> Result<bool> {
    let node = node::remove(name)?;
    let snapshot = remove_device(mapper, name)?;
    let origin = remove_device(mapper, &origin_of(name))?;
    Ok(node | snapshot | origin)
}

fn remove_device(mapper: &DeviceMapper, name: &str) -> Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match mapper.remove(name) {
            Ok(removed) => return Ok(removed),
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                if Instant::now() >= deadline {
                    return Err(busy(mapper, name));
                }
                // The kernel sends no event when a device is closed.
                let pause = rustix::time::Timespec {
                    tv_sec: 0,
                    tv_nsec: 20_000_000,
                };
                let _ = rustix::event::poll(&mut [], Some(&pause));
            }
            Err(error) => return Err(error).during(|| format!("remove the device `{name}`")),
        }
    }
}

fn busy(mapper: &DeviceMapper, name: &str) -> Error {
    let device = mapper.device(name).ok().flatten();
    let users = device.map_or_else(Vec::new, |it| users::of(it.number));
    let who = if users.is_empty() {
        "it is in use".to_owned()
    } else {
        format!("in use by {}", users.join(", "))
    };
    Error::new(Kind::Busy, format!("the device `{name}`: {who}"))
        .hint(format!("see it: sudo dmsetup info {name}"))
}

/// Checks that the kernel has everything that snapshots need, and that this user may use it.
pub(super) fn attempt() -> Result<String> {
    let mapper = open_mapper()?;
    let snapshot = mapper.version_of("snapshot")?;
    mapper.version_of("zero")?;
    mapper.version_of("linear")?;
    loops::attempt()?;
    Ok(format!("device-mapper has snapshots (target {snapshot})"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
