//! The bodies and queries of requests.

use serde::{Deserialize, Serialize};

use crate::VmSpecPatch;

/// Creates a VM. Omitted settings come from the daemon's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct CreateVm {
    /// Its name, a DNS label; by default two words, such as `calm-otter`.
    #[cfg_attr(
        feature = "schema",
        schema(
            pattern = "^(?!(?:all|localhost|vm)$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$",
            max_length = 63
        )
    )]
    pub name: Option<String>,
    /// The image to create it from.
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^[a-z0-9][a-z0-9._-]*$", max_length = 64)
    )]
    pub image: Option<String>,
    /// Its settings.
    #[serde(deserialize_with = "crate::object::only")]
    pub spec: VmSpecPatch,
    /// Creates it without starting it.
    pub no_start: bool,
    /// Creates a temporary VM: it is deleted, permanently, as soon as the last connection of
    /// `GET /v1/vms/{ref}/lifeline` has ended, or 30 seconds after its start if there was none.
    pub temporary: bool,
}

/// Starts a VM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct StartVm {
    /// Starts a rescue shell instead of the image's init.
    pub rescue: bool,
}

/// Stops a VM cleanly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct StopVm {
    /// The time for the guest to shut down, in seconds (1 to 3600); by default the daemon's
    /// `stop_timeout_seconds`.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 3600))]
    pub timeout_seconds: Option<u64>,
}

/// Stops all running VMs cleanly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct StopAllVms {
    /// The time for all of them together, in seconds (1 to 3600); by default the daemon's
    /// `shutdown_timeout_seconds`.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 3600))]
    pub timeout_seconds: Option<u64>,
    /// The maximum number of VMs to stop at the same time (1 to 64); by default 64.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// Whether the host is shutting down; the records then name it as the reason.
    pub host_shutdown: bool,
}

/// Kills a VM, without the guest's cooperation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct KillVm {
    /// The signal for the hypervisor's process; by default `KILL`.
    pub signal: Option<SignalName>,
}

/// Deletes a VM and all its data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct DeleteVm {
    /// Kills the VM first if it is running.
    pub force: bool,
    /// Deletes it permanently, even if the configuration has a trash.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub purge: bool,
}

/// Restores a VM from the trash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct UndeleteVm {
    /// Another name, a DNS label; by default its own.
    #[cfg_attr(
        feature = "schema",
        schema(
            pattern = "^(?!(?:all|localhost|vm)$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$",
            max_length = 63
        )
    )]
    pub name: Option<String>,
}

/// Deletes a VM in the trash permanently.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PurgeVm {}

/// Renames a VM.
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

/// Clones a stopped VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CloneVm {
    /// The name of the new one, a DNS label.
    #[cfg_attr(
        feature = "schema",
        schema(
            pattern = "^(?!(?:all|localhost|vm)$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$",
            max_length = 63
        )
    )]
    pub name: String,
    /// The settings in which it differs from the original.
    #[serde(default, deserialize_with = "crate::object::only")]
    pub spec: VmSpecPatch,
}

/// Exports a stopped VM to one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ExportVm {
    /// The file to write on the daemon's host, an absolute path without `..`.
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^/(?!(?:.*/)?\\.\\.(?:/|$))[^\\x00-\\x1f\\x7f-\\x9f]*$")
    )]
    pub path: String,
    /// Replaces an existing file.
    #[serde(default)]
    pub force: bool,
}

/// Creates a VM from an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ImportVm {
    /// The archive on the daemon's host, an absolute path without `..`.
    #[cfg_attr(
        feature = "schema",
        schema(pattern = "^/(?!(?:.*/)?\\.\\.(?:/|$))[^\\x00-\\x1f\\x7f-\\x9f]*$")
    )]
    pub path: String,
    /// The new VM's name, a DNS label; by default that of the exported VM.
    #[cfg_attr(
        feature = "schema",
        schema(
            pattern = "^(?!(?:all|localhost|vm)$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$",
            max_length = 63
        )
    )]
    #[serde(default)]
    pub name: Option<String>,
}

/// The name of a signal, as in kill(1).
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
    /// All names.
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

/// Reads a VM's console, or another of its logs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct LogsQuery {
    /// Continues as it grows.
    pub follow: bool,
    /// What is read.
    pub source: LogSource,
}

/// What writes a log of a VM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// The guest, on its console, since its last boot.
    #[default]
    Console,
    /// The hypervisor, of this run or the last one.
    Hypervisor,
}

impl std::fmt::Display for LogSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Console => "console",
            Self::Hypervisor => "hypervisor",
        })
    }
}

/// Opens a VM's console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleQuery {
    /// Types to it; one client at a time does.
    pub input: bool,
}

impl Default for ConsoleQuery {
    fn default() -> Self {
        Self { input: true }
    }
}

/// Reads the events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct EventsQuery {
    /// The number of the last event that the client has read.
    pub since: Option<u64>,
}
