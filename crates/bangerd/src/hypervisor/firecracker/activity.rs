//! Whether a Firecracker that does not answer is at work, or hangs.
//!
//! On a busy host, or from a slow disk, a start may rightly take longer than a user should wait for
//! word of one that hangs. What tells them apart is whether the process used its processor or got
//! memory in between: fields 10, 12, 14 and 15 of `/proc/<pid>/stat` (proc_pid_stat(5)).
//!
//! What keeps Firecracker from its processor may keep us from ours, too. Time in which we did not
//! look says nothing of it, so a look counts for little more than the wait before it, however late
//! it comes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use banger_host::{Host, Process};

/// How long a Firecracker that works may leave a request unanswered, while we look.
const LONGEST: Duration = Duration::from_secs(30);

/// What a process has used so far.
type Used = [u64; 4];

/// How long to wait at a time before looking again.
pub(super) const GLANCE: Duration = Duration::from_millis(250);

/// The most that one look counts for.
const MOST: Duration = GLANCE.saturating_mul(2);

/// One process, watched from now on.
pub(super) struct Activity<'a> {
    host: &'a dyn Host,
    stat: PathBuf,
    began: Instant,
    looked: Instant,
    seen: Observation,
}

impl<'a> Activity<'a> {
    /// A process that hangs once it has done nothing for as long as our patience lasts.
    pub(super) fn of(process: &Process, patience: Duration, host: &'a dyn Host) -> Self {
        let mut activity = Self {
            host,
            stat: format!("/proc/{}/stat", process.pid).into(),
            began: Instant::now(),
            looked: Instant::now(),
            seen: Observation::new(patience),
        };
        activity.seen.used = activity.look();
        activity
    }

    /// Whether it hangs, or has had all the time that there is.
    pub(super) fn hangs(&mut self) -> bool {
        let now = Instant::now();
        let passed = now.duration_since(self.looked);
        self.looked = now;
        let used = self.look();
        // However little we came to look: nobody waits for ever.
        self.seen.add(used, passed) || self.began.elapsed() >= 4 * LONGEST
    }

    fn look(&self) -> Option<Used> {
        let text = self.host.read(&self.stat).ok().flatten()?;
        used(&String::from_utf8_lossy(&text))
    }
}

/// What all looks have told.
struct Observation {
    patience: Duration,
    used: Option<Used>,
    /// For how long it has done nothing.
    idle: Duration,
    /// For how long it has been watched.
    watched: Duration,
}

impl Observation {
    fn new(patience: Duration) -> Self {
        Self {
            patience,
            used: None,
            idle: Duration::ZERO,
            watched: Duration::ZERO,
        }
    }

    /// A look, that long after the one before it. Whether that was one too many.
    fn add(&mut self, used: Option<Used>, passed: Duration) -> bool {
        let passed = passed.min(MOST);
        self.watched += passed;
        self.idle = if used == self.used {
            self.idle + passed
        } else {
            Duration::ZERO
        };
        self.used = used;
        self.idle >= self.patience || self.watched >= LONGEST
    }
}

/// The name, field 2, may hold anything, so fields are counted from its last parenthesis.
fn used(stat: &str) -> Option<Used> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse().ok();
    Some([field(10)?, field(12)?, field(14)?, field(15)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_is_counted_behind_a_name_that_may_hold_anything() {
        let stat = "42 (a) b (c) S 1 2 2 0 -1 4194304 101 0 202 0 303 404 0 0 20 0 1 0 4711";
        assert_eq!(used(stat), Some([101, 202, 303, 404]));
        assert_eq!(used("42 (sh) S 1"), None);
        assert_eq!(used(""), None);
    }

    #[test]
    fn one_that_does_nothing_hangs_and_one_that_works_has_longer() {
        let patience = Duration::from_secs(4);
        let looks = |mut step: Box<dyn FnMut(u64) -> u64>| {
            let mut seen = Observation::new(patience);
            seen.used = Some([0; 4]);
            (1..).find(|look| seen.add(Some([step(*look), 0, 0, 0]), GLANCE))
        };
        assert_eq!(looks(Box::new(|_| 0)), Some(16), "4 s of 250 ms");
        assert_eq!(looks(Box::new(|look| look)), Some(120), "30 s of 250 ms");
        assert_eq!(looks(Box::new(|look| look.min(10))), Some(26));
    }

    #[test]
    fn a_look_that_comes_late_is_no_proof() {
        let mut seen = Observation::new(Duration::from_secs(4));
        for _ in 0..7 {
            assert!(!seen.add(None, Duration::from_mins(1)));
        }
        assert!(seen.add(None, Duration::from_mins(1)));
    }
}
