use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::Bytes;
use crate::linux::testing::{attempt, in_own_mounts, run, skipped};
use crate::watch::nobody;
use std::ops::ControlFlow;
use std::sync::Mutex;

const NOBODY: Owner = Owner {
    uid: 65534,
    gid: 65534,
};

/// A file of 64 MiB with data at three places.
fn sparse(folder: &Path) -> PathBuf {
    let path = folder.join("sparse");
    let file = File::create(&path).unwrap();
    file.set_len(64 * MIB).unwrap();
    file.write_all_at(b"first", 0).unwrap();
    file.write_all_at(&[7; 10_000], 20 * MIB + 123).unwrap();
    file.write_all_at(b"last", 64 * MIB - 4).unwrap();
    path
}

fn allocated(path: &Path) -> u64 {
    path.metadata().unwrap().blocks() * 512
}

fn names(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_copy_counts_its_data_and_ends_without_a_file_when_it_is_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    let file = File::create(&from).unwrap();
    file.write_all_at(&vec![7; 3 * PIECE], 0).unwrap();
    // The hole at the end does not count.
    file.set_len(256 * MIB).unwrap();
    let to = folder.path().join("copy");
    let heard = Mutex::new(Vec::new());
    let hear = |bytes: Bytes| {
        heard.lock().unwrap().push(bytes);
        ControlFlow::Continue(())
    };
    copy(&from, &to, None, &hear).unwrap();
    let heard = heard.into_inner().unwrap();
    let whole = 3 * PIECE as u64;
    assert!(heard.iter().all(|it| it.whole == whole), "{heard:?}");
    assert!(
        heard.is_sorted_by_key(|it| it.done) && heard.len() >= 3,
        "{heard:?}"
    );
    assert_eq!(heard.last().unwrap().done, whole);
    std::fs::write(&to, "what was there before").unwrap();
    let error = copy(&from, &to, None, &|_| ControlFlow::Break(())).unwrap_err();
    assert_eq!(error.kind(), Kind::Cancelled);
    assert_eq!(std::fs::read(&to).unwrap(), b"what was there before");
    assert_eq!(names(folder.path()), 2, "something half-made is left");
}

#[test]
fn a_copy_has_the_same_bytes_and_the_same_holes() {
    let folder = tempfile::tempdir().unwrap();
    let from = sparse(folder.path());
    std::fs::set_permissions(&from, PermissionsExt::from_mode(0o644)).unwrap();
    let to = folder.path().join("copy");
    std::fs::write(&to, "what was there before").unwrap();
    assert_eq!(copy(&from, &to, None, &nobody).unwrap(), Change::Made);
    assert!(std::fs::read(&from).unwrap() == std::fs::read(&to).unwrap());
    assert!(
        allocated(&to) < MIB,
        "{} bytes are allocated",
        allocated(&to)
    );
    assert_eq!(
        to.metadata().unwrap().mode() & 0o777,
        0o644,
        "who could read it still can"
    );
    assert_eq!(names(folder.path()), 2);
}

#[test]
fn a_copy_through_memory_leaves_out_zeros_and_ends_where_it_should() {
    let folder = tempfile::tempdir().unwrap();
    let from = sparse(folder.path());
    let source = File::open(&from).unwrap();
    let to = folder.path().join("copy");
    let file = File::create(&to).unwrap();
    file.set_len(64 * MIB).unwrap();
    let mut meter = Meter::new(64 * MIB, &nobody);
    copy_blocks(&source, &file, 0..64 * MIB, &mut meter).unwrap();
    assert!(std::fs::read(&from).unwrap() == std::fs::read(&to).unwrap());
    assert!(allocated(&to) < MIB);
    let error = copy_blocks(&source, &file, 0..65 * MIB, &mut meter).unwrap_err();
    assert_eq!(error.to_string(), "it became shorter while it was copied");
}

