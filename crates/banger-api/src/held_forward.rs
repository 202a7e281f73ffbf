//! Forwards that the daemon holds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Endpoint;

/// The most forwards of a VM.
pub const MOST_FORWARDS: usize = 64;

/// A port or socket on one side, and what a connection to it reaches on the other one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// Where connections come from: on the host, or with `reverse` in the guest. Port 0 is any free
    /// one.
    #[cfg_attr(
        feature = "schema",
        schema(
            value_type = String,
            pattern = "^(?:(?:(?:localhost|(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\\.(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}|\\[::1?\\]):)?(?:0|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])|/(?:[ -.0-~]+/)+[ -.0-~]+)$",
            max_length = 107,
            example = "127.0.0.1:8080"
        )
    )]
    pub listen: Endpoint,
    /// What they reach: in the guest, or with `reverse` on the host.
    #[cfg_attr(
        feature = "schema",
        schema(
            value_type = String,
            pattern = "^(?:(?:(?:localhost|(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\\.(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}|\\[::1?\\]):)?(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])|/(?:[ -.0-~]+/)+[ -.0-~]+)$",
            max_length = 107,
            example = "localhost:80"
        )
    )]
    pub target: Endpoint,
    /// The guest reaches the host, and not the other way round.
    #[serde(default)]
    pub reverse: bool,
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let option = if self.reverse { "-R " } else { "" };
        write!(f, "{option}{}:{}", self.listen, self.target)
    }
}

/// Adds forwards to a VM: all of them, or none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct AddForwards {
    /// The forwards.
    pub forwards: Vec<Forward>,
    /// Keep them for the VM's later runs, too. Otherwise they end with the run.
    pub keep: bool,
}

/// Removes forwards from a VM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RemoveForwards {
    /// The forwards, as they are listed.
    pub forwards: Vec<Forward>,
    /// All of them.
    pub all: bool,
}

/// A forward that the daemon holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ForwardView {
    /// Where connections come from: on the daemon's machine, or with `reverse` in the guest.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub listen: Endpoint,
    /// What they reach.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub target: Endpoint,
    /// The guest reaches the host, and not the other way round.
    pub reverse: bool,
    /// Whether the VM's later runs have it, too.
    pub kept: bool,
    /// Its state.
    pub state: ForwardState,
    /// Why it does not listen; it is tried again. Null unless it has failed.
    pub reason: Option<String>,
}

impl ForwardView {
    /// What was asked for.
    #[must_use]
    pub fn forward(&self) -> Forward {
        Forward {
            listen: self.listen.clone(),
            target: self.target.clone(),
            reverse: self.reverse,
        }
    }
}

/// The state of a forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ForwardState {
    /// It takes connections.
    Listening,
    /// It cannot listen.
    Failed,
    /// The VM does not run, or its guest is about to listen.
    Waiting,
}

impl fmt::Display for ForwardState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Listening => "listening",
            Self::Failed => "failed",
            Self::Waiting => "waiting",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_is_read_with_and_without_its_direction() {
        let there: Forward = serde_json::from_str(r#"{"listen":"8080","target":"80"}"#).unwrap();
        assert_eq!(there.to_string(), "localhost:8080:localhost:80");
        let back = r#"{"listen":"/run/s","target":"[::1]:80","reverse":true}"#;
        let back: Forward = serde_json::from_str(back).unwrap();
        assert_eq!(back.to_string(), "-R /run/s:[::1]:80");
        for wrong in [
            r#"{"listen":"8080"}"#,
            r#"{"listen":"x","target":"80"}"#,
            r#"{"listen":"1","target":"80","udp":true}"#,
        ] {
            assert!(serde_json::from_str::<Forward>(wrong).is_err(), "{wrong}");
        }
    }
}
