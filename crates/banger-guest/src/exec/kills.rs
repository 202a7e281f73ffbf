//! Whether the kernel's out-of-memory killer has killed a process of a command: counted by the kernel, in a
//! control group that each command has for itself.
//!
//! ```text
//! /sys/fs/cgroup/banger-exec/sessions       this program, beside all commands
//! /sys/fs/cgroup/banger-exec/command-PID    the command of the session with this process
//! ```
//!
//! Background processes of a command stay in its group after it. The next session removes what is empty by
//! then.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// The control groups of a guest.
const ROOT: &str = "/sys/fs/cgroup";

/// The folder of ours in it.
const OURS: &str = "banger-exec";

/// The start of the name of a command's group.
const COMMAND: &str = "command-";

/// Where the kernel counts what its out-of-memory killer has killed.
const ALL: &str = "/proc/vmstat";

/// The counts at the start of a command, and its group.
#[derive(Debug)]
pub(crate) struct KillCounts {
    group: Option<Group>,
    all: Option<u64>,
    path_of_all: PathBuf,
}

#[derive(Debug)]
struct Group {
    folder: PathBuf,
    before: u64,
}

/// Moves this process to the group of sessions, where there are control groups.
pub(crate) fn join_sessions() {
    let folder = Path::new(ROOT).join(OURS).join("sessions");
    if Path::new(ROOT).join("cgroup.procs").exists() {
        let _ = fs::create_dir_all(&folder);
        let _ = fs::write(folder.join("cgroup.procs"), "0");
    }
}

impl KillCounts {
    /// Those of a command that starts now in this guest.
    pub(crate) fn of_guest() -> Self {
        Self::new(Path::new(ROOT), Path::new(ALL))
    }

    /// Those of a place without control groups and without a count.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self::new(Path::new("/nowhere"), Path::new("/nowhere/all"))
    }

    fn new(root: &Path, all: &Path) -> Self {
        let there = root.join("cgroup.procs").exists();
        Self {
            group: there.then(|| Group::new(root)).flatten(),
            all: count(all),
            path_of_all: all.to_owned(),
        }
    }

    /// The file to which the command's process writes `0` to be in its group.
    pub(crate) fn door(&self) -> Option<File> {
        let group = self.group.as_ref()?;
        let file = group.folder.join("cgroup.procs");
        OpenOptions::new().write(true).open(file).ok()
    }

    /// Whether a process of the command was killed by the out-of-memory killer; `None` if that cannot be told: one
    /// was killed meanwhile that is not in the group, such as in a container that the command runs.
    pub(crate) fn oom_killed(&self) -> Option<bool> {
        if let Some(group) = &self.group
            && count(&group.events())? > group.before
        {
            return Some(true);
        }
        (count(&self.path_of_all)? <= self.all?).then_some(false)
    }
}

impl Drop for KillCounts {
    fn drop(&mut self) {
        if let Some(group) = &self.group {
            // Background processes keep it.
            let _ = fs::remove_dir(&group.folder);
        }
    }
}

impl Group {
    fn new(root: &Path) -> Option<Self> {
        let ours = root.join(OURS);
        let _ = fs::create_dir_all(&ours);
        for parent in [root, &ours] {
            // systemd has done the first already, on most guests.
            let _ = fs::write(parent.join("cgroup.subtree_control"), "+memory");
        }
        let _ = sweep(&ours);
        let folder = ours.join(format!("{COMMAND}{}", std::process::id()));
        match fs::create_dir(&folder) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => return None,
            _ => {}
        }
        let mut group = Self { folder, before: 0 };
        let Some(before) = count(&group.events()) else {
            let _ = fs::remove_dir(&group.folder);
            return None;
        };
        group.before = before;
        Some(group)
    }

    fn events(&self) -> PathBuf {
        self.folder.join("memory.events")
    }
}

/// Removes the empty groups of sessions that have ended.
fn sweep(ours: &Path) -> io::Result<()> {
    for entry in fs::read_dir(ours)? {
        let entry = entry?;
        let name = entry.file_name();
        let session = name.to_str().and_then(|name| name.strip_prefix(COMMAND));
        if session.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
    Ok(())
}

fn count(path: &Path) -> Option<u64> {
    oom_kills(&fs::read_to_string(path).ok()?)
}

/// The number of processes that the kernel's out-of-memory killer has killed, because the machine or a
/// control group ran out of memory: the line `oom_kill` of proc_vmstat(5) and of `memory.events`.
pub(crate) fn oom_kills(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Guest(tempfile::TempDir);

    impl Guest {
        fn new() -> Self {
            let guest = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(guest.group()).unwrap();
            guest.write("cgroup.procs", "");
            guest.count("all", 3);
            guest
        }

        fn group(&self) -> PathBuf {
            let name = format!("{OURS}/{COMMAND}{}", std::process::id());
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.path().join(name), text).unwrap();
        }

        fn count(&self, name: &str, count: u64) {
            self.write(
                name,
                &format!("oom 9\noom_kill {count}\noom_group_kill 9\n"),
            );
        }

        fn counts_of_group(&self, count: u64) {
            let text = format!("low 0\noom_kill {count}\n");
            fs::write(self.group().join("memory.events"), text).unwrap();
        }

        fn start(&self) -> KillCounts {
            KillCounts::new(self.0.path(), &self.0.path().join("all"))
        }
    }

    #[test]
    fn what_was_killed_in_the_commands_group_is_the_commands() {
        let guest = Guest::new();
        guest.counts_of_group(1);
        let counts = guest.start();
        assert_eq!(counts.oom_killed(), Some(false), "an earlier command's");
        guest.counts_of_group(2);
        guest.count("all", 4);
        assert_eq!(counts.oom_killed(), Some(true));
    }

    #[test]
    fn what_was_killed_elsewhere_meanwhile_is_not_known_to_be_the_commands() {
        let guest = Guest::new();
        guest.counts_of_group(0);
        let counts = guest.start();
        guest.count("all", 4);
        assert_eq!(counts.oom_killed(), None);
    }

    #[test]
    fn a_guest_whose_groups_count_nothing_still_tells_what_did_not_happen() {
        let guest = Guest::new();
        let counts = guest.start();
        assert!(
            !guest.group().exists(),
            "a group without a count is of no use"
        );
        assert_eq!(counts.oom_killed(), Some(false));
        guest.count("all", 4);
        assert_eq!(counts.oom_killed(), None);
        assert_eq!(KillCounts::none().oom_killed(), None);
    }

    #[test]
    fn empty_groups_of_sessions_that_have_ended_are_removed() {
        let guest = Guest::new();
        let ours = guest.0.path().join(OURS);
        // A number that no process has.
        let ended = ours.join(format!("{COMMAND}4194305"));
        let used = ours.join(format!("{COMMAND}4194306"));
        for folder in [&ended, &used] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(used.join("process"), "").unwrap();
        sweep(&ours).unwrap();
        assert!(!ended.exists() && used.exists() && guest.group().exists());
    }
}
