//! What the cases share: their snapshots, and checks for leftovers.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use banger_host::{
    Change, FileOp, Host as _, Instance, Linux, Look as _, MachineId, Op, Owner, RootOp,
    SnapshotFiles, cow, snapshot_node,
};

pub(crate) const MIB: u64 = 1 << 20;

/// The size of the base, in MiB.
pub(crate) const BASE_MIB: u64 = 16;

pub(crate) const OWNER: Owner = Owner {
    uid: 4711,
    gid: 4712,
};

pub(crate) fn host() -> Linux {
    Linux::new().unwrap()
}

pub(crate) fn name(number: u32) -> String {
    format!("banger-1-00ff-{number:08x}")
}

/// The shared base: a file system on the first quarter, a pattern on the rest.
pub(crate) fn base() -> PathBuf {
    let path = PathBuf::from("/state/base");
    if path.exists() {
        return path;
    }
    let op = Op::File(FileOp::MakeFilesystem {
        path: path.clone(),
        size_mib: BASE_MIB,
        label: "base".to_owned(),
        owner: None,
    });
    host().change(&op).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    // The last MiB of such a small file system is unused.
    file.write_all_at(&pattern(3, MIB as usize), (BASE_MIB - 1) * MIB)
        .unwrap();
    file.sync_all().unwrap();
    fs::copy(&path, "/state/base-as-it-was").unwrap();
    path
}

/// Pseudo-random bytes.
pub(crate) fn pattern(seed: u8, length: usize) -> Vec<u8> {
    let piece: Vec<u8> = (0..1021)
        .map(|at| (at / 4) as u8 ^ seed.wrapping_mul(31))
        .collect();
    // Copies a short piece, because single bytes are slow in an emulator without optimisation.
    let mut bytes = piece.repeat(length.div_ceil(piece.len()));
    bytes.truncate(length);
    bytes
}

pub(crate) fn store(name: &str) -> PathBuf {
    Path::new("/state").join(format!("{name}.cow"))
}

/// The op that makes a snapshot of this size, after its store was made long enough.
pub(crate) fn making(name: &str, size_mib: u64) -> Op {
    let cow = store(name);
    grow(&cow, cow::length_mib(size_mib));
    making_of(name, size_mib, base(), cow, Some(OWNER))
}

/// The op that makes a snapshot of these files.
pub(crate) fn making_of(
    name: &str,
    size_mib: u64,
    base: PathBuf,
    cow: PathBuf,
    owner: Option<Owner>,
) -> Op {
    by_root(name, |machine| RootOp::MakeSnapshot {
        machine,
        size_mib,
        files: SnapshotFiles { base, cow, owner },
    })
}

/// The op that removes a snapshot.
pub(crate) fn removing(name: &str) -> Op {
    by_root(name, |machine| RootOp::RemoveSnapshot { machine })
}

/// An op on the machine whose snapshot has this name.
fn by_root(name: &str, op: impl FnOnce(MachineId) -> RootOp) -> Op {
    let digits = name.strip_prefix("banger-1-").unwrap().replace('-', "");
    let (instance, machine) = Instance::of_tap(&format!("bg1{digits}")).unwrap();
    Op::Root(instance, op(machine))
}

pub(crate) fn grow(path: &Path, size_mib: u64) {
    let mut options = File::options();
    let file = options.create(true).write(true).truncate(false).open(path);
    let file = file.unwrap();
    if file.metadata().unwrap().len() < size_mib * MIB {
        file.set_len(size_mib * MIB).unwrap();
    }
}

pub(crate) fn make(name: &str, size_mib: u64) -> Change {
    let made = host().change(&making(name, size_mib));
    made.unwrap_or_else(|error| panic!("{}", error_text(&error)))
}

pub(crate) fn remove(name: &str) -> Change {
    let removed = host().change(&removing(name));
    removed.unwrap_or_else(|error| panic!("{}", error_text(&error)))
}

/// An error with all its causes.
pub(crate) fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        text += &format!(": {error}");
        below = error.source();
    }
    text
}

pub(crate) fn open(name: &str) -> File {
    let node = snapshot_node(name);
    File::options().read(true).write(true).open(node).unwrap()
}

pub(crate) fn length(device: &mut File) -> u64 {
    device.seek(SeekFrom::End(0)).unwrap()
}

/// The bytes on the device itself, not in the page cache.
pub(crate) fn read(name: &str, at: u64, length: usize) -> Vec<u8> {
    forget();
    let mut bytes = vec![0; length];
    open(name).read_exact_at(&mut bytes, at).unwrap();
    bytes
}

pub(crate) fn write(name: &str, at: u64, bytes: &[u8]) {
    let device = open(name);
    device.write_all_at(bytes, at).unwrap();
    device.sync_all().unwrap();
}

/// Drops the page cache, so that the kernel reads from disks again.
pub(crate) fn forget() {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
}

pub(crate) fn assert_base_is_as_it_was() {
    forget();
    let read = |path: &str| fs::read(path).unwrap();
    assert!(
        read("/state/base") == read("/state/base-as-it-was"),
        "the base was written"
    );
}

/// The number of loop devices with a file, and the names of device-mapper's devices.
pub(crate) fn devices() -> (usize, Vec<String>) {
    let (mut loops, mut mapped) = (0, Vec::new());
    for entry in fs::read_dir("/sys/block").unwrap() {
        let path = entry.unwrap().path();
        loops += usize::from(path.join("loop/backing_file").exists());
        if let Ok(name) = fs::read_to_string(path.join("dm/name")) {
            mapped.push(name.trim().to_owned());
        }
    }
    mapped.sort();
    (loops, mapped)
}

pub(crate) fn assert_pristine() {
    assert_nothing_is_left();
    if Path::new("/state/base").exists() {
        assert_base_is_as_it_was();
    }
}

pub(crate) fn assert_nothing_is_left() {
    // An autoclear loop device is removed a moment after its last user.
    until("no loop device is left", || devices().0 == 0);
    assert_eq!(devices().1, Vec::<String>::new());
    let nodes = fs::read_dir("/dev/banger").map_or(0, Iterator::count);
    assert_eq!(nodes, 0, "nodes are left");
}

/// Cleans up after a failed case, so that the next one does not fail because of it.
pub(crate) fn clear() {
    let _ = rustix::mount::unmount("/guest", rustix::mount::UnmountFlags::DETACH);
    let _ = rustix::mount::unmount("/small", rustix::mount::UnmountFlags::DETACH);
    for name in host().snapshots("banger-1-").unwrap_or_default() {
        let _ = host().change(&removing(&name));
    }
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        pause(20);
    }
}

pub(crate) fn pause(milliseconds: u64) {
    host().wait_any(&[], Duration::from_millis(milliseconds));
}

pub(crate) fn wait_for(path: &str) {
    until(path, || Path::new(path).exists());
}

pub(crate) fn allocated(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

/// Fills a file; returns the outcome of the write.
pub(crate) fn fill(path: &Path, bytes: u64) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let piece = pattern(9, 64 << 10);
    for _ in 0..bytes.div_ceil(piece.len() as u64) {
        file.write_all(&piece)?;
    }
    file.sync_all()
}

pub(crate) fn contents(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}
