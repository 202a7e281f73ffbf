//! Snapshots: made, made again, written, grown, shared, removed, and interrupted by a kill.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};

use banger_host::{
    Change, Host as _, Kind, Look as _, Signal, SnapshotStore, Spawn, cow, snapshot_node,
};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::inside::Case;
use crate::place::*;

pub(crate) const ALL: &[Case] = &[
    ("twice_is_once_and_the_node_is_its_owners", twice),
    ("what_is_written_stays_and_the_base_is_as_it_was", stays),
    ("nobody_can_write_the_base_through_the_devices_below", below),
    ("two_share_one_loop_device_which_goes_with_the_last", shared),
    ("four_at_once_make_one_loop_device_for_their_base", at_once),
    ("it_grows_while_it_is_written_and_never_shrinks", grows),
    ("every_chunk_can_be_written", every_chunk),
    ("what_is_discarded_takes_no_room", discarded),
    ("one_in_use_is_busy_and_names_its_user", busy),
    ("one_that_is_let_go_of_is_waited_for", waited_for),
    ("what_a_kill_leaves_is_completed_or_removed", killed),
    ("twenty_lives_leave_nothing", twenty),
    ("a_store_of_another_is_refused", refused),
];

fn twice() {
    let name = name(1);
    assert_eq!(host().snapshot(&name).unwrap(), None);
    assert_eq!(make(&name, 64), Change::Made);
    assert_eq!(make(&name, 64), Change::Already);
    let node = snapshot_node(&name).metadata().unwrap();
    assert!(node.file_type().is_block_device());
    assert_eq!(
        (node.mode() & 0o7777, node.uid(), node.gid()),
        (0o600, OWNER.uid, OWNER.gid)
    );
    let folder = std::fs::metadata("/dev/banger").unwrap();
    assert_eq!((folder.mode() & 0o7777, folder.uid()), (0o711, 0));
    let found = host().snapshot(&name).unwrap().unwrap();
    assert_eq!(found.size_mib, 64);
    assert!(
        matches!(found.store, SnapshotStore::Used { .. }),
        "{found:?}"
    );
    assert_eq!(host().snapshots("banger-1-00ff").unwrap(), [&name[..]]);
    // Another program removed the node.
    std::fs::remove_file(snapshot_node(&name)).unwrap();
    assert_eq!(make(&name, 64), Change::Made);
    assert_eq!(make(&name, 64), Change::Already);
    assert_eq!(remove(&name), Change::Made);
    assert_eq!(remove(&name), Change::Already);
    assert!(!snapshot_node(&name).exists());
}

fn stays() {
    let name = name(2);
    make(&name, 64);
    assert_eq!(length(&mut open(&name)), 64 * MIB);
    let original = std::fs::read(base()).unwrap();
    assert!(
        read(&name, 0, original.len()) == original,
        "it begins as the base"
    );
    let behind = read(&name, BASE_MIB * MIB, MIB as usize);
    assert!(
        behind.iter().all(|byte| *byte == 0),
        "zeros behind the base"
    );
    // Offsets within a chunk, across a chunk boundary, at the end of the base, and at the end.
    for (seed, at) in [
        (1, 100),
        (2, MIB - 5000),
        (3, 16 * MIB - 777),
        (4, 64 * MIB - 9999),
    ] {
        write(&name, at, &pattern(seed, 9999));
    }
    remove(&name);
    make(&name, 64);
    for (seed, at) in [
        (1, 100),
        (2, MIB - 5000),
        (3, 16 * MIB - 777),
        (4, 64 * MIB - 9999),
    ] {
        assert!(read(&name, at, 9999) == pattern(seed, 9999), "at {at}");
    }
    assert!(
        read(&name, 0, 100) == original[..100],
        "beside what was written"
    );
    assert_base_is_as_it_was();
    remove(&name);
}

