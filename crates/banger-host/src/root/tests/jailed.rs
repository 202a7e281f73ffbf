//! Jails of a user, and the descriptors that she passes for them.

use std::fs::{self, DirBuilder, File, Permissions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::*;
use crate::linux::children;
use crate::linux::testing::{is_root, skipped};
use crate::root::jail::lay_out;
use crate::root::jailed::JailSpec;
use crate::root::message::RootLook;
use crate::root::{files, links};
use crate::{Finding, JailIdentity, Owner, Process, Signal, Sim};

static STARTED: AtomicUsize = AtomicUsize::new(0);

fn start(wanted: &JailSpec) -> crate::Result<Process> {
    assert_eq!(wanted.jailed, jailed());
    let (uid, gid) = (USER, USER);
    assert_eq!(wanted.owner, Owner { uid, gid });
    STARTED.fetch_add(1, Ordering::SeqCst);
    Ok(Process {
        pid: 1,
        start_time: 2,
        boot_id: "boot".to_owned(),
    })
}

/// A user id in the range of the user's instance.
fn vm_user() -> u32 {
    claim().instance().users().start() + 7
}

fn jailed() -> JailIdentity {
    JailIdentity {
        name: snapshot(),
        uid: vm_user(),
    }
}

struct Folders(tempfile::TempDir);

impl Folders {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn folder(&self, name: &str, uid: u32, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        DirBuilder::new().create(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        chown(&path, Some(uid), Some(uid)).unwrap();
        path
    }

    fn log(&self, name: &str, uid: u32) -> OwnedFd {
        let path = self.0.path().join(name);
        let file = File::options()
            .append(true)
            .create(true)
            .open(&path)
            .unwrap();
        chown(&path, Some(uid), Some(uid)).unwrap();
        file.into()
    }
}

fn name_only(path: &Path) -> OwnedFd {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).unwrap()
}

/// Folders that can never be a machine's.
fn bad_folders(folders: &Folders, good: &Path) -> Vec<(&'static str, OwnedFd)> {
    let at = |name: &str| folders.0.path().join(name);
    std::os::unix::fs::symlink(good, at("link")).unwrap();
    let fifo = at("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::write(at("file"), "").unwrap();
    chown(at("file"), Some(USER), Some(USER)).unwrap();
    let (socket, _other) = pair();
    vec![
        ("a link to it", name_only(&at("link"))),
        ("a FIFO", name_only(&fifo)),
        ("a file", name_only(&at("file"))),
        ("a socket", socket),
        ("open for reading", File::open(good).unwrap().into()),
        ("root's", name_only(&folders.folder("roots", 0, 0o700))),
        ("the root", name_only(Path::new("/"))),
        (
            "another's",
            name_only(&folders.folder("hers", USER + 1, 0o700)),
        ),
        ("for all", name_only(&folders.folder("all", USER, 0o707))),
        (
            "for a group",
            name_only(&folders.folder("group", USER, 0o770)),
        ),
        ("the kernel's", name_only(Path::new("/proc/self"))),
    ]
}

#[test]
fn only_a_folder_and_logs_of_the_user_go_into_a_jail_by_a_name_and_a_user_of_hers() {
    if !is_root() {
        return;
    }
    let folders = Folders::new();
    let operations = FileOperations {
        jailed: start,
        ..OPERATIONS
    };
    let served = Arc::new(ClaimedHost::new(claim(), Box::new(Sim::new()), operations));
    let mut client = Client::greeted(&served);
    let mut ask = |jailed: JailIdentity, descriptors: &[BorrowedFd<'_>]| {
        let request = Request::StartJailed(jailed);
        client.wire.say(&request, descriptors).unwrap();
        client.hear().unwrap()
    };
    let good = folders.folder("machine", USER, 0o700);
    let (folder, output) = (name_only(&good), folders.log("output", USER));
    let errors = folders.log("errors", USER);
    let (folder, output, errors) = (folder.as_fd(), output.as_fd(), errors.as_fd());
    for (what, bad) in bad_folders(&folders, &good) {
        let reply = ask(jailed(), &[bad.as_fd(), output, errors]);
        assert!(is_denied(&reply), "as a folder, {what}: {reply:?}");
        let reply = ask(jailed(), &[folder, bad.as_fd(), errors]);
        assert!(is_denied(&reply), "as output, {what}: {reply:?}");
    }
    for bad in [
        folders.log("of root", 0),
        folders.log("of others", USER + 1),
    ] {
        let reply = ask(jailed(), &[folder, output, bad.as_fd()]);
        assert!(is_denied(&reply), "{reply:?}");
    }
    for few in [&[][..], &[folder][..], &[folder, output][..]] {
        let reply = ask(jailed(), few);
        assert!(is_denied(&reply), "{reply:?}");
    }
    let users = claim().instance().users();
    for uid in [0, 1, USER, users.start() - 1, users.end() + 1, u32::MAX] {
        let name = snapshot();
        let reply = ask(JailIdentity { name, uid }, &[folder, output, errors]);
        assert!(is_denied(&reply), "{uid}: {reply:?}");
    }
    for name in super::hostile::bad_names() {
        if name != snapshot() {
            let uid = vm_user();
            let shown = format!("{name:?}");
            let reply = ask(JailIdentity { name, uid }, &[folder, output, errors]);
            assert!(is_denied(&reply), "{shown}: {reply:?}");
        }
    }
    assert_eq!(STARTED.load(Ordering::SeqCst), 0);
    let reply = ask(jailed(), &[folder, output, errors]);
    assert!(matches!(reply, Reply::Started(_)), "{reply:?}");
    assert_eq!(STARTED.load(Ordering::SeqCst), 1);
}

#[test]
fn a_folder_with_a_file_that_has_another_name_goes_into_no_jail() {
    if !is_root() {
        return;
    }
    let folders = Folders::new();
    let good = folders.folder("machine", USER, 0o700);
    let shared = folders.0.path().join("kernel of all");
    fs::write(&shared, "kernel").unwrap();
    chown(&shared, Some(USER), Some(USER)).unwrap();
    fs::write(good.join("own"), "").unwrap();
    let deep = good.join("below/it");
    fs::create_dir_all(&deep).unwrap();
    let check = || links::check(&name_only(&good));
    check().unwrap();
    for link in [good.join("vmlinux"), deep.join("vmlinux")] {
        fs::hard_link(&shared, &link).unwrap();
        let error = check().unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(
            cause,
            "its file `vmlinux` has 2 names, and only one is allowed"
        );
        let handed = [
            name_only(&good),
            folders.log("output", USER),
            folders.log("errors", USER),
        ];
        let refused = files::jailed(&claim(), jailed(), USER, &handed).unwrap_err();
        assert_eq!(refused.kind(), Kind::Denied);
        fs::remove_file(&link).unwrap();
    }
    check().unwrap();
    // Links are not followed, so a loop of them does no harm.
    std::os::unix::fs::symlink(&good, good.join("link")).unwrap();
    check().unwrap();
    for number in 0..1000 {
        fs::write(good.join(number.to_string()), "").unwrap();
    }
    assert!(check().is_err(), "a folder without end");
}

#[test]
fn a_look_at_what_can_be_jailed_says_what_is_missing() {
    if !is_root() {
        return;
    }
    let folders = Folders::new();
    let served = served(Sim::new());
    let mut client = Client::greeted(&served);
    let folder = name_only(&folders.folder("state", USER, 0o700));
    let request = Request::Look(RootLook::Jails);
    client.wire.say(&request, &[folder.as_fd()]).unwrap();
    // Where these tests run, systemd and root's Firecracker are either both missing or both there.
    let reply = client.hear().unwrap();
    assert!(
        matches!(&reply, Reply::Found(Finding::Bad { hint, .. }) if !hint.is_empty())
            || matches!(&reply, Reply::Found(Finding::Good(_))),
        "{reply:?}"
    );
}

/// A program that runs as this user until it is ended.
pub(super) fn running(uid: u32) -> (std::process::Child, Process) {
    use std::os::unix::process::CommandExt as _;
    #[expect(clippy::disallowed_methods, reason = "it runs as another user")]
    let child = std::process::Command::new("/bin/sleep")
        .arg("1000")
        .uid(uid)
        .gid(uid)
        .spawn()
        .unwrap();
    let pid = child.id();
    let process = Process {
        pid,
        start_time: children::stat(pid).unwrap().start_time,
        boot_id: children::boot_id().unwrap(),
    };
    (child, process)
}

#[test]
fn only_what_runs_as_a_user_of_the_range_is_signalled() {
    if !is_root() {
        return;
    }
    let mut client = Client::greeted(&served(Sim::new()));
    let mut signal = |process: &Process, signal| {
        let process = process.clone();
        client
            .ask(&Request::SignalJailed { process, signal })
            .unwrap()
    };
    let range = claim().instance().users();
    for uid in [0, USER, USER + 1, range.end() + 1, range.start() - 1] {
        let (mut child, process) = running(uid);
        let reply = signal(&process, Signal::Kill);
        assert!(is_denied(&reply), "{uid}: {reply:?}");
        assert_eq!(child.try_wait().unwrap(), None, "{uid}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (mut child, process) = running(vm_user());
    for bad in [
        Signal::HangUp,
        Signal::Quit,
        Signal::User1,
        Signal::Interrupt,
    ] {
        assert!(is_denied(&signal(&process, bad)), "{bad:?}");
    }
    let mut other = process.clone();
    other.start_time -= 1;
    let reply = signal(&other, Signal::Kill);
    assert_eq!(reply, Reply::Changed(Change::Already));
    let mut other = process.clone();
    other.boot_id = "another".to_owned();
    let reply = signal(&other, Signal::Kill);
    assert_eq!(reply, Reply::Changed(Change::Already));
    assert_eq!(child.try_wait().unwrap(), None);
    let reply = signal(&process, Signal::Kill);
    assert_eq!(reply, Reply::Changed(Change::Made));
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    let reply = signal(&process, Signal::Kill);
    assert_eq!(reply, Reply::Changed(Change::Already));
}

#[test]
fn in_a_jail_the_users_files_are_the_vms_and_what_it_makes_is_the_users() {
    if !is_root() {
        return;
    }
    let folders = Folders::new();
    let (machine, base) = (
        folders.folder("machine", USER, 0o700),
        folders.folder("jail", 0, 0o711),
    );
    let disk = machine.join("root.img");
    fs::write(&disk, "a disk").unwrap();
    fs::set_permissions(&disk, Permissions::from_mode(0o600)).unwrap();
    chown(&disk, Some(USER), Some(USER)).unwrap();
    fs::write(machine.join("roots"), "").unwrap();
    let owner = |id| Owner { uid: id, gid: id };
    let seen = thread::scope(|scope| {
        let within = scope.spawn(|| {
            let folder = name_only(&machine);
            lay_out(&base, &snapshot(), &folder, owner(USER), owner(vm_user()))?;
            let inside = base.join(format!("firecracker/{}/root/machine", snapshot()));
            let of = |name: &str| fs::metadata(inside.join(name)).unwrap().uid();
            assert_eq!((of("."), of("root.img")), (vm_user(), vm_user()));
            assert_eq!(of("roots"), 65534, "what is not the user's is nobody's");
            // The jailer's own root begins at `root`; the test starts above it.
            for above in inside.ancestors().skip(1).take(3) {
                fs::set_permissions(above, Permissions::from_mode(0o711)).unwrap();
            }
            // This thread keeps the namespace, and drops all privileges.
            let id = rustix::process::Uid::from_raw(vm_user());
            let group = rustix::process::Gid::from_raw(vm_user());
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(group, group, group).unwrap();
            rustix::thread::set_thread_res_uid(id, id, id).unwrap();
            assert_eq!(fs::read(inside.join("root.img")).unwrap(), b"a disk");
            fs::write(inside.join("made"), "by the VM").unwrap();
            assert!(
                File::options()
                    .write(true)
                    .open(inside.join("roots"))
                    .is_err()
            );
            Ok::<_, crate::Error>(())
        });
        within.join().unwrap()
    });
    if let Err(error) = seen {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        return skipped(&format!("no such mounts here: {error}: {cause:?}"));
    }
    assert_eq!(fs::metadata(machine.join("made")).unwrap().uid(), USER);
    // The host does not see the jail.
    assert_eq!(fs::read_dir(&base).unwrap().count(), 0);
}