#[test]
fn a_copy_of_nothing_is_missing_and_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy");
    std::fs::write(&to, "before").unwrap();
    let error = copy(&folder.path().join("nothing"), &to, None, &nobody).unwrap_err();
    assert_eq!(error.kind(), Kind::Missing);
    assert_eq!(std::fs::read(&to).unwrap(), b"before");
    assert_eq!(names(folder.path()), 1);
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    in_own_mounts(|| {
        let folder = tempfile::tempdir().unwrap();
        let small = folder.path().join("small");
        std::fs::create_dir(&small).unwrap();
        run(
            "mount",
            &format!("-t tmpfs -o size=1m tmpfs {}", small.display()),
        );
        let from = folder.path().join("from");
        std::fs::write(&from, vec![1; 2 << 20]).unwrap();
        let error = copy(&from, &small.join("to"), None, &nobody).unwrap_err();
        assert_eq!(error.kind(), Kind::NoSpace, "{error}");
        let contents = vec![1; 2 << 20];
        let error = crate::linux::files::write_file(&small.join("to"), &contents, 0o600, None);
        assert_eq!(error.unwrap_err().kind(), Kind::NoSpace);
        assert_eq!(names(&small), 0);
        run("umount", &small.display().to_string());
    });
}

#[test]
fn a_file_system_is_made_once_sparse_and_sound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("work");
    assert_eq!(
        make_filesystem(&path, 4096, "banger-work", None).unwrap(),
        Change::Made
    );
    let length = path.metadata().unwrap().len();
    assert_eq!(length, 4096 * MIB);
    assert!(
        allocated(&path) < 8 * MIB,
        "{} bytes are allocated",
        allocated(&path)
    );
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    let shown = path.display();
    run("e2fsck", &format!("-fn {shown}"));
    let about = run("dumpe2fs", &format!("{shown}"));
    assert!(
        about.contains("Filesystem volume name:   banger-work"),
        "{about}"
    );
    let features = about
        .lines()
        .find(|line| line.starts_with("Filesystem features"))
        .unwrap();
    for feature in [
        "64bit",
        "metadata_csum",
        "has_journal",
        "extent",
        "resize_inode",
    ] {
        assert!(features.contains(feature), "{features}");
    }
    assert!(!features.contains("orphan_file"), "{features}");
    let value = |key: &str| {
        let mut lines = about.lines().filter_map(|line| line.strip_prefix(key));
        lines.next().unwrap().trim().to_owned()
    };
    assert_eq!(
        (value("Inode count:"), value("Inode size:")),
        ("262144".into(), "256".into())
    );
    assert_eq!(
        (value("Maximum mount count:"), value("Check interval:")),
        ("-1".into(), "0 (<none>)".into())
    );
    let unzeroed = about
        .lines()
        .filter(|it| it.contains("(Blocks ") && !it.contains("ITABLE_ZEROED"));
    assert_eq!(
        unzeroed.count(),
        0,
        "the guest would write inode tables of zeros"
    );

    assert_eq!(
        make_filesystem(&path, 8192, "other", None).unwrap(),
        Change::Already
    );
    assert_eq!(path.metadata().unwrap().len(), length);
    assert_eq!(names(folder.path()), 1);
}

#[test]
fn the_smallest_file_system_has_a_journal_and_smaller_or_ill_named_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("work");
    for (size, label) in [
        (15, "a"),
        (0, "a"),
        (16, "-a"),
        (16, "a b"),
        (16, "seventeen-letters"),
    ] {
        assert!(
            make_filesystem(&path, size, label, None).is_err(),
            "{size} {label}"
        );
    }
    assert_eq!(names(folder.path()), 0);
    make_filesystem(&path, 16, "sixteen-letters-", None).unwrap();
    let about = run("dumpe2fs", &format!("-h {}", path.display()));
    assert!(about.contains("has_journal"), "{about}");
}

#[test]
fn a_file_only_grows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    assert_eq!(grow(&path, 1).unwrap_err().kind(), Kind::Missing);
    std::fs::write(&path, "data").unwrap();
    assert_eq!(grow(&path, 3).unwrap(), Change::Made);
    assert_eq!(grow(&path, 3).unwrap(), Change::Already);
    assert_eq!(grow(&path, 2).unwrap(), Change::Already);
    assert_eq!(path.metadata().unwrap().len(), 3 * MIB);
    assert!(std::fs::read(&path).unwrap().starts_with(b"data\0"));
    for size in [u64::MAX, u64::MAX / MIB, (i64::MAX as u64 / MIB) + 1] {
        assert!(grow(&path, size).is_err());
    }
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(grow(&link, 4).is_err());
}

