//! The environment: read once, here, and passed down.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use banger_api::location::Runtime;

/// Every variable that this program looks at.
const READ: [&str; 14] = [
    "BANGER_BUNDLE",
    "BANGER_CONFIG",
    "BANGER_SIM",
    "BANGER_SOCKET",
    "BANGER_STATE",
    "HOME",
    "NO_COLOR",
    "PATH",
    "SUDO_UID",
    "TERM",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    RUNTIME,
    "XDG_STATE_HOME",
];

/// Where a user's sockets are.
const RUNTIME: &str = "XDG_RUNTIME_DIR";

/// The variables as they were when the program began; an empty one counts as not set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<&'static str, OsString>,
    /// Why the runtime directory that was named is not used.
    passed_over: Option<String>,
}

impl Environment {
    /// Reads the variables of this process.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub(crate) fn read() -> Self {
        let set = |name| {
            Some((
                name,
                std::env::var_os(name).filter(|value| !value.is_empty())?,
            ))
        };
        let mut variables: BTreeMap<_, _> = READ.into_iter().filter_map(set).collect();
        let uid = rustix::process::geteuid().as_raw();
        let runtime = Runtime::find(std::env::var_os(RUNTIME).map(PathBuf::from), uid);
        variables.remove(RUNTIME);
        variables.extend(runtime.folder.map(|it| (RUNTIME, it.into())));
        Self {
            variables,
            passed_over: runtime.passed_over,
        }
    }

    /// Why the runtime directory that was named is not used.
    pub(crate) fn passed_over(&self) -> Option<&str> {
        self.passed_over.as_deref()
    }

    /// The variable's value, where it is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&OsString> {
        debug_assert!(READ.contains(&name), "{name} is not read");
        self.variables.get(name)
    }

    /// The variable's value as a path.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// Whether a switch such as `BANGER_SIM=1` is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value != "0" && value != "false" && value != "no")
    }

    /// An environment of these variables only.
    #[cfg(test)]
    pub(crate) fn of(variables: &[(&'static str, &str)]) -> Self {
        let variables = variables.iter();
        Self {
            variables: variables
                .map(|(name, value)| (*name, OsString::from(value)))
                .collect(),
            passed_over: None,
        }
    }
}
