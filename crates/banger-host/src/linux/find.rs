//! Finds the processes of one machine, by attributes that only root and its user can set.
//!
//! A name among the arguments proves nothing: any user may start a program with any arguments. The
//! evidence:
//!
//! | the process | why it is the machine's |
//! |---|---|
//! | runs as the machine's own user | only root can start a process as that user |
//! | runs in a unit with the machine's name, of the system's or this user's manager | no other user can put it there |
//! | runs as this user or the machine's, executes one of the machine's programs, and has the name among its arguments | it is not an editor or pager that has the name as an argument |

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::children::{all, stat, users};
use super::units::{Manager, Tree};
use crate::{Instance, Mark, Process, Result};

/// Programs that start a machine's program, and have its arguments behind their own: see `scope`.
const STARTERS: [&str; 2] = ["systemd-run", "setpriv"];

/// Look::find_processes, for a daemon that runs as this user.
pub(super) fn find(mark: &Mark, uid: u32, boot_id: &str) -> Result<Vec<Process>> {
    let tree = Tree::find();
    let managers = [Manager::System, Manager::User(uid)];
    let mut found = Vec::new();
    for pid in all()? {
        // A process that ends during the search no longer counts.
        let Some(users) = users(pid) else { continue };
        // A set-user-id program has the real user of its caller.
        let may_be = mark.user == Some(users[0]);
        let own = mark.alone && may_be || tree.has(pid, &mark.name, &managers);
        let by_name = !own && (may_be || users[0] == uid) && is_named(pid, mark);
        if !own && !by_name {
            continue;
        }
        if let Some(stat) = stat(pid).filter(|it| !it.ended) {
            let process = Process {
                pid,
                start_time: stat.start_time,
                boot_id: boot_id.to_owned(),
            };
            found.push((process, stat.parent, by_name));
        }
    }
    // Between fork and exec a child has its parent's arguments, so a child of a process that was
    // found does not count by its name.
    let all: BTreeSet<u32> = found.iter().map(|(process, ..)| process.pid).collect();
    found.retain(|(_, parent, by_name)| !(*by_name && all.contains(parent)));
    let mut found: Vec<Process> = found.into_iter().map(|(process, ..)| process).collect();
    found.sort_by_key(|process| (process.start_time, process.pid));
    Ok(found)
}

/// Look::find_machines, for a daemon that runs as this user.
pub(super) fn find_machines(
    instance: Instance,
    programs: &[PathBuf],
    uid: u32,
    boot_id: &str,
) -> Result<Vec<(String, Process)>> {
    let prefix = instance.name_prefix();
    let mut found = Vec::new();
    let is_ours = |user: u32| user == uid || instance.users().contains(&user);
    for pid in all()? {
        // Most processes have no such name, which is the cheapest question.
        let mut names = arguments(pid).into_iter().skip(1);
        let Some(name) = names.find(|it| it.starts_with(&prefix)) else {
            continue;
        };
        let is_machine = users(pid).is_some_and(|users| is_ours(users[0])) && runs(pid, programs);
        if let Some(stat) = stat(pid).filter(|it| is_machine && !it.ended) {
            let process = Process {
                pid,
                start_time: stat.start_time,
                boot_id: boot_id.to_owned(),
            };
            found.push((name, process));
        }
    }
    Ok(found)
}

/// Whether the process executes one of the machine's programs, with the name as an argument.
fn is_named(pid: u32, mark: &Mark) -> bool {
    let mut arguments = arguments(pid).into_iter().skip(1);
    arguments.any(|it| it == mark.name)
        && (runs(pid, &mark.programs) || STARTERS.iter().any(|it| is_called(pid, OsStr::new(it))))
}

/// The arguments of a process; none if it has ended.
fn arguments(pid: u32) -> Vec<String> {
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments = arguments.split(|byte| *byte == 0);
    arguments
        .map(|it| String::from_utf8_lossy(it).into_owned())
        .collect()
}

/// Whether the process executes one of these programs.
fn runs(pid: u32, programs: &[PathBuf]) -> bool {
    programs.iter().any(|program| {
        let is = |path: &Path| is_called(pid, file_name(path));
        is(program) || program.canonicalize().is_ok_and(|it| is(&it))
    })
}

/// Whether the process executes a program of this name. Argument 0 counts, too: a program may be
/// wrapped in one of another name.
fn is_called(pid: u32, name: &OsStr) -> bool {
    let file = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let arguments = arguments(pid);
    let first = arguments.first().map(String::as_str).unwrap_or_default();
    [file_name(&file), file_name(Path::new(first))].contains(&name)
}

/// The name of a program's file, which may have been replaced since: see `/proc/<pid>/exe` in
/// proc_pid_exe(5).
fn file_name(file: &Path) -> &OsStr {
    let name = file.file_name().unwrap_or_default();
    let name = name.as_bytes();
    OsStr::from_bytes(name.strip_suffix(b" (deleted)").unwrap_or(name))
}

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;
