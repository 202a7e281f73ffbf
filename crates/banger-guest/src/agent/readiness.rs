//! The readiness of the guest: its init has started, and sshd listens.
//!
//! sshd writes `/run/sshd.pid` once it listens, so `/run` is watched, and the kernel's tables are
//! read when that file appears. Not every sshd writes it, so they are read from time to time as
//! well, less often the longer reading takes.
//!
//! A user may have moved sshd to another port, or removed it. Such a guest becomes ready, with a
//! warning, some seconds after its init has started everything.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use banger_guest::protocol::Phase;
use rustix::fs::inotify::{self, WatchFlags};

use super::listening::listens;

const SSH: u16 = 22;

/// The file that the unit after all others creates.
const BOOTED: &str = "/run/banger/booted";

/// How long sshd may take after that.
const GRACE: Duration = Duration::from_secs(5);

/// The pause after a check, as a multiple of its duration, which is tens of milliseconds on an
/// emulated machine; and the shortest and the longest pause.
const SHARE: u32 = 50;
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(2);

/// The directory of sshd's file, and the prefix of its name.
const RUN: &str = "/run";
const SSHD: &[u8] = b"sshd";

/// Records that the image's init has started everything.
pub(crate) fn mark_booted() -> ExitCode {
    match fs::write(BOOTED, "") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The progress of the guest since its init runs.
#[derive(Debug)]
pub(crate) struct Readiness {
    booted: Option<Instant>,
    ready: bool,
    watch: Option<OwnedFd>,
    due: Instant,
}

/// A watch for new files in `/run`; `None` if the guest has no inotify watches left.
fn watch() -> Option<OwnedFd> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
    let coming = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO;
    inotify::add_watch(&fd, RUN, coming).ok()?;
    Some(fd)
}

/// Whether sshd's file is among the new files.
fn saw_sshd(watch: &OwnedFd) -> bool {
    let mut bytes = [MaybeUninit::uninit(); 2048];
    let mut reader = inotify::Reader::new(watch, &mut bytes);
    let mut seen = false;
    while let Ok(event) = reader.next() {
        seen |= event
            .file_name()
            .is_some_and(|name| name.to_bytes().starts_with(SSHD));
    }
    seen
}

impl Readiness {
    pub(crate) fn new() -> Self {
        // The watch comes first, so that no file is missed between it and the first check.
        let watch = watch();
        let now = Instant::now();
        let mut readiness = Self {
            booted: None,
            ready: false,
            watch,
            due: now,
        };
        readiness.look();
        readiness
    }

    pub(crate) fn phase(&self) -> Phase {
        if self.ready {
            Phase::Ready
        } else {
            Phase::Starting
        }
    }

    /// Checks again; returns a warning if the guest is ready without sshd.
    pub(crate) fn look(&mut self) -> Option<String> {
        let woken = self.watch.as_ref().is_some_and(saw_sshd);
        if self.ready || (!woken && Instant::now() < self.due) {
            return None;
        }
        let began = Instant::now();
        let (listens, booted) = (listens(SSH), fs::exists(BOOTED).unwrap_or(false));
        let now = Instant::now();
        self.due = now + ((now - began) * SHARE).clamp(SHORTEST, LONGEST);
        self.judge(listens, booted, now)
    }

    fn judge(&mut self, listens: bool, booted: bool, now: Instant) -> Option<String> {
        if listens {
            self.become_ready();
            return None;
        }
        if booted && now >= *self.booted.get_or_insert(now) + GRACE {
            self.become_ready();
            return Some(format!(
                "nothing listens on port {SSH}: SSH logins are not possible"
            ));
        }
        None
    }

    fn become_ready(&mut self) {
        self.ready = true;
        self.watch = None;
    }

    /// Becomes readable when a check is worthwhile.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(OwnedFd::as_fd)
    }

    /// The time until the next check; `None` once the guest is ready.
    pub(crate) fn pause(&self) -> Option<Duration> {
        (!self.ready).then(|| self.due.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starting() -> Readiness {
        let now = Instant::now();
        Readiness {
            booted: None,
            ready: false,
            watch: None,
            due: now,
        }
    }

    #[test]
    fn a_guest_whose_sshd_listens_is_ready() {
        let mut readiness = starting();
        assert_eq!(readiness.judge(false, false, Instant::now()), None);
        assert_eq!(readiness.phase(), Phase::Starting);
        assert!(readiness.pause().is_some());
        assert_eq!(readiness.judge(true, false, Instant::now()), None);
        assert_eq!((readiness.phase(), readiness.pause()), (Phase::Ready, None));
    }

    #[test]
    fn a_guest_without_sshd_is_ready_a_while_after_its_init_is_done() {
        let (mut readiness, now) = (starting(), Instant::now());
        assert_eq!(readiness.judge(false, false, now + 9 * GRACE), None);
        assert_eq!(readiness.judge(false, true, now), None);
        assert_eq!(readiness.phase(), Phase::Starting);
        let warning = readiness.judge(false, true, now + GRACE).unwrap();
        assert!(warning.contains("port 22"), "{warning}");
        assert_eq!(readiness.phase(), Phase::Ready);
    }
}