fn below() {
    let name = name(3);
    make(&name, 64);
    let mut seen = 0;
    for entry in std::fs::read_dir("/sys/block").unwrap() {
        let path = entry.unwrap().path();
        let text = |file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
        let is_origin = text("dm/name").trim().ends_with("-origin");
        if is_origin || text("loop/backing_file").trim() == "/state/base" {
            seen += 1;
            assert_eq!(text("ro").trim(), "1", "{}", path.display());
            let device = std::path::Path::new("/dev").join(path.file_name().unwrap());
            let opened = File::options().write(true).open(device);
            let written = opened.and_then(|it| {
                it.write_all_at(&[0; 4096], 0)?;
                it.sync_all()
            });
            assert!(written.is_err(), "{} was written", path.display());
        }
    }
    assert_eq!(seen, 2);
    assert_base_is_as_it_was();
    remove(&name);
}

fn shared() {
    let (one, two) = (name(4), name(5));
    make(&one, 64);
    assert_eq!(devices().0, 2);
    make(&two, 32);
    assert_eq!(devices().0, 3, "a base and two stores");
    write(&one, 0, &pattern(1, 4096));
    write(&two, 0, &pattern(2, 4096));
    assert!(read(&one, 0, 4096) == pattern(1, 4096));
    remove(&one);
    until("its own loop device goes, the base's stays", || {
        devices().0 == 2
    });
    assert!(read(&two, 0, 4096) == pattern(2, 4096));
    remove(&two);
    until("the last takes the base's with it", || devices().0 == 0);
}

fn at_once() {
    let names: Vec<String> = (20..24).map(name).collect();
    base();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| make(name, 32));
        }
    });
    assert_eq!(devices().0, 5);
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| remove(name));
        }
    });
}

fn grows() {
    let name = name(6);
    make(&name, 32);
    write(&name, 5 * MIB, &pattern(1, 100_000));
    let held = open(&name);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let writes = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut count = 0u64;
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                held.write_all_at(&pattern(7, 4096), 20 * MIB + count % 512 * 4096)
                    .unwrap();
                held.sync_data().unwrap();
                count += 1;
            }
            count
        });
        let grown = std::panic::catch_unwind(|| make(&name, 128));
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(grown.unwrap(), Change::Made);
        writing.join().unwrap()
    });
    assert!(writes > 0);
    assert_eq!(make(&name, 128), Change::Already);
    assert_eq!(make(&name, 64), Change::Already, "it never shrinks");
    assert_eq!(length(&mut open(&name)), 128 * MIB);
    drop(held);
    write(&name, 127 * MIB, &pattern(2, 100_000));
    remove(&name);
    make(&name, 128);
    assert!(read(&name, 5 * MIB, 100_000) == pattern(1, 100_000));
    assert!(read(&name, 127 * MIB, 100_000) == pattern(2, 100_000));
    let last = 20 * MIB + (writes - 1) % 512 * 4096;
    assert!(read(&name, last, 4096) == pattern(7, 4096));
    remove(&name);
}

/// Sizes at which the last metadata chunk is full, so that the store needs one more.
fn every_chunk() {
    for size in [16, 17] {
        let name = name(600 + size as u32);
        make(&name, size);
        let device = open(&name);
        for at in 0..size {
            device
                .write_all_at(&pattern(at as u8, MIB as usize), at * MIB)
                .unwrap();
        }
        device.sync_all().unwrap();
        drop(device);
        let found = host().snapshot(&name).unwrap().unwrap();
        let SnapshotStore::Used { sectors, of, .. } = found.store else {
            panic!("{size} MiB: {found:?}");
        };
        assert!(sectors >= size * 2048 && sectors <= of, "{found:?}");
        remove(&name);
        make(&name, size);
        let all = read(&name, 0, (size * MIB) as usize);
        for (at, piece) in all.chunks(MIB as usize).enumerate() {
            assert!(piece == pattern(at as u8, MIB as usize));
        }
        remove(&name);
        std::fs::remove_file(store(&name)).unwrap();
    }
}

