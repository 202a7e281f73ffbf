//! Requirements of the host: `doctor` checks all of them, a start those it needs.

use std::fmt;

use banger_api::{CheckReport, Code, Error, Fix, Report, Verdict};
use banger_host::{Finding, Host, Probe};

use crate::error::Result;

/// A requirement of the host.
pub struct Check {
    name: String,
    noted: bool,
    lasting: bool,
    section: Option<&'static str>,
    fix: Option<Box<dyn Fn(&dyn Host) -> Option<Fix> + Send + Sync>>,
    run: Box<dyn Fn(&dyn Host) -> Finding + Send + Sync>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

impl Check {
    /// A requirement that `run` checks. It never changes the host.
    pub fn new(
        name: impl Into<String>,
        run: impl Fn(&dyn Host) -> Finding + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            noted: false,
            lasting: false,
            section: None,
            fix: None,
            run: Box::new(run),
        }
    }

    /// A requirement that the host itself can probe.
    pub fn probe(name: impl Into<String>, probe: Probe) -> Self {
        Self::new(name, move |host| host.probe(&probe))
    }

    /// The same requirement, whose failure is a warning.
    #[must_use]
    pub fn only_warns(self) -> Self {
        let run = self.run;
        let warns = Self::new(self.name, move |host| match run(host) {
            Finding::Bad { found, hint } => Finding::Doubtful { found, hint },
            other @ (Finding::Good(_) | Finding::Doubtful { .. }) => other,
        });
        Self {
            noted: self.noted,
            lasting: self.lasting,
            section: self.section,
            fix: self.fix,
            ..warns
        }
    }

    /// The same requirement, whose findings become notes of the running VMs that have it. It is
    /// checked repeatedly, so it must take only a few milliseconds.
    #[must_use]
    pub fn noted(self) -> Self {
        Self {
            noted: true,
            ..self
        }
    }

    /// The same requirement, remembered: after a start has passed it, later starts skip it until
    /// one fails.
    #[must_use]
    pub fn lasting(self) -> Self {
        Self {
            lasting: true,
            ..self
        }
    }

    /// The same requirement, with the command that fixes it. `fix` is called unless the check
    /// passes, and returns `None` if no command helps.
    #[must_use]
    pub fn fixed_by(self, fix: impl Fn(&dyn Host) -> Option<Fix> + Send + Sync + 'static) -> Self {
        Self {
            fix: Some(Box::new(fix)),
            ..self
        }
    }

    /// The same requirement, as part of a section of the report.
    #[must_use]
    pub fn of_section(self, section: &'static str) -> Self {
        Self {
            section: Some(section),
            ..self
        }
    }

    /// Whether later starts skip it after one has passed it.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        self.lasting
    }

    /// Whether its findings become notes of VMs.
    #[must_use]
    pub fn is_noted(&self) -> bool {
        self.noted
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs the check.
    #[must_use]
    pub fn run(&self, host: &dyn Host) -> CheckReport {
        let (verdict, found, hints) = match (self.run)(host) {
            Finding::Good(found) => (Verdict::Pass, found, Vec::new()),
            Finding::Doubtful { found, hint } => (Verdict::Warn, found, vec![hint]),
            Finding::Bad { found, hint } => (Verdict::Fail, found, vec![hint]),
        };
        let fix = self.fix.as_ref().filter(|_| verdict != Verdict::Pass);
        CheckReport {
            name: self.name.clone(),
            verdict,
            found,
            hints,
            fix: fix.and_then(|fix| fix(host)),
            section: self.section.map(str::to_owned),
        }
    }
}

/// Runs these checks, in order; duplicates run once.
#[must_use]
pub(crate) fn report(host: &dyn Host, checks: &[Check]) -> Report {
    let mut report = Report::default();
    for check in checks {
        if report
            .checks
            .iter()
            .all(|seen: &CheckReport| seen.name != check.name)
        {
            report.checks.push(check.run(host));
        }
    }
    report
}

/// Runs these checks, and returns the report if none fails.
///
/// # Errors
/// `not-ready`, with every failed check and its hint.
pub(crate) fn require(host: &dyn Host, checks: &[Check]) -> Result<Report> {
    let report = report(host, checks);
    let failed: Vec<&CheckReport> = report
        .checks
        .iter()
        .filter(|it| it.verdict == Verdict::Fail)
        .collect();
    let Some((first, others)) = failed.split_first() else {
        return Ok(report);
    };
    let mut error = Error::new(Code::NotReady, format!("{}: {}", first.name, first.found));
    for other in others {
        error.also.push(format!("{}: {}", other.name, other.found));
    }
    let hints = failed.iter().flat_map(|check| &check.hints);
    Err(hints.fold(error, |error, hint| error.hint(hint)))
}
