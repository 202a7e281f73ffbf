//! Requirements, each written once: `doctor` prints them all, a start asks for its own.

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
    /// A requirement that `run` looks into. It never changes the host.
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

    /// The same requirement where a failure only warns.
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

    /// The same requirement, whose findings are notes of every running VM that has it. It is
    /// looked at again and again, so it costs no more than a few milliseconds.
    #[must_use]
    pub fn noted(self) -> Self {
        Self {
            noted: true,
            ..self
        }
    }

    /// The same requirement, of which a start that passed it shows that later ones do, too. They skip
    /// it until one fails.
    #[must_use]
    pub fn lasting(self) -> Self {
        Self {
            lasting: true,
            ..self
        }
    }

    /// The same requirement, with the command that puts it right. `fix` is asked where not all is
    /// well, and answers none where no command helps.
    #[must_use]
    pub fn fixed_by(self, fix: impl Fn(&dyn Host) -> Option<Fix> + Send + Sync + 'static) -> Self {
        Self {
            fix: Some(Box::new(fix)),
            ..self
        }
    }

    /// The same requirement, which only this needs.
    #[must_use]
    pub fn of_section(self, section: &'static str) -> Self {
        Self {
            section: Some(section),
            ..self
        }
    }

    /// Whether a start that passed it shows that later ones do, too.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        self.lasting
    }

    /// Whether what it finds is a note of a VM.
    #[must_use]
    pub fn is_noted(&self) -> bool {
        self.noted
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it finds now.
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

/// What all these checks find now, in their order; one that stands twice is asked once.
#[must_use]
pub fn report(host: &dyn Host, checks: &[Check]) -> Report {
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

/// Goes on only where no check fails, with what all of them found.
///
/// # Errors
/// `not-ready`, with every failed check and its hint.
pub fn require(host: &dyn Host, checks: &[Check]) -> Result<Report> {
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