fn discarded() {
    let name = name(7);
    make(&name, 64);
    write(&name, 40 * MIB, &pattern(2, MIB as usize));
    let node = snapshot_node(&name);
    let discards = Some(c"discard");
    mount(&node, "/guest", "ext4", MountFlags::empty(), discards).unwrap();
    let file = std::path::Path::new("/guest/file");
    fill(file, 8 * MIB).unwrap();
    forget();
    let before = allocated(&store(&name));
    assert!(before > 9 * MIB, "{before}");
    std::fs::remove_file(file).unwrap();
    rustix::fs::sync();
    until("the store lets go of what was discarded", || {
        allocated(&store(&name)) < before - 7 * MIB
    });
    fill(file, MIB).unwrap();
    unmount("/guest", UnmountFlags::empty()).unwrap();
    remove(&name);
    make(&name, 64);
    assert!(read(&name, 40 * MIB, MIB as usize) == pattern(2, MIB as usize));
    mount(&node, "/guest", "ext4", MountFlags::empty(), None).unwrap();
    let there = contents(file);
    unmount("/guest", UnmountFlags::empty()).unwrap();
    assert!(there.len() as u64 == MIB && there[..9] == pattern(9, 9));
    remove(&name);
}

fn busy() {
    let name = name(8);
    make(&name, 32);
    let held = open(&name);
    let error = host().change(&removing(&name)).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy, "{}", error_text(&error));
    assert!(
        error_text(&error).contains("process 1 (`init`)"),
        "{}",
        error_text(&error)
    );
    assert_eq!(make(&name, 32), Change::Made, "its node is back");
    drop(held);
    remove(&name);
}

fn waited_for() {
    let name = name(9);
    make(&name, 32);
    let held = open(&name);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pause(300);
            drop(held);
        });
        assert_eq!(remove(&name), Change::Made);
    });
}

/// A process that makes or removes a snapshot is killed after longer and longer times. Whatever it
/// leaves, the same op completes afterwards, and so does its opposite.
fn killed() {
    base();
    for verb in ["make", "remove"] {
        for round in 0..8 {
            let name = name(700 + round);
            if verb == "remove" {
                make(&name, 64);
                write(&name, MIB, &pattern(round as u8, 4096));
            }
            kill_half_way(verb, &name, u64::from(round) * 9);
            if round % 2 == 0 {
                make(&name, 64);
                assert_eq!(make(&name, 64), Change::Already);
                if verb == "remove" {
                    assert!(read(&name, MIB, 4096) == pattern(round as u8, 4096));
                }
            }
            remove(&name);
            assert_eq!(remove(&name), Change::Already, "{verb}, round {round}");
            assert_nothing_is_left();
            std::fs::remove_file(store(&name)).unwrap();
        }
    }
}

/// Runs the change in a process, and kills that after so many milliseconds.
fn kill_half_way(verb: &str, name: &str, milliseconds: u64) {
    let log = std::path::PathBuf::from("/state/log");
    let _ = std::fs::remove_file(&log);
    let host = host();
    let process = host.spawn(&Spawn {
        program: "/init".into(),
        arguments: vec![verb.to_owned(), name.to_owned()],
        directory: "/".into(),
        user: None,
        keep_kvm_group: false,
        input: None,
        log: log.clone(),
        tap: None,
        scope: None,
        jailed: None,
        errors: None,
    });
    let process = process.unwrap();
    until("it begins", || {
        std::fs::read(&log).is_ok_and(|text| !text.is_empty())
    });
    pause(milliseconds);
    host.signal(&process, Signal::Kill).unwrap();
    until("it is gone", || !host.is_alive(&process));
}

fn twenty() {
    let name = name(10);
    for round in 0..20 {
        assert_eq!(make(&name, 64), Change::Made);
        write(&name, round * MIB, &pattern(round as u8, 10_000));
        assert_eq!(remove(&name), Change::Made);
    }
    assert_nothing_is_left();
    make(&name, 64);
    let all = read(&name, 0, 20 * MIB as usize);
    for (round, piece) in all.chunks(MIB as usize).enumerate() {
        assert!(piece[..10_000] == pattern(round as u8, 10_000));
    }
    remove(&name);
}

fn refused() {
    let name = name(11);
    let (base, cow) = (base(), store(&name));
    grow(&cow, cow::length_mib(32));
    for odd in ["/dev/vda", "/dev/null", "/state", "/proc/1/mem"] {
        let op = making_of(&name, 32, base.clone(), odd.into(), Some(OWNER));
        assert!(host().change(&op).is_err(), "{odd} as store");
        let op = making_of(&name, 32, odd.into(), cow.clone(), Some(OWNER));
        assert!(host().change(&op).is_err(), "{odd} as base");
    }
}
