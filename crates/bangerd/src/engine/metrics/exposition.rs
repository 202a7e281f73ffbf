//! Prometheus' text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! The crates for it write OpenMetrics, which node_exporter's textfile collector does not read.

use std::fmt::Write as _;

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A gauge, which goes up and down.
    Gauge,
    /// A counter, which only grows while a daemon runs.
    Counter,
    /// A histogram, which counts observations by size.
    Histogram,
}

/// A text of metrics.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// Begins a metric.
    pub(super) fn metric(&mut self, name: &str, kind: Kind, help: &str) -> Samples<'_> {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Samples {
            text: &mut self.0,
            name: name.to_owned(),
        }
    }

    /// The complete text.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// The samples of one metric.
#[derive(Debug)]
pub(super) struct Samples<'t> {
    text: &'t mut String,
    name: String,
}

impl Samples<'_> {
    /// Adds a sample with these labels.
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.add_to("", labels, value)
    }

    /// Adds a sample with a suffix of the metric's name, such as `_sum`.
    pub(super) fn add_to(&mut self, part: &str, labels: &[(&str, &str)], value: f64) -> &mut Self {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let name = &self.name;
        let _ = match labels.is_empty() {
            true => writeln!(self.text, "{name}{part} {value}"),
            false => writeln!(self.text, "{name}{part}{{{}}} {value}", labels.join(",")),
        };
        self
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_written_as_the_format_has_it() {
        let mut exposition = Exposition::default();
        exposition
            .metric("x_bytes", Kind::Gauge, "A size.")
            .add(&[("vm", "a\"b\\c\nd")], 1.5)
            .add(&[], 2e9);
        assert_eq!(
            exposition.finish(),
            "# HELP x_bytes A size.\n# TYPE x_bytes gauge\n\
             x_bytes{vm=\"a\\\"b\\\\c\\nd\"} 1.5\nx_bytes 2000000000\n"
        );
    }
}
