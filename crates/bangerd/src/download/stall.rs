//! Servers that send, but too slowly.

use std::time::Instant;

use super::RetryLimits;
use super::failure::AttemptFailure;

/// Fails a transfer that is too slow. A blocked read has its own timeout.
pub(super) struct StallGuard<'a> {
    limits: &'a RetryLimits,
    began: Instant,
    received: u64,
}

impl<'a> StallGuard<'a> {
    /// A guard that begins now.
    pub(super) fn new(limits: &'a RetryLimits) -> Self {
        let (began, received) = (Instant::now(), 0);
        Self {
            limits,
            began,
            received,
        }
    }

    /// Counts received bytes.
    pub(super) fn record(&mut self, count: usize) -> Result<(), AttemptFailure> {
        self.received += count as u64;
        if self.began.elapsed() < self.limits.stall {
            return Ok(());
        }
        if self.received < self.limits.stall_bytes {
            return Err(AttemptFailure::retry(format!(
                "only {} bytes received in {:.0?}",
                self.received, self.limits.stall
            )));
        }
        *self = Self::new(self.limits);
        Ok(())
    }
}
