//! Whether a Firecracker that does not answer is at work, or hangs.
//!
//! On a busy host, or from a slow disk, a start may rightly take longer than a user should wait for
//! word of one that hangs. What tells them apart is whether the process used its processor or got
//! memory in between: fields 10, 12, 14 and 15 of `/proc/<pid>/stat` (proc_pid_stat(5)).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use banger_host::{Host, Process};

/// How long a Firecracker that works may leave a request unanswered.
const LONGEST: Duration = Duration::from_secs(30);

/// What a process has used so far.
type Used = [u64; 4];

/// How long to wait at a time before looking again.
pub(super) const GLANCE: Duration = Duration::from_millis(250);

/// One process, watched from now on.
pub(super) struct Activity<'a> {
    host: &'a dyn Host,
    stat: PathBuf,
    patience: Duration,
    used: Option<Used>,
    worked: Instant,
    until: Instant,
}

impl<'a> Activity<'a> {
    /// A process that hangs once it has done nothing for as long as our patience lasts.
    pub(super) fn of(process: &Process, patience: Duration, host: &'a dyn Host) -> Self {
        let now = Instant::now();
        Self {
            host,
            stat: format!("/proc/{}/stat", process.pid).into(),
            patience,
            used: None,
            worked: now,
            until: now + LONGEST,
        }
    }

    /// Whether it hangs, or has had all the time that there is.
    pub(super) fn hangs(&mut self) -> bool {
        let (now, used) = (Instant::now(), self.look());
        if self.used.is_some() && used != self.used {
            self.worked = now;
        }
        self.used = used;
        now >= self.until || now.duration_since(self.worked) >= self.patience
    }

    fn look(&self) -> Option<Used> {
        let text = self.host.read(&self.stat).ok().flatten()?;
        used(&String::from_utf8_lossy(&text))
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
}
