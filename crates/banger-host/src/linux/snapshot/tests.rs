//! Tests that need no device-mapper; the others are in `tests/kernel`.

use std::fs;
use std::os::unix::fs::{FileExt as _, symlink};

use super::plan::LARGEST_MIB;
use super::*;
use crate::Change;

const NAME: &str = "banger-1-00ff-aa12bb34";

fn files(base: &Path, cow: &Path) -> SnapshotFiles {
    SnapshotFiles {
        base: base.to_owned(),
        cow: cow.to_owned(),
        owner: None,
    }
}

#[test]
fn only_names_of_ours_are_taken() {
    check_name(NAME).unwrap();
    for odd in [
        "",
        "banger-1-00ff",
        "banger-1-00ff-",
        "banger-1-00FF-aa12bb34",
        "banger-1-00ff-aa12bb3",
        "banger-1-00ff-aa12bb345",
        "banger-1-00ff-aa12bb34-origin",
        "banger-2-00ff-aa12bb34",
        "banger-1-00ff-aa12bb3/",
        "banger-1-00ff-../../ab",
        "banger-1-00ff-aa12bb3\0",
        "root",
    ] {
        assert!(check_name(odd).is_err(), "{odd:?}");
        assert!(remove(odd).is_err() && state(odd).is_err(), "{odd:?}");
    }
}

fn wanted(base: u64, cow: u64, size_mib: u64) -> (tempfile::TempDir, SnapshotSpec) {
    let folder = tempfile::tempdir().unwrap();
    let (base_path, cow_path) = (folder.path().join("base"), folder.path().join("cow"));
    File::create(&base_path).unwrap().set_len(base).unwrap();
    File::create(&cow_path).unwrap().set_len(cow).unwrap();
    let (base, cow) = open(&files(&base_path, &cow_path)).unwrap();
    let wanted = SnapshotSpec {
        name: NAME.to_owned(),
        base,
        cow,
        size_mib,
        uid: 0,
        gid: 0,
    };
    (folder, wanted)
}

#[test]
fn files_and_sizes_are_looked_at_again() {
    let mib = 1 << 20;
    let enough = crate::cow::length_mib(64) * mib;
    let (_folder, good) = wanted(16 * mib, enough, 64);
    Measures::of(&good).unwrap();
    for (base, cow, size, why) in [
        (16 * mib, enough, 0, "no size"),
        (16 * mib, enough, LARGEST_MIB + 1, "too large"),
        (16 * mib, 64 * mib, 64, "a store that would overflow"),
        (0, enough, 64, "an empty base"),
        (65 * mib, enough, 64, "a base larger than the disk"),
        (16 * mib + 1, enough, 64, "a base that ends within a sector"),
    ] {
        let (_folder, odd) = wanted(base, cow, size);
        assert!(Measures::of(&odd).is_err(), "{why}");
    }
    let (_folder, mut odd) = wanted(16 * mib, enough, 64);
    odd.cow = File::open(_folder.path().join("cow")).unwrap();
    assert!(Measures::of(&odd).is_err(), "a store open for reading");
    let (folder, mut odd) = wanted(16 * mib, enough, 64);
    odd.base = File::open(folder.path()).unwrap();
    assert!(Measures::of(&odd).is_err(), "a folder as base");
    let (folder, odd) = wanted(16 * mib, enough, 64);
    let store = File::options()
        .write(true)
        .open(folder.path().join("cow"))
        .unwrap();
    store.write_all_at(b"LUKS\xba\xbe", 0).unwrap();
    assert!(Measures::of(&odd).is_err(), "a store that is none");
}

#[test]
fn a_store_with_tiny_chunks_is_refused_as_it_takes_the_kernels_memory() {
    let mib = 1 << 20;
    let length = 2 * crate::cow::length_mib(64) * mib;
    for (sectors, good) in [(1u32, false), (2, false), (4, false), (8, true), (32, true)] {
        let (_folder, wanted) = wanted(16 * mib, length, 64);
        let words = [0x7041_6e53, 1, 1, sectors];
        let header: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        wanted.cow.write_all_at(&header, 0).unwrap();
        assert_eq!(Measures::of(&wanted).is_ok(), good, "{sectors} sectors");
    }
}

#[test]
fn a_link_is_not_followed_to_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    fs::write(&real, "precious").unwrap();
    symlink(&real, &link).unwrap();
    assert!(open(&files(&real, &link)).is_err());
    assert!(restore(&link).is_err());
}

#[test]
fn a_store_that_was_given_up_is_restored_and_any_other_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cow");
    let store = |words: [u32; 4]| -> Vec<u8> {
        let header = words.into_iter().flat_map(u32::to_le_bytes);
        header.chain(*b"what follows").collect()
    };
    let (given_up, valid) = (
        store([0x7041_6e53, 0, 1, 32]),
        store([0x7041_6e53, 1, 1, 32]),
    );
    fs::write(&path, &given_up).unwrap();
    assert_eq!(restore(&path).unwrap(), Change::Made);
    assert_eq!(fs::read(&path).unwrap(), valid);
    assert_eq!(restore(&path).unwrap(), Change::Already);
    for other in [store([0; 4]), Vec::new()] {
        fs::write(&path, &other).unwrap();
        assert_eq!(restore(&path).unwrap(), Change::Already);
        assert_eq!(fs::read(&path).unwrap(), other);
    }
    fs::write(&path, "#!/bin/sh of somebody").unwrap();
    assert!(restore(&path).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"#!/bin/sh of somebody");
}

#[test]
fn what_the_kernel_tells_of_a_store_is_read() {
    let used = SnapshotStore::Used {
        sectors: 32,
        of: 2048,
        metadata: 16,
    };
    assert_eq!(store_of("32/2048 16"), used);
    assert_eq!(store_of("Overflow"), SnapshotStore::Overflow);
    for text in ["Invalid", "Merge failed", "Unknown", ""] {
        assert_eq!(store_of(text), SnapshotStore::Invalid, "{text}");
    }
}

#[test]
fn the_origin_is_the_base_and_zeros_behind_it() {
    let measures = Measures {
        size: 4096,
        base: 2048,
        chunk: 32,
        cow: 0,
        base_file: (0, 0),
        cow_file: (0, 0),
    };
    let device = rustix::fs::makedev(7, 3);
    let table = measures.origin_table(device);
    assert_eq!(table.len(), 2);
    assert_eq!((table[0].kind.as_str(), table[0].length), ("linear", 2048));
    assert_eq!(table[0].parameters, "7:3 0");
    assert_eq!(
        (table[1].kind.as_str(), table[1].start, table[1].length),
        ("zero", 2048, 2048)
    );
    let whole = Measures {
        base: 4096,
        ..measures
    };
    assert_eq!(whole.origin_table(device).len(), 1);
    assert_eq!(device_number("7:3"), Some(device));
}

#[test]
fn a_snapshot_that_is_not_there_is_nothing_and_its_removal_is_done() {
    if !super::super::testing::is_root() {
        return;
    }
    assert_eq!(state("banger-1-0000-00000000").unwrap(), None);
    assert_eq!(remove("banger-1-0000-00000000").unwrap(), Change::Already);
}
