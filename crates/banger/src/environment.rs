//! The environment: read once, here, and passed down.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

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
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
];

/// The variables as they were when the program began; an empty one counts as not set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment(BTreeMap<&'static str, OsString>);

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
        Self(READ.into_iter().filter_map(set).collect())
    }

    /// The variable's value, where it is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&OsString> {
        debug_assert!(READ.contains(&name), "{name} is not read");
        self.0.get(name)
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
        Self(
            variables
                .iter()
                .map(|(name, value)| (*name, OsString::from(value)))
                .collect(),
        )
    }
}
