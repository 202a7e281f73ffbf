//! The report of `doctor`.

use serde::{Deserialize, Serialize};

/// The outcome of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Passed.
    Pass,
    /// Works, with a drawback.
    Warn,
    /// Failed.
    Fail,
}

/// A command that fixes what a check found. It runs without a shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Fix {
    /// What it does, such as `build the bundle`.
    pub what: String,
    /// The program and its arguments. `banger` stands for the client's own program.
    pub command: Vec<String>,
    /// Whether it needs root.
    pub root: bool,
}

impl Fix {
    /// A `banger` command.
    #[must_use]
    pub fn banger(what: &str, arguments: &[&str]) -> Self {
        let own = ["banger"];
        let words = own.iter().chain(arguments);
        Self {
            what: what.to_owned(),
            command: words.map(|word| (*word).to_owned()).collect(),
            root: false,
        }
    }

    /// A command that root runs.
    #[must_use]
    pub fn root(what: &str, command: &[&str]) -> Self {
        Self {
            what: what.to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            root: true,
        }
    }

    /// The installation of packages of the host's distribution.
    #[must_use]
    pub fn install(packages: &[&str]) -> Self {
        let what = format!("install {}", packages.join(", "));
        let apt = ["apt-get", "install", "--yes", "--no-install-recommends"];
        Self::root(&what, &[&apt[..], packages].concat())
    }
}

/// One check, with what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CheckReport {
    /// The name of the check.
    pub name: String,
    /// The outcome.
    pub verdict: Verdict,
    /// The finding, as text.
    pub found: String,
    /// Commands to type, or facts to check, unless it passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// The command that fixes it, if there is one: `banger doctor --fix` runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
    /// The feature that needs it; absent if every VM does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
}

/// All checks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Report {
    /// The checks, in the order of a VM's start.
    pub checks: Vec<CheckReport>,
}

impl Report {
    /// The worst outcome.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.checks
            .iter()
            .map(|check| check.verdict)
            .max()
            .unwrap_or(Verdict::Pass)
    }
}
