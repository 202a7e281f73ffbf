//! The host's file system is full while a snapshot is written: afterwards the disk has everything
//! that the guest had synced, and the base is unchanged.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use banger_host::command::Command;
use banger_host::cow::{self, Header};
use banger_host::{Change, FileOp, Host as _, Look as _, Op, SnapshotStore, snapshot_node};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::inside::Case;
use crate::place::*;

pub(crate) const ALL: &[Case] = &[
    (
        "a_full_host_gives_a_store_up_and_restoring_it_gives_all_that_was_synced",
        given_up,
    ),
    (
        "a_full_host_leaves_what_has_room_already_writable",
        has_room,
    ),
];

const RECORD: usize = 4096;

fn on_small(name: &str) -> PathBuf {
    Path::new("/small").join(format!("{name}.cow"))
}

fn making_on_small(name: &str) -> Op {
    grow(&on_small(name), cow::length_mib(64));
    making_of(name, 64, base(), on_small(name), None)
}

fn mounted<T>(what: &str, at: &str, work: impl FnOnce() -> T) -> T {
    mount(what, at, "ext4", MountFlags::empty(), None).unwrap();
    let outcome = work();
    unmount(at, UnmountFlags::empty()).unwrap();
    outcome
}

/// Leaves this many bytes free on the small file system.
fn leave(bytes: u64) {
    let path = Path::new("/small/filler");
    let _ = fill(path, 64 * MIB);
    let length = allocated(path);
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(length.saturating_sub(bytes)).unwrap();
    file.sync_all().unwrap();
}

/// Appends records and syncs each, until that fails; returns how many were synced.
fn append(path: &Path) -> usize {
    let mut file = File::create(path).unwrap();
    for count in 0.. {
        let record = pattern(count as u8, RECORD);
        let written = file.write_all(&record).and_then(|()| file.sync_all());
        if written.is_err() {
            return count;
        }
    }
    unreachable!()
}

fn given_up() {
    mounted("/dev/vdb", "/small", || {
        for (round, room) in [300_000, MIB].into_iter().enumerate() {
            let name = name(800 + round as u32);
            one_round(&name, room);
            fs::remove_file(on_small(&name)).unwrap();
        }
        fs::remove_file("/small/filler").unwrap();
    });
}

fn one_round(name: &str, room: u64) {
    let making = making_on_small(name);
    host().change(&making).unwrap();
    let node = snapshot_node(name);
    let node = node.to_str().unwrap();
    mount(node, "/guest", "ext4", MountFlags::empty(), None).unwrap();
    fill(Path::new("/guest/before"), MIB).unwrap();
    leave(room);
    let synced = append(Path::new("/guest/records"));
    // The write that met the full disk first may have had space in the store already.
    let device = open(name);
    for at in 40..60 {
        let written = device.write_all_at(&pattern(1, MIB as usize), at * MIB);
        if written.and_then(|()| device.sync_all()).is_err() {
            break;
        }
    }
    drop(device);
    let found = host().snapshot(name).unwrap().unwrap();
    assert_eq!(
        found.store,
        SnapshotStore::Invalid,
        "after {synced} records"
    );
    let _ = unmount("/guest", UnmountFlags::empty());
    remove(name);
    let header = || Header::read(&fs::read(on_small(name)).unwrap()[..cow::HEADER_LENGTH]);
    assert!(matches!(header(), Header::GivenUp { .. }), "{:?}", header());
    let error = host().change(&making).unwrap_err();
    assert!(
        error_text(&error).contains("invalidated its store"),
        "{}",
        error_text(&error)
    );

    // The host has free space again.
    leave(20 * MIB);
    let restore = Op::File(FileOp::RestoreStore {
        path: on_small(name),
    });
    assert_eq!(host().change(&restore).unwrap(), Change::Made);
    assert_eq!(host().change(&restore).unwrap(), Change::Already);
    host().change(&making).unwrap();
    mounted(node, "/guest", || {
        assert!(contents(Path::new("/guest/before")).len() as u64 == MIB);
        let records = contents(Path::new("/guest/records"));
        assert!(records.len() >= synced * RECORD, "{synced} were synced");
        for (count, record) in records.chunks(RECORD).take(synced).enumerate() {
            assert!(
                record == pattern(count as u8, RECORD),
                "record {count} of {synced}"
            );
        }
        fill(Path::new("/guest/after"), MIB).unwrap();
    });
    // The journal has been replayed, so e2fsck finds nothing to repair.
    let check = Command::new("/usr/sbin/e2fsck")
        .args(["-f", "-n", node])
        .output();
    let check = check.unwrap();
    assert!(check.status.success(), "{}", check.text());
    remove(name);
    assert_base_is_as_it_was();
    println!("    {room} bytes free: {synced} records were synced and are there");
}

fn has_room() {
    mounted("/dev/vdb", "/small", || {
        let name = name(820);
        host().change(&making_on_small(&name)).unwrap();
        write(&name, MIB, &pattern(1, 64 << 10));
        leave(0);
        write(&name, MIB, &pattern(2, 64 << 10));
        assert!(read(&name, MIB, 64 << 10) == pattern(2, 64 << 10));
        let found = host().snapshot(&name).unwrap().unwrap();
        assert!(
            matches!(found.store, SnapshotStore::Used { .. }),
            "{found:?}"
        );
        remove(&name);
        fs::remove_file("/small/filler").unwrap();
        fs::remove_file(on_small(&name)).unwrap();
    });
}
