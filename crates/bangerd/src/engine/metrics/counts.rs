//! The counts of operations, by outcome and duration.

use std::collections::BTreeMap;

/// The bounds of the duration buckets, in seconds: a start takes from a tenth of a second with KVM
/// to minutes without.
pub(super) const BOUNDS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The operations of one verb.
#[derive(Debug, Clone, Default)]
pub(super) struct Count {
    pub(super) done: u64,
    pub(super) failed: u64,
    /// The number of operations within each bound.
    pub(super) within: [u64; BOUNDS.len()],
    /// The total duration, in seconds.
    pub(super) seconds: f64,
}

/// The operations of this daemon, by verb.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct OperationCounts(pub(super) BTreeMap<String, Count>);

impl OperationCounts {
    /// Counts an operation that has ended.
    pub(in crate::engine) fn add(&mut self, verb: &str, seconds: f64, is_done: bool) {
        let count = self.0.entry(verb.to_owned()).or_default();
        if is_done {
            count.done += 1;
        } else {
            count.failed += 1;
        }
        count.seconds += seconds;
        for (within, bound) in count.within.iter_mut().zip(BOUNDS) {
            *within += u64::from(seconds <= bound);
        }
    }
}