#[test]
fn what_is_punched_takes_no_space_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("console");
    assert_eq!(
        punch_hole(&path, 4096).unwrap(),
        Change::Already,
        "nothing to free"
    );
    let mut file = File::create(&path).unwrap();
    file.write_all(&[b'x'; 100_000]).unwrap();
    file.sync_all().unwrap();
    let before = allocated(&path);
    assert_eq!(
        punch_hole(&path, 100).unwrap(),
        Change::Already,
        "less than a block"
    );
    if punch_hole(&path, 70_000).unwrap() == Change::Already {
        skipped("this file system has no holes");
        return;
    }
    assert_eq!(punch_hole(&path, 70_000).unwrap(), Change::Already);
    assert!(
        allocated(&path) < before,
        "{} of {before}",
        allocated(&path)
    );
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 100_000);
    let kept = 70_000 - 70_000 % 4096;
    assert!(bytes[..kept].iter().all(|byte| *byte == 0));
    assert!(bytes[kept..].iter().all(|byte| *byte == b'x'));
}

/// Mounts a fresh XFS of 300 MiB for a test; the mount ends with the test's mount namespace.
fn on_xfs(test: impl FnOnce(&Path) + Send) {
    in_own_mounts(|| {
        let folder = tempfile::tempdir().unwrap();
        let (image, place) = (folder.path().join("image"), folder.path().join("place"));
        std::fs::create_dir(&place).unwrap();
        File::create(&image).unwrap().set_len(300 * MIB).unwrap();
        let made = attempt("mkfs.xfs", &format!("-q {}", image.display()));
        let mount = format!("-o loop {} {}", image.display(), place.display());
        if let Err(error) = made.and_then(|_| attempt("mount", &mount)) {
            skipped(&format!("no XFS can be made and mounted: {}", error.trim()));
            return;
        }
        test(&place);
        run("umount", &place.display().to_string());
    });
}

#[test]
fn a_clone_shares_its_blocks_until_it_is_written() {
    on_xfs(|place| {
        let from = place.join("base");
        std::fs::write(&from, vec![5; 32 << 20]).unwrap();
        let to = place.join("disk");
        std::fs::write(&to, "before").unwrap();
        let free = || rustix::fs::statvfs(place).unwrap().f_bavail.cast_signed();
        rustix::fs::syncfs(File::open(place).unwrap()).unwrap();
        let before = free();
        assert_eq!(clone(&from, &to, Some(NOBODY)).unwrap(), Change::Made);
        assert!(
            before - free() < 256,
            "{} blocks were taken",
            before - free()
        );
        assert!(std::fs::read(&to).unwrap() == vec![5; 32 << 20]);
        let metadata = to.metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o777), (65534, 0o600));
        File::options()
            .write(true)
            .open(&to)
            .unwrap()
            .write_all(b"own")
            .unwrap();
        assert!(std::fs::read(&from).unwrap().starts_with(&[5; 3]));
        let finding = crate::linux::probes::reflink(place);
        let crate::Finding::Good(found) = finding else {
            panic!("{finding:?}")
        };
        assert!(found.ends_with("(XFS)"), "{found}");
        assert_eq!(
            names(place),
            2,
            "neither the clone nor the probe leaves anything"
        );
    });
}

#[test]
fn a_clone_where_there_are_none_says_what_to_set() {
    in_own_mounts(|| {
        let folder = tempfile::tempdir().unwrap();
        run(
            "mount",
            &format!("-t tmpfs tmpfs {}", folder.path().display()),
        );
        let (from, to) = (folder.path().join("base"), folder.path().join("disk"));
        std::fs::write(&from, "base").unwrap();
        let error = clone(&from, &to, None).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(
            error.hints()[0].contains("root_disk = \"copy\""),
            "{:?}",
            error.hints()
        );
        let finding = crate::linux::probes::reflink(folder.path());
        assert!(matches!(finding, crate::Finding::Bad { .. }), "{finding:?}");
        assert_eq!(names(folder.path()), 1);
        run("umount", &folder.path().display().to_string());
    });
}
