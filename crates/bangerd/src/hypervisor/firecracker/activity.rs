//! Distinguishes a busy Firecracker from one that hangs.
//!
//! On a loaded host or a slow disk a healthy start may take longer than a user should wait for the
//! report of a hang. The difference is whether the process used its processor or faulted in memory:
//! fields 10, 12, 14 and 15 of `/proc/<pid>/stat` (proc_pid_stat(5)).
//!
//! A host that starves Firecracker may starve the daemon too, and time without a sample proves
//! nothing. So a sample counts for little more than the interval between samples, however late it
//! comes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use banger_host::{Host, Process};

/// How long a busy Firecracker may leave a request unanswered, in sampled time.
const LONGEST: Duration = Duration::from_secs(30);

/// Page faults and processor time of a process so far.
type Usage = [u64; 4];

/// The interval between samples.
pub(super) const GLANCE: Duration = Duration::from_millis(250);

/// The longest time that one sample counts for.
const MOST: Duration = GLANCE.saturating_mul(2);

/// The activity of one process from now on.
pub(super) struct Activity<'a> {
    host: &'a dyn Host,
    stat: PathBuf,
    began: Instant,
    looked: Instant,
    observation: Observation,
}

impl<'a> Activity<'a> {
    /// A process that counts as hung after being idle for `patience`.
    pub(super) fn of(process: &Process, patience: Duration, host: &'a dyn Host) -> Self {
        let mut activity = Self {
            host,
            stat: format!("/proc/{}/stat", process.pid).into(),
            began: Instant::now(),
            looked: Instant::now(),
            observation: Observation::new(patience),
        };
        activity.observation.used = activity.look();
        activity
    }

    /// Whether it hangs, or its time is used up.
    pub(super) fn hangs(&mut self) -> bool {
        let now = Instant::now();
        let passed = now.duration_since(self.looked);
        self.looked = now;
        let used = self.look();
        // The total time is bounded even if samples were rare.
        self.observation.add(used, passed) || self.began.elapsed() >= 4 * LONGEST
    }

    fn look(&self) -> Option<Usage> {
        let text = self.host.read(&self.stat).ok().flatten()?;
        used(&String::from_utf8_lossy(&text))
    }
}

/// The sum of all samples.
struct Observation {
    patience: Duration,
    used: Option<Usage>,
    /// How long it has been idle.
    idle: Duration,
    /// How long it has been sampled.
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

    /// Adds a sample taken `passed` after the last one; returns whether the process counts as hung.
    fn add(&mut self, used: Option<Usage>, passed: Duration) -> bool {
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

/// Field 2, the name, may hold anything, so fields are counted from its last parenthesis.
fn used(stat: &str) -> Option<Usage> {
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
            let mut observation = Observation::new(patience);
            observation.used = Some([0; 4]);
            (1..).find(|look| observation.add(Some([step(*look), 0, 0, 0]), GLANCE))
        };
        assert_eq!(looks(Box::new(|_| 0)), Some(16), "4 s of 250 ms");
        assert_eq!(looks(Box::new(|look| look)), Some(120), "30 s of 250 ms");
        assert_eq!(looks(Box::new(|look| look.min(10))), Some(26));
    }

    #[test]
    fn a_look_that_comes_late_is_no_proof() {
        let mut observation = Observation::new(Duration::from_secs(4));
        for _ in 0..7 {
            assert!(!observation.add(None, Duration::from_mins(1)));
        }
        assert!(observation.add(None, Duration::from_mins(1)));
    }
}
