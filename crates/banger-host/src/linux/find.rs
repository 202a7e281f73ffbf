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
use std::path::Path;

use super::children::{all, stat, users};
use super::units::{Manager, Tree};
use crate::{Mark, Process, Result};

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

/// Whether the process executes one of the machine's programs, with the name as an argument.
fn is_named(pid: u32, mark: &Mark) -> bool {
    let Ok(arguments) = std::fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let mut arguments = arguments.split(|byte| *byte == 0);
    let first = arguments.next().unwrap_or_default();
    if !arguments.any(|it| it == mark.name.as_bytes()) {
        return false;
    }
    let file = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    // Argument 0 counts, too: a program may be wrapped in one of another name.
    let names = [
        file_name(&file),
        file_name(Path::new(OsStr::from_bytes(first))),
    ];
    let is = |known: &OsStr| names.contains(&known);
    STARTERS.iter().any(|it| is(OsStr::new(it)))
        || mark.programs.iter().any(|program| {
            is(file_name(program)) || program.canonicalize().is_ok_and(|it| is(file_name(&it)))
        })
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
