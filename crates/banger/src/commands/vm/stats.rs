//! `banger vm stats`.

use std::collections::VecDeque;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use banger_api::StatsView;
use clap::Args;
use serde::Serialize;

use super::VmArgument;
use crate::columns::columns;
use crate::failure::Outcome;
use crate::poll;
use crate::session::Session;

/// The time between two measurements.
const INTERVAL: Duration = Duration::from_secs(1);

/// The number of values that a sparkline shows.
const SPARKS: usize = 40;

/// Show what a running VM uses: CPU, memory, disks, network.
///
/// Rates are of one second. The host's memory is PSS, which counts shared pages in parts, where the daemon may see that, and RSS otherwise. With --json, each measurement is one object.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm stats calm-otter
  banger vm stats calm-otter --watch
  banger vm stats calm-otter --json")]
pub(crate) struct Stats {
    #[command(flatten)]
    one: VmArgument,

    /// Measure each second, until ^C or the VM stops.
    #[arg(long)]
    watch: bool,
}

/// Two measurements, and what changed between them for each second.
#[derive(Debug, Serialize)]
struct Sample<'a> {
    #[serde(flatten)]
    stats: &'a StatsView,
    rates: Rates,
}

/// What is used for each second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Rates {
    /// The guest's CPUs that work, such as 1.5.
    guest_cpus: Option<f64>,
    /// The host's CPUs that work for the VM.
    host_cpus: f64,
    /// Bytes.
    received_bytes: Option<f64>,
    /// Bytes.
    sent_bytes: Option<f64>,
}

impl Stats {
    /// Prints them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let daemon = session.daemon()?;
        let mut before = daemon.stats(&self.one.name)?;
        let mut history = VecDeque::new();
        loop {
            poll::pause(INTERVAL);
            let now = daemon.stats(&self.one.name)?;
            let rates = Rates::between(&before, &now);
            let sample = Sample { stats: &now, rates };
            history.push_back(rates);
            if history.len() > SPARKS {
                history.pop_front();
            }
            if self.watch && session.output.terminal && !session.output.json {
                // Clears the screen, and starts at its upper left corner.
                write!(std::io::stdout(), "\x1b[H\x1b[2J")?;
            }
            session.output.result(&sample, || {
                let mut text = table(&now, rates);
                if self.watch {
                    text += &sparklines(&history);
                }
                text
            })?;
            if !self.watch {
                return Ok(ExitCode::SUCCESS);
            }
            before = now;
        }
    }
}

impl Rates {
    fn between(before: &StatsView, now: &StatsView) -> Self {
        let seconds = now
            .time
            .duration_since(before.time)
            .as_secs_f64()
            .max(0.001);
        // A counter that has become smaller was reset.
        #[expect(
            clippy::cast_precision_loss,
            reason = "differences of a second are small"
        )]
        let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        let guests = before.guest.zip(now.guest);
        Self {
            guest_cpus: guests.map(|(a, b)| rate(a.cpu_millis, b.cpu_millis) / 1000.0),
            host_cpus: rate(before.host.cpu_millis, now.host.cpu_millis) / 1000.0,
            received_bytes: guests.map(|(a, b)| rate(a.received_bytes, b.received_bytes)),
            sent_bytes: guests.map(|(a, b)| rate(a.sent_bytes, b.sent_bytes)),
        }
    }
}

fn table(stats: &StatsView, rates: Rates) -> String {
    let unknown = || "unknown".to_owned();
    let cpus = |cpus: Option<f64>| cpus.map_or_else(unknown, |it| format!("{:.0} %", it * 100.0));
    let memory = stats.guest.map_or_else(unknown, |guest| {
        let used = guest.memory_bytes.saturating_sub(guest.available_bytes);
        format!("{} of {}", size(used), size(guest.memory_bytes))
    });
    let kind = if stats.host.shared_evenly {
        "PSS"
    } else {
        "RSS"
    };
    let rate = |bytes: Option<f64>| bytes.map_or_else(unknown, |it| format!("{}/s", of_rate(it)));
    let mut rows = vec![
        vec!["name".to_owned(), stats.name.to_string()],
        vec![
            "CPU".to_owned(),
            format!(
                "{} in the guest, {} on the host, of {} vCPUs",
                cpus(rates.guest_cpus),
                cpus(Some(rates.host_cpus)),
                stats.vcpu
            ),
        ],
        vec![
            "memory".to_owned(),
            format!(
                "{memory} in the guest, {} on the host ({kind})",
                size(stats.host.memory_bytes)
            ),
        ],
        vec![
            "network".to_owned(),
            format!(
                "{} received, {} sent",
                rate(rates.received_bytes),
                rate(rates.sent_bytes)
            ),
        ],
    ];
    for disk in &stats.disks {
        let shared = disk.shared_bytes.map_or_else(unknown, size);
        let text = format!(
            "{}, {} allocated, {shared} shared",
            size(disk.size_bytes),
            size(disk.allocated_bytes)
        );
        rows.push(vec![format!("{} disk", disk.name), text]);
    }
    if let Some(error) = &stats.guest_error {
        rows.push(vec!["guest".to_owned(), error.clone()]);
    }
    columns(&rows, |_, _, _| None)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is not negative, and its fraction does not matter"
)]
fn of_rate(bytes: f64) -> String {
    size(bytes as u64)
}

/// A size with about three digits.
#[expect(clippy::cast_precision_loss, reason = "it is rounded anyway")]
fn size(bytes: u64) -> String {
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

/// A sparkline for each rate, with the newest value on the right.
fn sparklines(history: &VecDeque<Rates>) -> String {
    let rows: [(&str, fn(&Rates) -> Option<f64>); 3] = [
        ("CPU", |rates| rates.guest_cpus.or(Some(rates.host_cpus))),
        ("received", |rates| rates.received_bytes),
        ("sent", |rates| rates.sent_bytes),
    ];
    let rows = rows.map(|(name, value)| {
        let values: Vec<f64> = history.iter().map(|it| value(it).unwrap_or(0.0)).collect();
        vec![name.to_owned(), sparkline(&values)]
    });
    format!("\n{}", columns(&rows, |_, _, _| None))
}

/// One character for each value, whose height is relative to the largest.
fn sparkline(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = values.iter().copied().fold(0.0, f64::max);
    let bar = |value: &f64| {
        let part = if most > 0.0 { value / most * 7.0 } else { 0.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 7"
        )]
        let at = part.round() as usize;
        BARS[at.min(7)]
    };
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_sparklines_are_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(300 << 20), "300 MiB");
        assert_eq!(sparkline(&[0.0, 1.0, 2.0]), "▁▅█");
        assert_eq!(sparkline(&[0.0, 0.0]), "▁▁");
    }
}
