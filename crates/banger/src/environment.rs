//! The environment, which is read once, here, and passed down.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use banger_api::configuration::{KEYS, Overrides, variable};
use banger_api::location::{Runtime, usual_home};

/// Every variable that this program reads.
const READ: [&str; 24] = [
    // The older name of BANGER_RUNTIME_DIR.
    "BANGER_BUNDLE",
    "BANGER_CONFIG",
    "BANGER_HOST",
    "BANGER_RUNTIME_DIR",
    "BANGER_SIM",
    "BANGER_SOCKET",
    "BANGER_STATE",
    "COMPLETE",
    "DISPLAY",
    "EDITOR",
    HOME,
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "NO_COLOR",
    "PATH",
    "SUDO_UID",
    "TERM",
    "VISUAL",
    "WAYLAND_DISPLAY",
    CONFIG_HOME,
    DATA_HOME,
    RUNTIME,
    STATE_HOME,
];

/// The variable for a user's home.
const HOME: &str = "HOME";
const CONFIG_HOME: &str = "XDG_CONFIG_HOME";
const DATA_HOME: &str = "XDG_DATA_HOME";
const STATE_HOME: &str = "XDG_STATE_HOME";
/// The variable for a user's runtime directory.
const RUNTIME: &str = "XDG_RUNTIME_DIR";

/// The variables at the start of the program; an empty one counts as not set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<&'static str, OsString>,
    /// The configuration's keys that variables set.
    overrides: Overrides,
    /// The reason why the named runtime directory is not used.
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
        // The bundle is a path, and has an option; see `Paths`.
        let keys = KEYS.into_iter().filter(|key| *key != "runtime_dir");
        let overrides = keys.filter_map(|key| {
            let value = std::env::var_os(variable(key)).filter(|value| !value.is_empty())?;
            Some((key.to_owned(), value.to_string_lossy().into_owned()))
        });
        Self {
            variables,
            overrides: overrides.collect(),
            passed_over: runtime.passed_over,
        }
    }

    /// The configuration's keys that variables set.
    pub(crate) fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// The reason why the named runtime directory is not used.
    pub(crate) fn passed_over(&self) -> Option<&str> {
        self.passed_over.as_deref()
    }

    /// The variable's value, if it is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&OsString> {
        debug_assert!(READ.contains(&name), "{name} is not read");
        self.variables.get(name)
    }

    /// The variable's value as a path.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// The variables for a daemon: its paths and its configuration. All others belong only to the
    /// command that happens to start it.
    pub(crate) fn of_a_daemon(&self) -> Vec<(String, OsString)> {
        let mut passed: Vec<_> = [HOME, CONFIG_HOME, DATA_HOME, STATE_HOME]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), self.get(name)?.clone())))
            .collect();
        // An empty value means no runtime directory, for the daemon as for this program.
        let runtime = self.get(RUNTIME).cloned().unwrap_or_default();
        passed.push((RUNTIME.to_owned(), runtime));
        let overrides = self.overrides.iter();
        passed.extend(overrides.map(|(key, value)| (variable(key), value.into())));
        passed
    }

    /// Whether a switch such as `BANGER_SIM=1` is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value != "0" && value != "false" && value != "no")
    }

    /// Whether the user's locale has characters beyond ASCII. Where it is unknown it is taken to have them, as
    /// terminals of today do.
    pub(crate) fn has_unicode(&self) -> bool {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(|name| self.get(name))
            .map(|it| it.to_string_lossy().to_lowercase().replace('-', ""));
        locale.is_none_or(|it| it.contains("utf8"))
    }

    /// An environment of these variables only.
    #[cfg(test)]
    pub(crate) fn of(variables: &[(&'static str, &str)]) -> Self {
        let variables = variables.iter();
        Self {
            variables: variables
                .map(|(name, value)| (*name, OsString::from(value)))
                .collect(),
            overrides: Overrides::new(),
            passed_over: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_names_the_locale() {
        for (variables, unicode) in [
            (&[][..], true),
            (&[("LANG", "C.UTF-8")], true),
            (&[("LC_ALL", "C"), ("LANG", "C.UTF-8")], false),
            (&[("LC_CTYPE", "de_DE.utf8"), ("LANG", "C")], true),
        ] {
            assert_eq!(Environment::of(variables).has_unicode(), unicode);
        }
    }
}
