//! The names of the configuration's keys, and the view of a setting. `bangerd` decides which values
//! a key accepts.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Every key of the configuration file. Each has an environment variable that overrides the file:
/// see [`variable`].
pub const KEYS: [&str; 30] = [
    "log_level",
    "runtime_dir",
    "hypervisor",
    "root_disk",
    "disk_cache",
    "network",
    "subnet",
    "nat",
    "dns",
    "dns_port",
    "ssh_key_path",
    "namegen_path",
    "default_rootfs",
    "default_base_rootfs",
    "default_kernel",
    "default_modules_dir",
    "default_packages_file",
    "customize_script",
    "mirrors",
    "vcpu",
    "memory",
    "disk_size",
    "system_disk_size",
    "start_timeout_seconds",
    "stop_timeout_seconds",
    "shutdown_timeout_seconds",
    "trash",
    "jailer",
    "qemu",
    "firecracker_bin",
];

/// The environment variable of a key: `BANGER_MEMORY` for `memory`.
#[must_use]
pub fn variable(key: &str) -> String {
    format!("BANGER_{}", key.to_uppercase())
}

/// The settings from environment variables: the name of a key, and the value of its variable.
pub type Overrides = BTreeMap<String, String>;

/// The level of the daemon's log: it holds events of this level and of the more severe ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Each step of each operation.
    Debug,
    /// The outcome of each operation.
    #[default]
    Info,
    /// What works with a drawback.
    Warn,
    /// What does not work.
    Error,
}

impl LogLevel {
    /// All levels, the most verbose first.
    pub const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// The level's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// The level of the daemon's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LogLevelView {
    /// The level.
    pub level: LogLevel,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| "the levels are debug, info, warn and error".to_owned())
    }
}

/// The origin of a setting's value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "origin", rename_all = "lowercase")]
pub enum Origin {
    /// The built-in default.
    #[default]
    Default,
    /// Root's settings for this user (`banger system install`).
    Granted,
    /// The configuration file.
    File {
        /// The file's path.
        file: String,
        /// The line of the value, counted from 1.
        line: usize,
    },
    /// An environment variable.
    Variable {
        /// The variable's name.
        variable: String,
    },
    /// An option of the command line.
    Option,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Granted => f.write_str("set for you by root"),
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Variable { variable } => write!(f, "environment variable {variable}"),
            Self::Option => f.write_str("option"),
        }
    }
}

/// One setting of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The key's name.
    pub key: String,
    /// Its value, as in the file; null if it has none, and banger chooses.
    pub value: serde_json::Value,
    /// The origin of the value.
    #[serde(flatten)]
    pub origin: Origin,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_says_where_it_comes_from() {
        let setting = |origin| Setting {
            key: "memory".to_owned(),
            value: "4G".into(),
            origin,
        };
        for (origin, json, words) in [
            (
                Origin::Default,
                r#"{"key":"memory","value":"4G","origin":"default"}"#,
                "default",
            ),
            (
                Origin::File {
                    file: "/c.toml".to_owned(),
                    line: 3,
                },
                r#"{"key":"memory","value":"4G","origin":"file","file":"/c.toml","line":3}"#,
                "/c.toml:3",
            ),
            (
                Origin::Variable {
                    variable: variable("memory"),
                },
                r#"{"key":"memory","value":"4G","origin":"variable","variable":"BANGER_MEMORY"}"#,
                "environment variable BANGER_MEMORY",
            ),
        ] {
            assert_eq!(origin.to_string(), words);
            let setting = setting(origin);
            let text = serde_json::to_string(&setting).unwrap();
            assert_eq!(text, json);
            assert_eq!(serde_json::from_str::<Setting>(&text).unwrap(), setting);
        }
    }

    #[test]
    fn a_level_is_read_as_it_is_written() {
        for level in LogLevel::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert!("trace".parse::<LogLevel>().is_err());
    }
}
