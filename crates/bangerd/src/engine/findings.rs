//! What checks find that stops no VM and that its user should know: notes that come and go with
//! what the host is like, while VMs run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use banger_api::{CheckReport, Phase, Report, Verdict};

use super::hold::Slot;
use super::{Engine, lock};
use crate::readiness::{self, Check};
use crate::vm::Vm;

/// How often running VMs' checks are looked at again.
pub(super) const AGAIN: Duration = Duration::from_secs(10);

/// What each check found last, in words, by its name; nothing where all is well.
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

    /// Remembers what was found, of the checks whose findings are notes.
    pub(super) fn remember_findings(&self, checks: &[Check], report: &Report) {
        let is_noted = |name: &str| checks.iter().any(|it| it.is_noted() && it.name() == name);
        let mut findings = lock(&self.findings);
        for check in report.checks.iter().filter(|it| is_noted(&it.name)) {
            findings.insert(check.name.clone(), words(check));
        }
    }

    /// What a VM's user should know of its host now.
    pub(super) fn findings(&self, vm: &Vm) -> Vec<String> {
        if !matches!(vm.phase, Phase::Starting | Phase::Running) {
            return Vec::new();
        }
        let findings = lock(&self.findings);
        let noted = self.noted(vm);
        let found = noted.iter().filter_map(|it| findings.get(it.name()));
        found.flatten().cloned().collect()
    }

    /// Looks again at what running VMs depend on, each check once.
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
