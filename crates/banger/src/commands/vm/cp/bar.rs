//! The progress of a copy: one line on a terminal, nothing elsewhere.

use std::io::{self, IsTerminal as _};

use banger_copy::{RelativePath, Watch};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{Output, clean};

const COUNTED: &str =
    "  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {wide_msg}";
const UNCOUNTED: &str = "  {binary_bytes}  {binary_bytes_per_sec}  {wide_msg}";

/// The progress line.
pub(in crate::commands::vm) struct Bar(Option<ProgressBar>);

impl Bar {
    /// A line on a terminal, unless the output options forbid it.
    pub(in crate::commands::vm) fn new(output: Output) -> Self {
        let live = !output.quiet && !output.json && io::stderr().is_terminal();
        let bar = live.then(ProgressBar::no_length);
        let bar = Self(bar);
        bar.set_style(UNCOUNTED);
        bar
    }

    /// Whether it is visible.
    pub(in crate::commands::vm) fn is_shown(&self) -> bool {
        self.0.is_some()
    }

    fn set_style(&self, template: &str) {
        if let (Some(bar), Ok(style)) = (&self.0, ProgressStyle::with_template(template)) {
            bar.set_style(style);
        }
    }
}

impl Watch for Bar {
    fn total(&mut self, _files: u64, bytes: u64) {
        self.set_style(COUNTED);
        if let Some(bar) = &self.0 {
            bar.set_length(bytes);
        }
    }

    fn begin(&mut self, path: &RelativePath, _size: u64) {
        if let Some(bar) = &self.0 {
            bar.set_message(clean(&path.to_string()));
        }
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
