//! A removed device's number goes to the next device, of another user: nothing that was kept of the
//! old device gives access to the new one.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use banger_host::{
    Change, FileOp, Host as _, Instance, Kind, Look as _, Op, Owner, Process, Signal, Spawn, cow,
    snapshot_node,
};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::thread::{Gid, Uid};

use crate::inside::Case;
use crate::place::*;

pub(crate) const ALL: &[Case] = &[
    (
        "what_was_kept_of_a_node_opens_no_disk_that_comes_later",
        kept,
    ),
    (
        "what_was_kept_of_a_jails_node_opens_no_disk_that_comes_later",
        kept_of_a_jail,
    ),
    ("one_whose_machine_still_runs_is_not_removed", runs),
];

const OTHER: Owner = Owner {
    uid: 4811,
    gid: 4812,
};

/// A file that stays where a node is mounted.
const ELSEWHERE: &str = "/state/elsewhere";

/// What a process can keep of a node that is removed: an O_PATH descriptor, and another mount.
struct HeldNode {
    node: OwnedFd,
    device: u64,
}

impl HeldNode {
    fn of(path: &Path) -> Self {
        let node = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        File::create(ELSEWHERE).unwrap();
        mount_bind(path, ELSEWHERE).unwrap();
        let kept = Self {
            node: node.unwrap(),
            device: path.metadata().unwrap().rdev(),
        };
        assert_eq!(
            kept.opens(OWNER),
            [true; 2],
            "it is the user's while it is there"
        );
        kept
    }

    /// Whether this user can open the device by either of them.
    fn opens(&self, user: Owner) -> [bool; 2] {
        let again = PathBuf::from(format!("/proc/self/fd/{}", self.node.as_raw_fd()));
        [again, ELSEWHERE.into()].map(|path| as_user(user, || File::open(path).is_ok()))
    }

    /// Asserts that the old owner cannot open another user's device that has the number now.
    fn assert_is_worth_nothing(self, foreign: &str) {
        let now = snapshot_node(foreign).metadata().unwrap();
        assert_eq!(now.rdev(), self.device, "the number went to another device");
        assert_eq!(now.uid(), OTHER.uid);
        assert_eq!(
            self.opens(OWNER),
            [false; 2],
            "it opens another user's disk"
        );
        let mode = Mode::RUSR | Mode::WUSR;
        let given = as_user(OWNER, || rustix::fs::chmod(ELSEWHERE, mode).is_ok());
        assert!(!given, "its owner gave it back to themselves");
        assert!(as_user(OTHER, || File::open(snapshot_node(foreign)).is_ok()));
        unmount(ELSEWHERE, UnmountFlags::empty()).unwrap();
    }
}

/// Runs a closure as another user, on a thread of its own.
fn as_user<T: Send>(user: Owner, what: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            what()
        });
        running.join().unwrap()
    })
}

fn make_for(name: &str, user: Owner) {
    grow(&store(name), cow::length_mib(32));
    let op = making_of(name, 32, base(), store(name), Some(user));
    assert_eq!(host().change(&op).unwrap(), Change::Made);
}

fn kept() {
    let (first, foreign) = (name(30), name(31));
    make(&first, 32);
    let kept = HeldNode::of(&snapshot_node(&first));
    remove(&first);
    make_for(&foreign, OTHER);
    kept.assert_is_worth_nothing(&foreign);
    remove(&foreign);
}

fn kept_of_a_jail() {
    let (first, foreign) = (name(32), name(33));
    make(&first, 32);
    let jail = PathBuf::from("/state/jail");
    let path = jail.join("root/dev/banger/it");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let op = Op::File(FileOp::MakeNode {
        path: path.clone(),
        device: snapshot_node(&first),
        owner: Some(OWNER),
    });
    host().change(&op).unwrap();
    let kept = HeldNode::of(&path);
    // A process still uses it by an O_PATH descriptor until the jail ends.
    host()
        .change(&Op::File(FileOp::RemoveDirectory { path: jail }))
        .unwrap();
    remove(&first);
    make_for(&foreign, OTHER);
    kept.assert_is_worth_nothing(&foreign);
    remove(&foreign);
}

/// A process that runs as a machine's user, and has not opened its device.
fn waiting(uid: u32) -> Process {
    let spawn = Spawn {
        program: "/init".into(),
        arguments: vec!["wait".to_owned()],
        directory: "/".into(),
        user: Some(Owner { uid, gid: uid }),
        keep_kvm_group: false,
        input: None,
        log: "/state/log".into(),
        tap: None,
        scope: None,
        jailed: None,
        errors: None,
    };
    host().spawn(&spawn).unwrap()
}

fn runs() {
    let name = name(34);
    let users = Instance::new(0, Path::new("/state")).users();
    let uid = users.start() + 5;
    make_for(&name, Owner { uid, gid: uid });
    let other = waiting(uid + 1);
    let process = waiting(uid);
    let error = host().change(&removing(&name)).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy, "{}", error_text(&error));
    assert!(
        error_text(&error).contains(&process.pid.to_string()),
        "{}",
        error_text(&error)
    );
    assert_eq!(
        snapshot_node(&name).metadata().unwrap().uid(),
        uid,
        "nothing was done"
    );
    host().signal(&process, Signal::Kill).unwrap();
    // Another machine's process does not matter.
    remove(&name);
    host().signal(&other, Signal::Kill).unwrap();
    let running = [process, other];
    until("both are gone", || {
        !running.iter().any(|it| host().is_alive(it))
    });
    let _ = rustix::fs::unlinkat(CWD, "/state/log", rustix::fs::AtFlags::empty());
}
