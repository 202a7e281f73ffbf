//! The guest's clocks.

use rustix::io;
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

const NANOS: u64 = 1_000_000_000;

/// Nanoseconds since 1970.
pub(crate) fn unix_nanos() -> u64 {
    nanos(clock_gettime(ClockId::Realtime))
}

/// The time since the kernel started, in milliseconds, including suspend.
pub(crate) fn uptime_millis() -> u64 {
    nanos(clock_gettime(ClockId::Boottime)) / 1_000_000
}

/// Sets the clock, in nanoseconds since 1970.
pub(crate) fn set(unix_nanos: u64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: i64::try_from(unix_nanos / NANOS).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(unix_nanos % NANOS).unwrap_or(0),
    };
    clock_settime(ClockId::Realtime, time)
}

/// The deviation of a clock that shows `ours`, in milliseconds, at the time `given`.
pub(crate) fn off_by_millis(ours: u64, given: u64) -> i64 {
    let millis = i64::try_from(ours.abs_diff(given) / 1_000_000).unwrap_or(i64::MAX);
    if ours >= given { millis } else { -millis }
}

fn nanos(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds
        .saturating_mul(NANOS)
        .saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_behind_is_off_by_less_than_nothing() {
        assert_eq!(off_by_millis(5_000_000, 7_000_000), -2);
        assert_eq!(off_by_millis(7_000_000, 5_000_000), 2);
        assert_eq!(
            off_by_millis(0, u64::MAX),
            -i64::try_from(u64::MAX / 1_000_000).unwrap()
        );
    }
}
