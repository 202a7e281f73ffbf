//! Detaches a daemon from the command that started it.
//!
//! | what is inherited | what a daemon has instead |
//! |---|---|
//! | terminal, session, process group | a session of its own |
//! | open files, with the locks on them | standard input, output and error |
//! | working directory | `/` |
//! | file mode mask | 077 |
//! | ignored and blocked signals | none |
//! | resource limits | those that Linux begins with, as far as the hard limits and rights allow |
//! | nice value, CPU affinity, OOM score | the usual ones, as far as rights allow |
//!
//! The starter sets the environment. [`detach`] returns the settings that cannot be changed without
//! privileges (a hard limit, a raised nice value).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CpuSet;

use crate::linux::sys;

/// The stack limit that Linux gives to the first process, in bytes.
const STACK: u64 = 8 << 20;
const LOCKED_MEMORY: u64 = 8 << 20;
/// The limit of open files that systemd gives to each service.
const OPEN_FILES: u64 = 512 << 10;

/// Limits that a daemon must not inherit from a shell, with their names in `ulimit`.
const UNLIMITED: [(Resource, &str); 7] = [
    (Resource::Cpu, "-t, seconds of CPU"),
    (Resource::Fsize, "-f, bytes of a file"),
    (Resource::Data, "-d, bytes of data"),
    (Resource::Rss, "-m, bytes of resident memory"),
    (Resource::As, "-v, bytes of address space"),
    (Resource::Nproc, "-u, processes"),
    (Resource::Locks, "-x, file locks"),
];

/// Detaches this process as in the table above, and returns what could not be changed, as text.
///
/// Call it first, before this process opens a file or starts a thread: every open file except the
/// standard three is closed.
#[must_use]
pub fn detach() -> Vec<String> {
    let session = rustix::process::setsid();
    sys::close_inherited();
    let _ = rustix::process::chdir("/");
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    sys::usual_signals();
    let mut kept = usual_limits();
    kept.extend(usual_priority());
    if session.is_err() {
        // A starter that makes this process the leader of a process group is a shell with job
        // control.
        kept.push("the session stays, since this process leads a group".to_owned());
    }
    kept
}

fn usual_limits() -> Vec<String> {
    let mut kept = Vec::new();
    for (resource, name) in UNLIMITED {
        lift(resource, None, None);
        if let Some(current) = getrlimit(resource).current {
            // A limit on processes is the system's, not a shell's.
            if resource != Resource::Nproc {
                kept.push(format!("the limit of {name}, stays {current}"));
            }
        }
    }
    lift(Resource::Stack, Some(STACK), None);
    lift(Resource::Core, Some(0), None);
    for (resource, least) in [
        (Resource::Nofile, OPEN_FILES),
        (Resource::Memlock, LOCKED_MEMORY),
    ] {
        let maximum = getrlimit(resource).maximum.map(|it| it.max(least));
        lift(resource, maximum, maximum);
    }
    kept
}

/// Raises a limit: the soft one as far as the hard one, where that may not be raised.
fn lift(resource: Resource, current: Option<u64>, maximum: Option<u64>) {
    if setrlimit(resource, Rlimit { current, maximum }).is_ok() {
        return;
    }
    let maximum = getrlimit(resource).maximum;
    let current = match (current, maximum) {
        (Some(current), Some(most)) => Some(current.min(most)),
        (current, None) => current,
        (None, most) => most,
    };
    let _ = setrlimit(resource, Rlimit { current, maximum });
}

fn usual_priority() -> Option<String> {
    let mut all = CpuSet::new();
    for cpu in 0..CpuSet::MAX_CPU {
        all.set(cpu);
    }
    // The kernel selects the existing CPUs that this cgroup may use.
    let _ = rustix::thread::sched_setaffinity(None, &all);
    // No privilege is needed to lower it to the value that the session began with.
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
    rustix::process::setpriority_process(None, 0)
        .is_err()
        .then(|| "the nice value is unchanged: only root can lower it".to_owned())
}
