//! Leftovers of a killed test run: its daemons and VMs outlive it, as they are meant to.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};

use crate::ordinary_user;

/// The prefix of the names of all test folders.
pub(crate) const PREFIX: &str = "banger-real-";

/// The file in a test's folder that is locked while its run lives.
pub(crate) const LOCK: &str = "run.lock";

/// Ends and removes what dead runs have left, and nothing else.
pub(crate) fn sweep() {
    let folders = std::fs::read_dir(std::env::temp_dir()).unwrap();
    for folder in folders.flatten() {
        let is_ours = folder.file_name().to_string_lossy().starts_with(PREFIX);
        let path = folder.path();
        let Ok(lock) = File::open(path.join(LOCK)) else {
            continue;
        };
        if is_ours && flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            eprintln!("an earlier run has left {}", path.display());
            end_vms(&path);
            // Some tests have mounted a file system there.
            let _ = Command::new("umount")
                .arg("--lazy")
                .arg(path.join("state"))
                .stderr(Stdio::null())
                .status();
            let _ = std::fs::remove_dir_all(&path);
        }
    }
    remove_users();
}

/// Removes the users that dead runs have made, and root's side of banger for them.
fn remove_users() {
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    for line in users.lines() {
        let mut fields = line.split(':');
        let (Some(name), Some(uid)) = (fields.next(), fields.nth(1)) else {
            continue;
        };
        let run = name.strip_prefix(ordinary_user::PREFIX);
        let Some(run) = run.and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        if Path::new(&format!("/proc/{run}")).exists() {
            continue;
        }
        eprintln!("an earlier run has left the user {name}");
        end_processes(uid);
        if Path::new(&format!("/etc/banger/{uid}.json")).exists() {
            let _ = Command::new("/usr/local/libexec/banger/banger-root")
                .args(["uninstall", "--uid", uid])
                .status();
        }
        let _ = Command::new("userdel").arg(name).status();
    }
}

/// Ends `banger-root serve --uid UID`, which runs as root.
fn end_processes(uid: &str) {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    for process in processes {
        let arguments = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let arguments: Vec<&[u8]> = arguments.split(|byte| *byte == 0).collect();
        let serves = [b"serve".as_slice(), b"--uid", uid.as_bytes()];
        if arguments
            .first()
            .is_some_and(|it| it.ends_with(b"/banger-root"))
            && arguments.get(1..4) == Some(&serves)
            && let Ok(pid) = process.file_name().to_string_lossy().parse()
        {
            crate::world::kill(pid);
        }
    }
}

/// Deletes all VMs of a test's folder, and ends its daemon.
fn end_vms(folder: &Path) {
    let state = folder.join("state");
    let Ok(owner) = std::fs::metadata(&state) else {
        return;
    };
    let banger = |arguments: &[&str]| {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(env!("CARGO_BIN_EXE_banger"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", folder)
            .env("BANGER_STATE", &state)
            .env("BANGER_CONFIG", folder.join("config.toml"))
            .current_dir("/")
            .stdin(Stdio::null())
            .uid(owner.uid())
            .gid(owner.gid());
        command.output()
    };
    // The daemon of that run may be of an older build.
    let _ = banger(&["daemon", "stop"]);
    let vms = std::fs::read_dir(state.join("vms"));
    for vm in vms.into_iter().flatten().flatten() {
        let id = vm.file_name().to_string_lossy().into_owned();
        let _ = banger(&["vm", "delete", "--force", &id]);
    }
    let _ = banger(&["daemon", "stop"]);
}
