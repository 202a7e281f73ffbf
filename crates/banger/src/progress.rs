//! The steps of a long request, with their durations, on standard error: live on a terminal, plain
//! lines elsewhere, nothing with `--quiet` or `--json`.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Read};
use std::time::Duration;

use banger_api::{ByteCount, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::age;
use crate::output::{Output, clean, say};

/// The shortest step that is printed, in seconds: a start has twenty shorter ones.
const WORTH_A_LINE: f64 = 0.010;

/// The same for steps of several VMs at once.
const WORTH_A_LINE_OF_MANY: f64 = 1.0;

/// A line without a number of bytes.
const SPINNER: &str = "  {spinner} {prefix}{msg} {elapsed}";

/// A line with a number of bytes, of a known total.
const BYTES: &str = "  {spinner} {prefix}{msg} {binary_bytes} of {binary_total_bytes} {elapsed}";

/// The interval of a spinner.
const TICK: Duration = Duration::from_millis(100);

/// Prints steps as they happen.
#[derive(Debug)]
pub(crate) struct Steps {
    mode: Mode,
    /// The steps that have begun and not ended.
    open: Vec<String>,
}

#[derive(Debug)]
enum Mode {
    Silent,
    Plain,
    Live(ProgressBar),
}

impl Steps {
    /// Shows steps in the form that the output options select.
    pub(crate) fn new(output: Output) -> Self {
        let mode = if output.quiet || output.json {
            Mode::Silent
        } else if io::stderr().is_terminal() {
            Mode::Live(spinner(""))
        } else {
            Mode::Plain
        };
        Self {
            mode,
            open: Vec::new(),
        }
    }

    /// A step began or ended.
    pub(crate) fn hear(&mut self, progress: &Progress) {
        let step = clean(&progress.step);
        if let Some(bytes) = progress.bytes {
            if let Mode::Live(bar) = &self.mode {
                set_bytes(bar, bytes);
            }
            return;
        }
        match progress.seconds {
            None => {
                if let Mode::Live(bar) = &self.mode {
                    bar.set_style(style(SPINNER));
                    bar.set_message(step.clone());
                    bar.reset_elapsed();
                    bar.enable_steady_tick(TICK);
                }
                self.open.push(step);
            }
            Some(seconds) => {
                self.open.retain(|open| *open != step);
                match &self.mode {
                    Mode::Silent => {}
                    _ if seconds < WORTH_A_LINE => {}
                    Mode::Plain => say(format_args!("  {step} … {}", age::took(seconds))),
                    Mode::Live(bar) => bar.println(format!("  ✓ {step} {}", age::took(seconds))),
                }
            }
        }
    }

    /// Ends the output: a step that has not ended by now has failed.
    pub(crate) fn end(self) {
        if let Mode::Live(bar) = &self.mode {
            bar.finish_and_clear();
        }
        for step in &self.open {
            match &self.mode {
                Mode::Silent => {}
                Mode::Plain => say(format_args!("  {step} … not done")),
                Mode::Live(_) => say(format_args!("  ✗ {step}")),
            }
        }
    }
}

fn spinner(prefix: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_prefix(prefix.to_owned());
    bar.set_style(style(SPINNER));
    bar
}

/// Shows how far a step is.
fn set_bytes(bar: &ProgressBar, bytes: ByteCount) {
    bar.set_style(style(BYTES));
    bar.set_length(bytes.whole);
    bar.set_position(bytes.done);
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// The steps of several VMs at once: a line on a terminal for each VM in progress.
#[derive(Debug)]
pub(crate) struct VmSteps {
    mode: ManyMode,
    /// The width of the longest name, in characters, to which the lines are aligned.
    width: usize,
}

#[derive(Debug)]
enum ManyMode {
    Silent,
    Plain,
    Live(MultiProgress, BTreeMap<String, ProgressBar>),
}

impl VmSteps {
    /// Shows the steps of the VMs with these names, in the form that the output options select.
    pub(crate) fn new<'n>(output: Output, names: impl Iterator<Item = &'n str>) -> Self {
        let mode = if output.quiet || output.json {
            ManyMode::Silent
        } else if io::stderr().is_terminal() {
            ManyMode::Live(MultiProgress::new(), BTreeMap::new())
        } else {
            ManyMode::Plain
        };
        let width = names.map(|name| name.chars().count()).max().unwrap_or(0);
        Self { mode, width }
    }

    /// Begins the line of a VM.
    pub(crate) fn begin(&mut self, name: &str) {
        if let ManyMode::Live(screen, lines) = &mut self.mode {
            let prefix = format!("{name:width$}  ", width = self.width);
            let line = screen.add(spinner(&clean(&prefix)));
            line.enable_steady_tick(TICK);
            lines.insert(name.to_owned(), line);
        }
    }

    /// A step of a VM began or ended.
    pub(crate) fn hear(&self, name: &str, progress: &Progress) {
        let step = clean(&progress.step);
        match (&self.mode, progress.seconds) {
            (ManyMode::Live(_, lines), None) => {
                if let Some(line) = lines.get(name) {
                    match progress.bytes {
                        Some(bytes) => set_bytes(line, bytes),
                        None => line.set_style(style(SPINNER)),
                    }
                    line.set_message(step);
                }
            }
            (ManyMode::Plain, Some(seconds)) if seconds >= WORTH_A_LINE_OF_MANY => {
                say(format_args!("  {name}: {step} … {}", age::took(seconds)));
            }
            _ => {}
        }
    }

    /// Ends the line of a VM.
    pub(crate) fn end(&mut self, name: &str) {
        if let ManyMode::Live(screen, lines) = &mut self.mode
            && let Some(line) = lines.remove(name)
        {
            line.finish_and_clear();
            screen.remove(&line);
        }
    }

    /// Prints something while lines are shown.
    pub(crate) fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.mode {
            ManyMode::Live(screen, _) => screen.suspend(print),
            ManyMode::Silent | ManyMode::Plain => print(),
        }
    }
}

