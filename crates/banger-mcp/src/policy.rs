//! The policy for an agent, which the user sets when they start the server.

use std::collections::BTreeMap;

use banger_api::{Code, Error, LabelSelector, Result, VmName, VmView};

/// The permissions of the tools. Each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Permission {
    /// Look at VMs and at files in them.
    Read,
    /// Create, start, stop and use VMs.
    Change,
    /// Kill and delete VMs.
    Destroy,
}

/// The policy of one server.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// The highest permission of the tools.
    pub(crate) permission: Permission,
    /// The VMs that the agent sees; all of them without names and selectors.
    pub(crate) names: Vec<VmName>,
    /// The labels that those VMs must have.
    pub(crate) selectors: Vec<LabelSelector>,
}

impl Policy {
    /// Whether the agent sees this VM.
    pub(crate) fn admits(&self, vm: &VmView) -> bool {
        (self.names.is_empty() || self.names.contains(&vm.name))
            && self.selectors.iter().all(|it| it.selects(&vm.spec.labels))
    }

    /// The labels of a VM that the agent creates under this name, so that the agent sees it.
    ///
    /// # Errors
    /// `conflict` if the policy lists names, and this is not one of them.
    pub(crate) fn labels_of_new(&self, name: Option<&str>) -> Result<BTreeMap<String, String>> {
        if !self.names.is_empty() && !self.names.iter().any(|it| Some(it.as_str()) == name) {
            let names: Vec<&str> = self.names.iter().map(VmName::as_str).collect();
            return Err(Error::new(
                Code::Conflict,
                "the user of this server allows only VMs that are named in advance",
            )
            .hint(format!("use one of these names: {}", names.join(", "))));
        }
        let label = |selector: &LabelSelector| match selector {
            LabelSelector::Is(key, value) => Some((key.clone(), value.clone())),
            LabelSelector::Has(key) => Some((key.clone(), String::new())),
            LabelSelector::IsNot(..) | LabelSelector::Lacks(_) => None,
        };
        Ok(self.selectors.iter().filter_map(label).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(names: &[&str], selectors: &[&str]) -> Policy {
        Policy {
            permission: Permission::Change,
            names: names.iter().map(|it| it.parse().unwrap()).collect(),
            selectors: selectors.iter().map(|it| it.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_new_vm_is_one_of_the_agents() {
        let labels = policy(&[], &["agent", "team=web"])
            .labels_of_new(None)
            .unwrap();
        let expected = [("agent", ""), ("team", "web")];
        assert!(
            labels
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .eq(expected)
        );
        assert!(policy(&[], &[]).labels_of_new(None).unwrap().is_empty());
    }

    #[test]
    fn a_policy_of_names_admits_no_other_name() {
        let policy = policy(&["web"], &[]);
        policy.labels_of_new(Some("web")).unwrap();
        for other in [None, Some("api")] {
            let error = policy.labels_of_new(other).unwrap_err();
            assert_eq!(error.hints, ["use one of these names: web"]);
        }
    }
}
