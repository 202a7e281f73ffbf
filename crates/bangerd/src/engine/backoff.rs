//! Exponential backoff of retries, for each VM and cause.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use banger_api::VmId;

/// The delay between the first attempt and the second.
const FIRST: Duration = Duration::from_secs(1);

/// The maximum delay between two attempts.
const LONGEST: Duration = Duration::from_secs(60);

/// The time of the next attempt.
#[derive(Debug, Default)]
pub(super) struct Backoff(BTreeMap<(VmId, &'static str), Wait>);

#[derive(Debug, Clone, Copy)]
struct Wait {
    until: Instant,
    /// The delay that ends then.
    length: Duration,
}

impl Backoff {
    /// Whether an attempt is due. Each due attempt doubles the next delay.
    pub(super) fn attempt(&mut self, id: VmId, cause: &'static str, now: Instant) -> bool {
        if self.waits(id, cause, now) {
            return false;
        }
        let before = self.0.get(&(id, cause)).map(|it| it.length);
        let length = before.map_or(FIRST, |it| (it * 2).min(LONGEST));
        let until = now + length;
        self.0.insert((id, cause), Wait { until, length });
        true
    }

    /// Whether an attempt was made and the next one is not due yet.
    pub(super) fn waits(&self, id: VmId, cause: &'static str, now: Instant) -> bool {
        self.0.get(&(id, cause)).is_some_and(|it| now < it.until)
    }

    /// Resets the backoff after a success.
    pub(super) fn well(&mut self, id: VmId, cause: &'static str) {
        self.0.remove(&(id, cause));
    }

    /// Drops the entries of all other VMs.
    pub(super) fn keep(&mut self, is_there: impl Fn(VmId) -> bool) {
        self.0.retain(|(id, _), _| is_there(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_ever_more_seldom_for_each_vm_and_cause_until_all_is_well() {
        let (a, b) = (VmId::from_bits(1), VmId::from_bits(2));
        let began = Instant::now();
        let mut backoff = Backoff::default();
        let tries: Vec<u64> = (0..=200)
            .filter(|second| backoff.attempt(a, "DNS", began + Duration::from_secs(*second)))
            .collect();
        assert_eq!(tries, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        let now = began + Duration::from_secs(200);
        assert!(backoff.waits(a, "DNS", now));
        assert!(backoff.attempt(a, "network", now) && backoff.attempt(b, "DNS", now));
        backoff.well(a, "DNS");
        assert!(backoff.attempt(a, "DNS", now));
        backoff.keep(|id| id == a);
        assert!(!backoff.waits(b, "DNS", now) && backoff.waits(a, "network", now));
    }
}
