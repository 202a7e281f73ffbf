//! Processes, identified by start time and boot; waiting and signalling use pidfds.
//!
//! A process id says nothing by itself: the kernel uses it again. A pidfd names one process for as
//! long as we hold it, so each is opened first and then compared with what was recorded:
//!
//! ```text
//! pidfd_open(pid) ─► /proc/<pid>/stat has the start time? ─► the pidfd is that very process
//! ```

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};

use crate::{Change, Error, Exit, Kind, Process, Result, Signal};

/// The number of ended children that are remembered.
const MOST_ENDED: usize = 1024;

/// The children that this process has started.
#[derive(Debug, Default)]
pub(super) struct Children {
    /// How each child ended, by pid and start time; `None` until it has ended and was waited for.
    known: Mutex<BTreeMap<(u32, u64), Option<Exit>>>,
}

/// The content of `/proc/<pid>/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(super) parent: u32,
    pub(crate) start_time: u64,
    pub(crate) ended: bool,
    stopped: bool,
}

/// The state of the process that has this id now, if there is one.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    let bytes = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&bytes))
}

/// Field 3 is the state, field 4 the parent, field 22 the start time. The name, field 2, may hold
/// anything, so fields count from its last parenthesis. See proc_pid_stat(5).
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let start_time = fields.nth(17)?.parse().ok()?;
    Some(Stat {
        parent,
        start_time,
        ended: matches!(state, "Z" | "X" | "x"),
        stopped: state == "T",
    })
}

/// A pidfd of exactly this process, if it still runs.
pub(crate) fn open(process: &Process, boot_id: &str) -> Option<OwnedFd> {
    if process.boot_id != boot_id {
        return None;
    }
    let pid = Pid::from_raw(i32::try_from(process.pid).ok()?)?;
    let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    runs(process).then_some(handle)
}

fn runs(process: &Process) -> bool {
    stat(process.pid).is_some_and(|it| it.start_time == process.start_time && !it.ended)
}

/// Look::is_stopped.
pub(super) fn is_stopped(process: &Process, boot_id: &str) -> bool {
    process.boot_id == boot_id
        && stat(process.pid).is_some_and(|it| it.start_time == process.start_time && it.stopped)
}

impl Children {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(u32, u64), Option<Exit>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a child, so that it is reaped and its exit status is known.
    pub(super) fn add(&self, process: &Process) {
        let mut known = self.lock();
        known.insert((process.pid, process.start_time), None);
        if known.len() > MOST_ENDED {
            let ended = known
                .iter()
                .filter(|(_, exit)| exit.is_some())
                .map(|(key, _)| *key);
            if let Some(oldest) = ended.min_by_key(|(_, start_time)| *start_time) {
                known.remove(&oldest);
            }
        }
    }

    /// Look::is_alive.
    pub(super) fn is_alive(&self, process: &Process, boot_id: &str) -> bool {
        let alive = process.boot_id == boot_id && runs(process);
        if !alive {
            self.reap(process);
        }
        alive
    }

    /// Look::exit_of.
    pub(super) fn exit_of(&self, process: &Process, boot_id: &str) -> Option<Exit> {
        if process.boot_id != boot_id {
            return None;
        }
        self.reap(process);
        self.lock()
            .get(&(process.pid, process.start_time))
            .copied()
            .flatten()
    }

    /// Reaps a child if it has ended, and records how. Its process id is free afterwards.
    fn reap(&self, process: &Process) {
        let mut known = self.lock();
        let Some(exit @ None) = known.get_mut(&(process.pid, process.start_time)) else {
            return;
        };
        let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else {
            return;
        };
        // Only this function reaps our children, so the number is still this child's.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        if let Ok(Some(status)) = rustix::process::waitid(WaitId::Pid(pid), options) {
            *exit = how(&status);
        }
    }

    /// Look::wait_any.
    pub(super) fn wait_any(
        &self,
        processes: &[Process],
        timeout: Duration,
        boot_id: &str,
    ) -> Vec<Process> {
        let deadline = Instant::now() + timeout;
        let handles: Vec<Option<OwnedFd>> = processes
            .iter()
            .map(|process| open(process, boot_id))
            .collect();
        let mut polled: Vec<PollFd<'_>> = handles
            .iter()
            .flatten()
            .map(|it| PollFd::new(it, PollFlags::IN))
            .collect();
        loop {
            let gone: Vec<Process> = processes
                .iter()
                .filter(|it| !self.is_alive(it, boot_id))
                .cloned()
                .collect();
            let left = deadline.saturating_duration_since(Instant::now());
            if !gone.is_empty() || left.is_zero() {
                return gone;
            }
            // A process without a pidfd (too many open files) is polled at short intervals.
            let blind = polled.len() < processes.len();
            let wait = if blind {
                left.min(Duration::from_millis(100))
            } else {
                left
            };
            let wait = Timespec::try_from(wait).unwrap_or(Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            });
            // An interrupted or failed poll is a short wait: the loop checks again.
            let _ = poll(&mut polled, Some(&wait));
        }
    }
}

fn how(status: &WaitIdStatus) -> Option<Exit> {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Some(Exit::Status(code)),
        (None, Some(signal)) => Some(Exit::Signal(signal)),
        (None, None) => None,
    }
}

/// Host::signal.
pub(super) fn signal(process: &Process, signal: Signal, boot_id: &str) -> Result<Change> {
    let describe = || format!("signal process {}", process.pid);
    let Some(handle) = open(process, boot_id) else {
        if process.boot_id == boot_id && runs(process) {
            let text = "no handle of it can be had";
            return Err(Error::new(Kind::Other, text).within(describe()));
        }
        return Ok(Change::Already);
    };
    send(&handle, signal).map_err(|error| error.within(describe()))
}

/// Signals the process of this pidfd.
pub(crate) fn send(handle: &OwnedFd, signal: Signal) -> Result<Change> {
    use rustix::process::Signal as Number;
    let number = match signal {
        Signal::Terminate => Number::TERM,
        Signal::Kill => Number::KILL,
        Signal::Interrupt => Number::INT,
        Signal::HangUp => Number::HUP,
        Signal::Quit => Number::QUIT,
        Signal::User1 => Number::USR1,
        Signal::User2 => Number::USR2,
        Signal::Stop => Number::STOP,
        Signal::Continue => Number::CONT,
    };
    match rustix::process::pidfd_send_signal(handle.as_fd(), number) {
        Ok(()) => Ok(Change::Made),
        Err(rustix::io::Errno::SRCH) => Ok(Change::Already),
        Err(error) => Err(Error::io("send it", error.into())),
    }
}

/// The id of the host's current boot.
pub(crate) fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path)
        .map_err(|cause| Error::io(format!("read `{path}`"), cause))?;
    Ok(text.trim().to_owned())
}

/// The ids of all processes that are visible to us.
pub(crate) fn all() -> Result<impl Iterator<Item = u32>> {
    let shown = "list the processes in `/proc`";
    let entries = std::fs::read_dir("/proc").map_err(|cause| Error::io(shown, cause))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()))
}

/// The real, effective, saved and file-system user of a process; proc_pid_status(5).
pub(crate) fn users(pid: u32) -> Option<[u32; 4]> {
    let text = std::fs::read(format!("/proc/{pid}/status")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let users: Vec<u32> = line
        .split_whitespace()
        .map_while(|it| it.parse().ok())
        .collect();
    users.try_into().ok()
}

#[cfg(test)]
#[path = "children_tests.rs"]
mod tests;
