//! The report: one line per step.

use std::time::Instant;

use banger_api::{Error, Result};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Colour, Output, clean};

/// The outcome of a step that did not fail.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Passed; what was observed.
    Good(String),
    /// Skipped; the reason.
    Skipped(String),
}

impl Verdict {
    /// There is no guest.
    pub(super) fn simulated() -> Self {
        Self::Skipped("this host is simulated".to_owned())
    }
}

#[derive(Debug, Serialize)]
struct Step {
    step: &'static str,
    outcome: &'static str,
    seconds: f64,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error>,
}

/// The steps so far; each is printed when it ends.
#[derive(Debug)]
pub(super) struct Report {
    output: Output,
    steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
struct Whole<'a> {
    passed: bool,
    steps: &'a [Step],
}

impl Report {
    /// No steps yet.
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            steps: Vec::new(),
        }
    }

    fn has_failed(&self) -> bool {
        self.steps.iter().any(|step| step.error.is_some())
    }

    /// Runs a step, unless an earlier one has failed.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub(super) fn step(
        &mut self,
        step: &'static str,
        work: impl FnOnce() -> Result<Verdict>,
    ) -> std::result::Result<(), Failure> {
        if self.has_failed() {
            return Ok(());
        }
        self.last_step(step, work)
    }

    /// Runs a step in any case.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub(super) fn last_step(
        &mut self,
        step: &'static str,
        work: impl FnOnce() -> Result<Verdict>,
    ) -> std::result::Result<(), Failure> {
        let began = Instant::now();
        let (outcome, detail, error) = match work() {
            Ok(Verdict::Good(detail)) => ("ok", detail, None),
            Ok(Verdict::Skipped(why)) => ("skipped", why, None),
            Err(error) => ("failed", error.message.clone(), Some(error)),
        };
        let step = Step {
            step,
            outcome,
            seconds: (began.elapsed().as_secs_f64() * 10.0).round() / 10.0,
            detail,
            error,
        };
        if !self.output.json {
            self.output.text(&line(&step, self.output))?;
            if let Some(error) = &step.error {
                self.output.error(error);
            }
        }
        self.steps.push(step);
        Ok(())
    }

    /// Prints the summary, and returns whether no step failed.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub(super) fn end(self) -> std::result::Result<bool, Failure> {
        let passed = !self.has_failed();
        let whole = Whole {
            passed,
            steps: &self.steps,
        };
        self.output.result(&whole, || {
            let text = if passed {
                "banger works on this host"
            } else {
                "banger does not work on this host; see: banger doctor"
            };
            format!("\n{text}")
        })?;
        Ok(passed)
    }
}

fn line(step: &Step, output: Output) -> String {
    let colour = match step.outcome {
        "ok" => Colour::Green,
        "skipped" => Colour::Grey,
        _ => Colour::Red,
    };
    let outcome = output.paint(colour, &format!("{:<7}", step.outcome));
    format!(
        "{outcome}  {:<6}  {:>6.1} s  {}",
        step.step,
        step.seconds,
        clean(&step.detail)
    )
}
