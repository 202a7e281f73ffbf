//! Descriptors that a user passes for a snapshot.

use std::fs::{File, Permissions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::*;
use crate::Sim;
use crate::linux::snapshot::SnapshotSpec;
use crate::linux::testing::is_root;

/// The number of snapshots that the kernel would have been asked for.
static CALLS: AtomicUsize = AtomicUsize::new(0);

fn make(wanted: &SnapshotSpec) -> crate::Result<Change> {
    assert_eq!((wanted.uid, wanted.size_mib), (USER, 16));
    assert_eq!(wanted.name, snapshot());
    CALLS.fetch_add(1, Ordering::SeqCst);
    Ok(Change::Made)
}

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file that this user owns.
    fn file(&self, name: &str, uid: u32) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, [0; 4096]).unwrap();
        chown(&path, Some(uid), Some(uid)).unwrap();
        path
    }
}

fn open(path: &Path, write: bool, flags: OFlags) -> OwnedFd {
    let flags = (flags | OFlags::NONBLOCK).bits().cast_signed();
    let file = File::options()
        .read(true)
        .write(write)
        .custom_flags(flags)
        .open(path);
    file.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .into()
}

fn reading(path: &Path) -> OwnedFd {
    open(path, false, OFlags::empty())
}

fn writing(path: &Path) -> OwnedFd {
    open(path, true, OFlags::empty())
}

/// Files that can never be a base.
fn bad_bases(files: &Files, base: &Path) -> Vec<(&'static str, OwnedFd)> {
    let fifo = files.path("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let (socket, _other) = pair();
    let only_writing = File::options().write(true).open(base).unwrap();
    vec![
        ("a directory", reading(files.folder.path())),
        ("a device", reading(Path::new("/dev/zero"))),
        ("a FIFO", reading(&fifo)),
        ("a socket", socket),
        ("a name only", open(base, false, OFlags::PATH)),
        ("for writing only", only_writing.into()),
        ("another user's", reading(&files.file("others", USER + 1))),
        ("the kernel's", reading(Path::new("/proc/self/status"))),
        (
            "the kernel's, too",
            reading(Path::new("/sys/kernel/uevent_seqnum")),
        ),
    ]
}

/// Files that can never be a store, in addition to those.
fn bad_stores(files: &Files, store: &Path) -> Vec<(&'static str, OwnedFd)> {
    let linked = files.file("linked", USER);
    std::fs::hard_link(&linked, files.path("second")).unwrap();
    let gone = files.file("gone", USER);
    let open_gone = writing(&gone);
    std::fs::remove_file(&gone).unwrap();
    vec![
        ("root's", writing(&files.file("roots", 0))),
        ("for reading only", reading(store)),
        ("for appending", open(store, true, OFlags::APPEND)),
        ("with two names", writing(&linked)),
        ("without a name", open_gone),
    ]
}

#[test]
fn only_files_of_the_user_are_put_under_a_snapshot() {
    if !is_root() {
        return;
    }
    let files = Files::new();
    let (base, store) = (files.file("base", USER), files.file("store", USER));
    let served = Arc::new(ClaimedHost::new(
        claim(),
        Box::new(Sim::new()),
        FileOperations {
            snapshot: make,
            ..OPERATIONS
        },
    ));
    let mut client = Client::greeted(&served);
    let request = Request::Change(RootOp::MakeSnapshot {
        machine: MACHINE,
        size_mib: 16,
        files: crate::SnapshotFiles::default(),
    });
    let mut ask = |descriptors: &[BorrowedFd<'_>]| {
        client.wire.say(&request, descriptors).unwrap();
        client.hear().unwrap()
    };
    let (good_base, good_store) = (reading(&base), writing(&store));
    for (what, bad) in bad_bases(&files, &base) {
        let reply = ask(&[bad.as_fd(), good_store.as_fd()]);
        assert!(is_denied(&reply), "as a base, {what}: {reply:?}");
        let reply = ask(&[good_base.as_fd(), bad.as_fd()]);
        assert!(is_denied(&reply), "as a store, {what}: {reply:?}");
    }
    for (what, bad) in bad_stores(&files, &store) {
        let reply = ask(&[good_base.as_fd(), bad.as_fd()]);
        assert!(is_denied(&reply), "as a store, {what}: {reply:?}");
    }
    let same = ask(&[good_store.as_fd(), good_store.as_fd()]);
    assert!(is_denied(&same), "{same:?}");
    for few in [&[][..], &[good_base.as_fd()][..]] {
        let reply = ask(few);
        assert!(is_denied(&reply), "{reply:?}");
    }
    assert_eq!(CALLS.load(Ordering::SeqCst), 0);
    let made = Reply::Changed(Change::Made);
    assert_eq!(ask(&[good_base.as_fd(), good_store.as_fd()]), made);
    // A base that an administrator provides for everybody.
    let roots = reading(&files.file("shared", 0));
    assert_eq!(ask(&[roots.as_fd(), good_store.as_fd()]), made);
    assert_eq!(CALLS.load(Ordering::SeqCst), 2);
}
