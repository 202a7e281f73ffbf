//! Meters, sparklines and graphs in text, with the blocks of Unicode or with ASCII.

use std::time::Duration;

use super::sampler::SLOW;
use super::{History, Moment};

/// An eighth of a line's height, two, and so on.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The same for terminals without Unicode.
const ASCII: [char; 9] = [' ', '.', '.', ':', '-', '=', '+', '*', '#'];

/// What is drawn of a VM: the title, and the value of a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Curve {
    /// Its title.
    pub(crate) title: &'static str,
    /// The value of a moment.
    pub(crate) value: fn(&Moment) -> Option<f64>,
    /// What the values are.
    pub(crate) unit: Unit,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A part of a whole.
    Part,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
}

impl Unit {
    /// A value in words.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a value is not negative, and its fraction does not matter"
    )]
    pub(crate) fn words(self, value: f64) -> String {
        match self {
            Self::Part => percent(value),
            Self::Bytes => bytes(value as u64),
            Self::BytesPerSecond => format!("{}/s", bytes(value as u64)),
        }
    }

    /// The value that is drawn as high as there is room: the whole, or the largest one.
    pub(crate) fn most(self, values: &[Option<f64>]) -> f64 {
        match self {
            Self::Part => 1.0,
            Self::Bytes | Self::BytesPerSecond => {
                values.iter().flatten().copied().fold(0.0, f64::max)
            }
        }
    }
}

/// Every curve, in order.
pub(crate) const CURVES: [Curve; 7] = [
    Curve {
        title: "CPU",
        value: |it| it.cpu,
        unit: Unit::Part,
    },
    Curve {
        title: "memory",
        value: |it| it.memory,
        unit: Unit::Part,
    },
    Curve {
        title: "disk",
        #[expect(clippy::cast_precision_loss, reason = "it is drawn")]
        value: |it| Some(it.disk_bytes as f64),
        unit: Unit::Bytes,
    },
    Curve {
        title: "read",
        value: |it| it.read,
        unit: Unit::BytesPerSecond,
    },
    Curve {
        title: "written",
        value: |it| it.written,
        unit: Unit::BytesPerSecond,
    },
    Curve {
        title: "received",
        value: |it| it.received,
        unit: Unit::BytesPerSecond,
    },
    Curve {
        title: "sent",
        value: |it| it.sent,
        unit: Unit::BytesPerSecond,
    },
];

/// A part of a whole, in percent.
pub(crate) fn percent(part: f64) -> String {
    format!("{:.0}%", part * 100.0)
}

/// A curve of parts in a cell of a table, ten characters: how it has been, and how it is. Empty where
/// nothing was measured.
pub(crate) fn part(history: Option<&History>, curve: &Curve, unicode: bool) -> String {
    let Some(history) = history else {
        return String::new();
    };
    let values = history.series(5, stretch(SLOW), curve.value);
    let newest = history.newest().and_then(curve.value);
    let newest = newest.map(percent).unwrap_or_default();
    format!("{} {newest:>4}", sparkline(&values, 1.0, unicode))
}

/// A pace as a stretch of a series, in seconds.
pub(crate) fn stretch(pace: Duration) -> i64 {
    i64::try_from(pace.as_secs()).unwrap_or(1)
}

/// One character for each value, as high as its part of `most`; a value that is known is never blank.
pub(crate) fn sparkline(values: &[Option<f64>], most: f64, unicode: bool) -> String {
    let rows = graph(values, most, 1, unicode);
    let low = if unicode { BLOCKS[1] } else { ASCII[1] };
    let line = rows.into_iter().next().unwrap_or_default();
    let cells = line.chars().zip(values);
    cells
        .map(|(cell, value)| {
            if cell == ' ' && value.is_some() {
                low
            } else {
                cell
            }
        })
        .collect()
}

/// Lines of blocks, the highest first: a column for each value.
pub(crate) fn graph(values: &[Option<f64>], most: f64, rows: usize, unicode: bool) -> Vec<String> {
    let cells = if unicode { BLOCKS } else { ASCII };
    let eighths: Vec<usize> = values.iter().map(|it| height(*it, most, rows)).collect();
    let line = |below: usize| {
        let cell = |eighths: &usize| cells[eighths.saturating_sub(below * 8).min(8)];
        eighths.iter().map(cell).collect()
    };
    (0..rows).rev().map(line).collect()
}

/// The height of a value, in eighths of a line.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a few lines"
)]
fn height(value: Option<f64>, most: f64, rows: usize) -> usize {
    let part = match value {
        Some(value) if most > 0.0 => (value / most).clamp(0.0, 1.0),
        _ => 0.0,
    };
    (part * (rows * 8) as f64).round() as usize
}

/// A meter of ten characters.
pub(crate) fn meter(part: u64, whole: u64) -> String {
    let whole = whole.max(1);
    let tenths = (part.saturating_mul(10) + whole / 2) / whole;
    let full = usize::try_from(tenths.min(10)).unwrap_or(10);
    format!("[{}{}]", "|".repeat(full), " ".repeat(10 - full))
}

/// Bytes in the largest unit that fits, in at most four characters or so: `16G`, `1.5M`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("T", 1 << 40),
        ("G", 1 << 30),
        ("M", 1 << 20),
        ("K", 1 << 10),
    ];
    let unit = UNITS.iter().find(|it| bytes >= it.1);
    let Some((unit, size)) = unit else {
        return format!("{bytes}B");
    };
    let tenths = bytes.saturating_mul(10) / size;
    if tenths < 100 && !tenths.is_multiple_of(10) {
        format!("{}.{}{unit}", tenths / 10, tenths % 10)
    } else {
        format!("{}{unit}", tenths / 10)
    }
}

/// A size with three digits or so, and its unit in full: `512 MiB`.
#[expect(clippy::cast_precision_loss, reason = "it is rounded anyway")]
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            let digits = usize::from(unit != "B" && value < 10.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(300 << 20), "300 MiB");
        assert_eq!(bytes(16 << 30), "16G");
        assert_eq!(bytes(1536), "1.5K");
        assert_eq!(percent(0.125), "12%");
        assert_eq!(Unit::BytesPerSecond.words(2048.7), "2K/s");
    }

    #[test]
    fn a_sparkline_has_a_character_for_each_value_and_a_blank_for_none() {
        let values = [None, Some(0.0), Some(1.0), Some(2.0)];
        assert_eq!(sparkline(&values, 2.0, true), " ▁▄█");
        assert_eq!(sparkline(&values, 2.0, false), " .-#");
        assert_eq!(sparkline(&[Some(0.0), Some(0.0)], 0.0, true), "▁▁");
        assert_eq!(sparkline(&[Some(9.0)], 1.0, true), "█", "no more than full");
    }

    #[test]
    fn a_graph_fills_its_lines_from_below() {
        let values = [Some(0.25), Some(0.5), Some(0.75), None, Some(1.0)];
        assert_eq!(graph(&values, 1.0, 2, true), ["  ▄ █", "▄██ █"]);
        assert_eq!(graph(&values, 1.0, 0, true), Vec::<String>::new());
        assert_eq!(graph(&[], 1.0, 1, true), [""]);
    }

    #[test]
    fn a_meter_is_as_full_as_its_part() {
        assert_eq!(meter(5, 16), "[|||       ]");
        assert_eq!(meter(0, 0), "[          ]");
        assert_eq!(meter(9, 3), "[||||||||||]");
    }
}
