//! What a client asks for.

use serde::{Deserialize, Serialize};

use crate::VmSpecPatch;

/// Asks for a new VM. What is left out has the default of the daemon's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct CreateVm {
    /// Its name, a DNS label; two words are made up when there is none.
    #[cfg_attr(
        feature = "schema",
        schema(
            pattern = "^(?!(?:all|localhost|vm)$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$",
            max_length = 63
        )
    )]
    pub name: Option<String>,
    /// The image that it is made from.
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^[a-z0-9][a-z0-9._-]*$", max_length = 64)
    )]
    pub image: Option<String>,
    /// What it has.
    #[serde(deserialize_with = "crate::object::only")]
    pub spec: VmSpecPatch,
    /// Makes it without starting it.
    pub no_start: bool,
}

/// Asks for a start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct StartVm {
    /// Gives a shell on the console instead of starting the image's init.
    pub rescue: bool,
}

/// Asks for a clean end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct StopVm {
    /// How long the guest has for it, in seconds (1 to 3600); the daemon's default otherwise.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 3600))]
    pub timeout_seconds: Option<u64>,
}

/// Asks for a clean end of every VM that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct StopAllVms {
    /// How long all of them together have for it, in seconds (1 to 3600); the daemon's
    /// `shutdown_timeout_seconds` otherwise.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 3600))]
    pub timeout_seconds: Option<u64>,
    /// How many are stopped at the same time, at most (1 to 64, and 64 otherwise).
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// Whether it is because the host goes down, which each record then says.
    pub host_shutdown: bool,
}

/// Asks for an end without the guest's help.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct KillVm {
    /// The signal for the hypervisor's process; `KILL` otherwise.
    pub signal: Option<SignalName>,
}

/// Asks for the end of a VM and of all that it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct DeleteVm {
    /// Kills it first if it runs.
    pub force: bool,
}

/// Asks for another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RenameVm {
    /// The new name, a DNS label.
    #[cfg_attr(
        feature = "schema",
        schema(
            pattern = "^(?!(?:all|localhost|vm)$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$",
            max_length = 63
        )
    )]
    pub name: String,
}

/// A signal by its name, as kill(1) has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum SignalName {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Term,
    /// SIGINT.
    Int,
    /// SIGHUP.
    Hup,
    /// SIGQUIT.
    Quit,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Cont,
}

impl SignalName {
    /// All names, as they are written.
    pub const NAMES: [&'static str; 9] = [
        "KILL", "TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "STOP", "CONT",
    ];
}

impl std::str::FromStr for SignalName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.to_ascii_uppercase();
        let name = name.strip_prefix("SIG").unwrap_or(&name);
        Ok(match name {
            "KILL" | "9" => Self::Kill,
            "TERM" | "15" => Self::Term,
            "INT" | "2" => Self::Int,
            "HUP" | "1" => Self::Hup,
            "QUIT" | "3" => Self::Quit,
            "USR1" => Self::Usr1,
            "USR2" => Self::Usr2,
            "STOP" => Self::Stop,
            "CONT" => Self::Cont,
            _ => {
                return Err(format!(
                    "{text:?} is not a signal: use one of {}",
                    Self::NAMES.join(", ")
                ));
            }
        })
    }
}

/// Asks for a VM's console.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct LogsQuery {
    /// Goes on as the console grows.
    pub follow: bool,
}

/// Asks for the events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct EventsQuery {
    /// The number of the last event that the client has read.
    pub since: Option<u64>,
}
