//! The command line.

use std::path::PathBuf;

use banger_api::{LabelSelector, VmName};
use clap::Parser;

use crate::policy::{Permission, Policy};

/// Serve banger's VMs to an agent, over the Model Context Protocol on standard input and output.
///
/// The agent sees all VMs of the user, and can create, start, stop and use them. It can neither kill nor delete them unless --allow-destructive is given. What the agent may do is decided here, and not by the agent.
#[derive(Debug, Parser)]
#[command(name = "banger-mcp", version)]
#[command(after_help = "\
Examples:
  banger-mcp                           all VMs; no kill, no delete
  banger-mcp --vm calm-otter           one VM only
  banger-mcp -l agent --allow-destructive
                                       VMs with the label `agent`; VMs that the agent creates get it
  banger-mcp --read-only               looks, and changes nothing
  ssh server banger-mcp                the VMs of another machine

An agent's configuration names the program and its arguments; see docs/agents.md.")]
pub(crate) struct Options {
    /// Serve only this VM; repeatable.
    #[arg(long = "vm", value_name = "NAME", conflicts_with = "selectors")]
    vms: Vec<VmName>,

    /// Serve only VMs with this label: KEY=VALUE or KEY; repeatable. VMs that the agent creates get it.
    #[arg(short = 'l', long = "selector", value_name = "SELECTOR")]
    #[arg(value_parser = positive_selector)]
    selectors: Vec<LabelSelector>,

    /// Let the agent kill and delete VMs, too.
    #[arg(long, conflicts_with = "read_only")]
    allow_destructive: bool,

    /// Offer only tools that change nothing.
    #[arg(long)]
    read_only: bool,

    /// The daemon's state directory [env: BANGER_STATE].
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// The daemon's socket [env: BANGER_SOCKET].
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

impl Options {
    /// The policy for the agent.
    pub(crate) fn policy(&self) -> Policy {
        let permission = match (self.read_only, self.allow_destructive) {
            (true, _) => Permission::Read,
            (false, false) => Permission::Change,
            (false, true) => Permission::Destroy,
        };
        Policy {
            permission,
            names: self.vms.clone(),
            selectors: self.selectors.clone(),
        }
    }
}

/// A selector whose label a new VM can have.
fn positive_selector(text: &str) -> Result<LabelSelector, String> {
    match text.parse()? {
        LabelSelector::IsNot(..) | LabelSelector::Lacks(_) => {
            Err("a selector here is KEY=VALUE or KEY".to_owned())
        }
        selector => Ok(selector),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_a_policy() {
        let policy = |words: &[&str]| {
            Options::try_parse_from([&["banger-mcp"], words].concat())
                .map(|options| options.policy())
        };
        assert_eq!(policy(&[]).unwrap().permission, Permission::Change);
        let all = policy(&["--allow-destructive", "-l", "agent"]).unwrap();
        assert_eq!(all.permission, Permission::Destroy);
        assert_eq!(all.selectors, [LabelSelector::Has("agent".to_owned())]);
        assert_eq!(
            policy(&["--read-only"]).unwrap().permission,
            Permission::Read
        );
        for words in [
            &["--read-only", "--allow-destructive"][..],
            &["--vm", "web", "-l", "agent"],
            &["-l", "!agent"],
            &["--vm", "No Name"],
        ] {
            policy(words).unwrap_err();
        }
    }
}