/// A spinner for a wait that is usually short, and that leaves nothing behind.
pub(crate) struct Wait(Option<ProgressBar>);

impl Wait {
    /// Begins the wait.
    pub(crate) fn new(output: Output, for_what: &'static str) -> Self {
        let live = !output.quiet && !output.json && io::stderr().is_terminal();
        let bar = live.then(|| spinner("").with_message(for_what));
        if let Some(bar) = &bar {
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }

    /// Waits for something else.
    pub(crate) fn turn_to(&self, for_what: &'static str) {
        if let Some(bar) = &self.0 {
            bar.set_style(style(SPINNER));
            bar.set_message(for_what);
        }
    }

    /// Shows the bytes that are read from now on, of the total if it is known.
    pub(crate) fn count<'r>(
        &self,
        reader: impl Read + 'r,
        doing: &'static str,
        total: Option<u64>,
    ) -> Box<dyn Read + 'r> {
        let Some(bar) = &self.0 else {
            return Box::new(reader);
        };
        bar.set_style(style(match total {
            Some(_) => BYTES,
            None => "  {spinner} {msg} {binary_bytes} {elapsed}",
        }));
        bar.set_message(doing);
        bar.set_position(0);
        if let Some(total) = total {
            bar.set_length(total);
        }
        Box::new(bar.wrap_read(reader))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_step_counts_the_bytes_that_it_copies() {
        let bar = ProgressBar::hidden();
        let mut steps = Steps {
            mode: Mode::Live(bar.clone()),
            open: Vec::new(),
        };
        let step = |seconds, bytes| Progress {
            step: "copy".to_owned(),
            seconds,
            bytes,
        };
        steps.hear(&step(None, None));
        for done in [10, 20] {
            steps.hear(&step(None, Some(ByteCount { done, whole: 20 })));
        }
        assert_eq!((bar.position(), bar.length()), (20, Some(20)));
        assert_eq!(steps.open, ["copy"], "it has begun once");
        steps.hear(&step(Some(1.0), None));
        assert_eq!(steps.open, [] as [&str; 0]);
        steps.end();
    }

    #[test]
    fn the_bytes_that_pass_are_counted_and_stay_the_same() {
        let bar = ProgressBar::hidden();
        let mut passed = Vec::new();
        for wait in [Wait(None), Wait(Some(bar.clone()))] {
            passed.clear();
            let mut reader = wait.count(&b"0123456789"[..], "send", Some(10));
            reader.read_to_end(&mut passed).unwrap();
            assert_eq!(passed, b"0123456789");
        }
        assert_eq!((bar.position(), bar.length()), (10, Some(10)));
        assert_eq!(bar.message(), "send");
    }
}
