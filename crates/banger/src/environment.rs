//! The environment: read once, here, and passed down.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use banger_api::location::{Runtime, usual_home};

/// Every variable that this program looks at.
const READ: [&str; 17] = [
    // The older name of BANGER_RUNTIME_DIR.
    "BANGER_BUNDLE",
    "BANGER_CONFIG",
    LOG,
    "BANGER_RUNTIME_DIR",
    "BANGER_SIM",
    "BANGER_SOCKET",
    "BANGER_STATE",
    "COMPLETE",
    HOME,
    "NO_COLOR",
    "PATH",
    "SUDO_UID",
    "TERM",
    CONFIG_HOME,
    DATA_HOME,
    RUNTIME,
    STATE_HOME,
];

/// What the daemon writes to its log.
const LOG: &str = "BANGER_LOG";
/// Where a user's files are.
const HOME: &str = "HOME";
const CONFIG_HOME: &str = "XDG_CONFIG_HOME";
const DATA_HOME: &str = "XDG_DATA_HOME";
const STATE_HOME: &str = "XDG_STATE_HOME";
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
        let home = variables.get(HOME).map(Path::new);
        if !home.is_some_and(Path::is_absolute) {
            // Services, cron and `env -i` do not set it.
            variables.extend(usual_home(uid).map(|it| (HOME, it.into())));
        }
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

    /// All that a daemon has of this environment: where things are, and what it logs. Everything
    /// else is of the command that happens to start it.
    pub(crate) fn of_a_daemon(&self) -> Vec<(&'static str, OsString)> {
        let mut passed: Vec<_> = [LOG, HOME, CONFIG_HOME, DATA_HOME, STATE_HOME]
            .into_iter()
            .filter_map(|name| Some((name, self.get(name)?.clone())))
            .collect();
        // Set and empty it asks for none, as it does of us.
        passed.push((RUNTIME, self.get(RUNTIME).cloned().unwrap_or_default()));
        passed
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
