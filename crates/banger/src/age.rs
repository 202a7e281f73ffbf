//! Formats times and durations for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A duration: `85 ms`, `1.2 s`, `2 m 05 s`.
pub(crate) fn took(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 0.9995 {
        format!("{:.0} ms", seconds * 1000.0)
    } else if seconds < 99.95 {
        format!("{seconds:.1} s")
    } else {
        format!(
            "{:.0} m {:02.0} s",
            (seconds / 60.0).floor(),
            (seconds % 60.0).floor()
        )
    }
}

/// The age of a moment, in the largest unit that fits: `45s`, `12m`, `3h`, `9d`.
pub(crate) fn since(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A moment on the user's clock, with its age.
pub(crate) fn moment(then: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let local = then.to_zoned(zone.clone());
    format!(
        "{} ({} ago)",
        local.strftime("%Y-%m-%d %H:%M:%S %:z"),
        since(then, now)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_printed_in_a_suitable_unit() {
        for (seconds, words) in [
            (0.0, "0 ms"),
            (0.0849, "85 ms"),
            (0.9996, "1.0 s"),
            (1.24, "1.2 s"),
            (59.96, "60.0 s"),
            (125.0, "2 m 05 s"),
        ] {
            assert_eq!(took(seconds), words);
        }
    }

    #[test]
    fn an_age_grows_from_seconds_to_days_and_is_never_negative() {
        let then = Timestamp::from_second(1_000_000).unwrap();
        for (later, words) in [
            (-5, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_599, "59m"),
            (7_200, "2h"),
            (200_000, "2d"),
        ] {
            assert_eq!(
                since(then, Timestamp::from_second(1_000_000 + later).unwrap()),
                words
            );
        }
    }
}
