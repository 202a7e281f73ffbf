//! Measures banger in one run, and prints the table of `docs/performance.md`.
//!
//! `make bench` runs it with a bundle and, as root where QEMU is installed, with real guests.

#![expect(clippy::print_stdout, reason = "the table is its output")]
#![expect(clippy::print_stderr, reason = "so is what it is at")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench starts programs and reads its settings"
)]
#![expect(clippy::unwrap_used, reason = "a bench that cannot measure ends")]

mod baseline;
mod daemon;
mod dns;
mod guest;
#[path = "../../tests/pty/mod.rs"]
mod pty;
mod screen;
mod simulated;
mod streams;

/// One row of the table.
struct Row {
    what: &'static str,
    aim: String,
    found: String,
}

fn main() {
    // `cargo test --benches` passes no `--bench`; nothing is measured then.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut rows = simulated::measure();
    rows.extend(screen::measure());
    rows.extend(dns::measure());
    match guest::lacking() {
        None => rows.extend(guest::measure()),
        Some(reason) => eprintln!("real guests are not measured: {reason}"),
    }
    println!("| what | aim | measured |");
    println!("|---|---|---|");
    for Row { what, aim, found } in rows {
        println!("| {what} | {aim} | {found} |");
    }
}

/// The median of several measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The minimum, the median and the maximum, in milliseconds.
fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!(
        "{:.1} ms ({least:.1} to {most:.1}, n = {})",
        median(values.to_vec()),
        values.len()
    )
}
