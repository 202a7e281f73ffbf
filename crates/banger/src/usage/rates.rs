//! What a VM uses for each second, from two measurements.

use banger_api::StatsView;
use serde::Serialize;

/// What is used for each second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Rates {
    /// The guest's CPUs that work, such as 1.5.
    pub(crate) guest_cpus: Option<f64>,
    /// The host's CPUs that work for the VM.
    pub(crate) host_cpus: f64,
    /// Bytes.
    pub(crate) received_bytes: Option<f64>,
    /// Bytes.
    pub(crate) sent_bytes: Option<f64>,
    /// Bytes, from its disks.
    pub(crate) read_bytes: Option<f64>,
    /// Bytes, to its disks.
    pub(crate) written_bytes: Option<f64>,
}

impl Rates {
    /// The rates between two measurements. A counter that shrinks has begun anew.
    pub(crate) fn between(before: &StatsView, now: &StatsView) -> Self {
        let seconds = now
            .time
            .duration_since(before.time)
            .as_secs_f64()
            .max(0.001);
        #[expect(
            clippy::cast_precision_loss,
            reason = "differences of seconds are small"
        )]
        let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        let guests = before.guest.zip(now.guest);
        Self {
            guest_cpus: guests.map(|(a, b)| rate(a.cpu_millis, b.cpu_millis) / 1000.0),
            host_cpus: rate(before.host.cpu_millis, now.host.cpu_millis) / 1000.0,
            received_bytes: guests.map(|(a, b)| rate(a.received_bytes, b.received_bytes)),
            sent_bytes: guests.map(|(a, b)| rate(a.sent_bytes, b.sent_bytes)),
            read_bytes: guests.and_then(|(a, b)| Some(rate(a.read_bytes?, b.read_bytes?))),
            written_bytes: guests.and_then(|(a, b)| Some(rate(a.written_bytes?, b.written_bytes?))),
        }
    }

    /// The CPUs that work: as the guest tells, or else the host.
    pub(crate) fn cpus(&self) -> f64 {
        self.guest_cpus.unwrap_or(self.host_cpus)
    }
}
