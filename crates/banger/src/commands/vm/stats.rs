//! `banger vm stats`.

use std::process::ExitCode;
use std::time::Duration;

use banger_api::StatsView;
use clap::Args;
use serde::Serialize;

use super::{VmArgument, out_of_memory};
use crate::columns::columns;
use crate::failure::Outcome;
use crate::poll;
use crate::session::{Session, is_broken};
use crate::usage::draw::{CURVES, size, sparkline};
use crate::usage::screen::draw;
use crate::usage::{History, Rates};

/// The time between two measurements.
const INTERVAL: Duration = Duration::from_secs(1);

/// The number of values that a sparkline shows.
const SPARKS: usize = 40;

/// The stretch of time of each of them, in seconds.
const SECONDS: i64 = 1;

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

impl Stats {
    /// Prints them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let daemon = session.daemon()?;
        let mut before = daemon.stats(&self.one.name)?;
        let mut history = History::default();
        history.take(before.clone());
        loop {
            poll::pause(INTERVAL);
            let now = match daemon.stats(&self.one.name) {
                Err(error) if self.watch && is_broken(&error) => {
                    let Some(remote) = &session.places.remote else {
                        return Err(error.into());
                    };
                    remote.return_to(session.output);
                    continue;
                }
                answer => answer?,
            };
            let rates = Rates::between(&before, &now);
            let sample = Sample { stats: &now, rates };
            history.take(now.clone());
            let text = || {
                let mut text = table(&now, rates);
                if self.watch {
                    text += &sparklines(&history, session.output.unicode);
                }
                text
            };
            if self.watch && session.output.terminal && !session.output.json {
                draw(&text())?;
            } else {
                session.output.result(&sample, text)?;
            }
            if !self.watch {
                return Ok(ExitCode::SUCCESS);
            }
            before = now;
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
    let (guest, host) = (cpus(rates.guest_cpus), cpus(Some(rates.host_cpus)));
    let host_memory = size(stats.host.memory_bytes);
    let (read, written) = (rate(rates.read_bytes), rate(rates.written_bytes));
    let (received, sent) = (rate(rates.received_bytes), rate(rates.sent_bytes));
    let mut rows = Vec::new();
    let mut row = |name: &str, text: String| rows.push(vec![name.to_owned(), text]);
    row("name", stats.name.to_string());
    row(
        "CPU",
        format!(
            "{guest} in the guest, {host} on the host, of {} vCPUs",
            stats.vcpu
        ),
    );
    row(
        "memory",
        format!("{memory} in the guest, {host_memory} on the host ({kind})"),
    );
    row("disks", format!("{read} read, {written} written"));
    row("network", format!("{received} received, {sent} sent"));
    if let Some(killed) = out_of_memory::killed(stats) {
        row("out of memory", format!("{killed} killed since boot"));
    }
    for disk in &stats.disks {
        let shared = disk.shared_bytes.map_or_else(unknown, size);
        let text = format!(
            "{}, {} allocated, {shared} shared",
            size(disk.size_bytes),
            size(disk.allocated_bytes)
        );
        row(&format!("{} disk", disk.name), text);
    }
    if let Some(error) = &stats.guest_error {
        row("guest", error.clone());
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

/// The last values of each curve, the newest on the right.
fn sparklines(history: &History, unicode: bool) -> String {
    let rows = CURVES.map(|curve| {
        let values = history.series(SPARKS, SECONDS, curve.value);
        let most = curve.unit.most(&values);
        let newest = values.last().copied().flatten();
        let words = newest.map(|it| curve.unit.words(it)).unwrap_or_default();
        vec![
            curve.title.to_owned(),
            sparkline(&values, most, unicode),
            words,
        ]
    });
    format!("\n{}", columns(&rows, |_, _, _| None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_curve_has_its_line_with_the_newest_value() {
        let mut history = History::default();
        for (second, millis) in [(0, 0), (1, 1000), (2, 3000)] {
            history.take(crate::usage::stats_at(second, millis));
        }
        assert!(sparklines(&history, false).is_ascii());
        let text = sparklines(&history, true);
        let lines: Vec<_> = text.lines().skip(1).map(str::trim_end).collect();
        assert_eq!(lines.len(), CURVES.len());
        assert!(lines[0].starts_with("CPU ") && lines[0].ends_with("▄█  100%"));
        assert!(lines[1].starts_with("memory ") && lines[1].ends_with("▂▂▂  25%"));
        assert!(lines[5].ends_with("▄█  1.9M/s"), "{text}");
    }
}
