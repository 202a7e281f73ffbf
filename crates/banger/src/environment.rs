//! The environment: read once, here, and passed down.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use banger_api::location::usual_runtime;

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
        let mut read: BTreeMap<_, _> = READ.into_iter().filter_map(set).collect();
        if std::env::var_os(RUNTIME).is_none() {
            // `su` and `sudo -u` do not set it, and the daemon's socket is there all the same. One
            // that is set and empty asks for none.
            let uid = rustix::process::getuid().as_raw();
            read.extend(usual_runtime(uid).map(|it| (RUNTIME, it.into())));
        }
        Self(read)
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
