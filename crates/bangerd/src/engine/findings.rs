//! Findings of checks that do not prevent a start. They are notes of running VMs, and follow the
//! state of the host.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use banger_api::{CheckReport, Phase, Report, Verdict};

use super::hold::Slot;
use super::{Engine, lock};
use crate::readiness::{self, Check};
use crate::vm::Vm;

/// The interval at which the checks of running VMs are repeated.
pub(super) const AGAIN: Duration = Duration::from_secs(10);

/// The last finding of each check, by name; none if it passed.
pub(super) type Findings = BTreeMap<String, Option<String>>;

/// A finding as a note.
fn words(check: &CheckReport) -> Option<String> {
    if check.verdict == Verdict::Pass {
        return None;
    }
    let words = [&check.found].into_iter().chain(&check.hints);
    Some(words.cloned().collect::<Vec<_>>().join(": "))
}

impl Engine {
    /// The checks of a VM whose findings are notes.
    fn noted(&self, vm: &Vm) -> Vec<Check> {
        let all = self.parts.capabilities.iter();
        all.flat_map(|it| it.checks(Some(vm)))
            .filter(Check::is_noted)
            .collect()
    }

    /// Stores the findings of the checks whose findings are notes.
    pub(super) fn remember_findings(&self, checks: &[Check], report: &Report) {
        let is_noted = |name: &str| checks.iter().any(|it| it.is_noted() && it.name() == name);
        let mut findings = lock(&self.findings);
        for check in report.checks.iter().filter(|it| is_noted(&it.name)) {
            findings.insert(check.name.clone(), words(check));
        }
    }

    /// The current notes of a VM about its host.
    pub(super) fn findings(&self, vm: &Vm) -> Vec<String> {
        if !matches!(vm.phase, Phase::Starting | Phase::Running) {
            return Vec::new();
        }
        let findings = lock(&self.findings);
        let noted = self.noted(vm);
        let found = noted.iter().filter_map(|it| findings.get(it.name()));
        found.flatten().cloned().collect()
    }

    /// Repeats the checks of running VMs, each once.
    pub(super) fn look_at_findings(&self, running: &[Arc<Slot>]) {
        let mut checks: Vec<Check> = Vec::new();
        for slot in running {
            for check in self.noted(&slot.vm()) {
                if checks.iter().all(|it| it.name() != check.name()) {
                    checks.push(check);
                }
            }
        }
        let report = readiness::report(self.host(), &checks);
        self.remember_findings(&checks, &report);
        for slot in running {
            self.tell(slot.vm().id);
        }
    }
}
