//! The VMs that a verb applies to: by name, by label, or all.

use banger_api::{Result, VmRef, VmView};
use clap::Args;
use clap_complete::ArgValueCandidates;

use crate::completion;
use crate::session::Session;
use banger_api::LabelSelector;

/// The VMs that a verb is about.
#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = true)]
pub(crate) struct Selection {
    /// The VMs: names, ids, or the first digits of ids.
    #[arg(value_name = "NAME", conflicts_with_all = ["selectors", "all"])]
    #[arg(add = ArgValueCandidates::new(completion::vms))]
    names: Vec<VmRef>,

    /// The VMs with this label: KEY=VALUE, KEY!=VALUE, KEY or !KEY. Repeat it to narrow the selection.
    #[arg(
        short = 'l',
        long = "selector",
        value_name = "LABEL",
        conflicts_with = "all"
    )]
    #[arg(add = ArgValueCandidates::new(completion::labels))]
    selectors: Vec<LabelSelector>,

    /// All VMs.
    #[arg(long, short)]
    all: bool,
}

/// The VMs that a verb can apply to if the user does not name them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    /// Whether the verb applies to this VM.
    pub(crate) takes: fn(&VmView) -> bool,
    /// The end of the message if it applies to none: "no VM `is running`".
    pub(crate) or_none: &'static str,
}

impl Scope {
    /// Every VM.
    pub(crate) const ANY: Self = Self {
        takes: |_| true,
        or_none: "is there",
    };
}

/// A VM that a verb applies to.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its name, or the user's text if there is no such VM.
    pub(crate) name: String,
    /// The reference for requests to the daemon.
    pub(crate) reference: VmRef,
    /// Its state when the verb began, if that was looked up.
    pub(crate) view: Option<VmView>,
}

impl Target {
    pub(crate) fn of(view: VmView) -> Self {
        Self {
            name: view.name.to_string(),
            // A VM that is renamed meanwhile stays selected.
            reference: view.id.into(),
            view: Some(view),
        }
    }
}

impl Selection {
    /// Whether the user named each VM.
    pub(crate) fn is_by_name(&self) -> bool {
        !self.names.is_empty()
    }

    /// Whether all VMs are selected.
    pub(crate) fn is_all(&self) -> bool {
        self.all
    }

    /// The message if it selects none.
    pub(crate) fn none(&self, scope: Scope) -> String {
        let selectors: Vec<_> = self.selectors.iter().map(|it| format!("`{it}`")).collect();
        let with = match &selectors[..] {
            [] => String::new(),
            some => format!(" with {}", some.join(" and ")),
        };
        format!("no VM{with} {}", scope.or_none)
    }

    /// The VMs without duplicates. An unknown name is kept, and fails for itself only.
    ///
    /// # Errors
    /// If the daemon does not answer.
    pub(crate) fn targets(&self, session: &Session, scope: Scope) -> Result<Vec<Target>> {
        let vms = session.daemon()?.list()?;
        if !self.is_by_name() {
            let is_selected = |vm: &VmView| {
                let mut selectors = self.selectors.iter();
                selectors.all(|it| it.selects(&vm.spec.labels)) && (scope.takes)(vm)
            };
            return Ok(vms
                .into_iter()
                .filter(is_selected)
                .map(Target::of)
                .collect());
        }
        let mut targets: Vec<Target> = Vec::new();
        for name in &self.names {
            let target = match named(&vms, name) {
                Some(vm) => Target::of(vm.clone()),
                None => Target {
                    name: name.to_string(),
                    reference: name.clone(),
                    view: None,
                },
            };
            if !targets.iter().any(|it| it.reference == target.reference) {
                targets.push(target);
            }
        }
        Ok(targets)
    }
}

/// The VM that the daemon would find by this reference.
fn named<'v>(vms: &'v [VmView], wanted: &VmRef) -> Option<&'v VmView> {
    if let Some(vm) = vms.iter().find(|vm| wanted.is_name(&vm.name)) {
        return Some(vm);
    }
    let mut matches = vms.iter().filter(|vm| wanted.begins(vm.id));
    let only = matches.next()?;
    matches.next().is_none().then_some(only)
}

#[cfg(test)]
mod tests {
    use super::super::description::tests::calm_otter;
    use super::*;

    #[test]
    fn a_reference_means_what_it_means_to_the_daemon() {
        let mut web = calm_otter();
        web.name = "00".parse().unwrap();
        web.id = "11ab12cd".parse().unwrap();
        let mut api = calm_otter();
        api.name = "api".parse().unwrap();
        api.id = "11ff12cd".parse().unwrap();
        let vms = [calm_otter(), web, api];
        let found = |text: &str| {
            let reference = text.parse().unwrap();
            named(&vms, &reference).map(|vm| vm.name.to_string())
        };
        assert_eq!(found("00").as_deref(), Some("00"), "a name goes first");
        assert_eq!(found("00ab").as_deref(), Some("calm-otter"));
        assert_eq!(found("11"), None, "it begins two ids");
        assert_eq!(found("nobody"), None);
    }
}
