//! What is told of each step.

use std::time::Instant;

use banger_api::{Error, Result};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Colour, Output, clean};

/// How a step came out that did not fail.
#[derive(Debug)]
pub(super) enum Verdict {
    /// All is well: what was seen.
    Good(String),
    /// There was nothing to try: why.
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

/// The steps so far, each told when it ends.
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
    /// None yet.
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            steps: Vec::new(),
        }
    }

    fn has_failed(&self) -> bool {
        self.steps.iter().any(|step| step.error.is_some())
    }

    /// Does one step, unless one before has failed.
    ///
    /// # Errors
    /// When standard output takes no more.
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

    /// Does one step whatever was before.
    ///
    /// # Errors
    /// When standard output takes no more.
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

    /// Tells how it went in all; whether it went well.
    ///
    /// # Errors
    /// When standard output takes no more.
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
