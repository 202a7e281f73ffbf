//! The views: what clients see of VMs and of the daemon.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Error, ForwardView, VmId, VmName, VmSpec};

/// The state of a VM's life cycle.
///
/// ```text
/// creating ─► stopped ─► starting ─► running ─► stopping ─► stopped ─► deleting ─► (gone)
///                ▲           └──────────┼───────────────────────┘
///                                       └─► suspending ─► suspended ─► resuming ─► running
/// ```
///
/// No verb of this version leads to the phases of the second line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Its disks and keys are being created.
    Creating,
    /// It is not running.
    Stopped,
    /// It is booting.
    Starting,
    /// Its guest is ready.
    Running,
    /// Its memory is being written to disk.
    Suspending,
    /// It is not running; its memory is on disk.
    Suspended,
    /// Its memory is being read back.
    Resuming,
    /// It is shutting down.
    Stopping,
    /// It is being removed.
    Deleting,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Creating => "creating",
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Suspending => "suspending",
            Self::Suspended => "suspended",
            Self::Resuming => "resuming",
            Self::Stopping => "stopping",
            Self::Deleting => "deleting",
        })
    }
}

/// The reason why a VM is paused. Every pause except [`PauseReason::Hypervisor`] ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PauseReason {
    /// The host's file system is almost full; the VM resumes when there is space.
    HostAlmostFull,
    /// A write to one of its disks found no space; the write is kept, and retried when there is
    /// space.
    HostFull,
    /// A write to one of its disks failed; the write is kept, and retried.
    DiskError,
    /// It was paused through its hypervisor, or its guest suspended.
    Hypervisor,
}

impl std::fmt::Display for PauseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::HostAlmostFull => "host almost full",
            Self::HostFull => "host full",
            Self::DiskError => "disk error",
            Self::Hypervisor => "in the hypervisor",
        })
    }
}

/// How a VM's last run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct End {
    /// The kind of end.
    pub reason: EndReason,
    /// Details for a person: the line of the panic, the exit code, what could not be cleaned up.
    pub detail: String,
    /// When.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}

/// An archive of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ExportedVm {
    /// The file.
    pub path: String,
    /// The SHA-256 of its content, in hexadecimal, which is its last 32 bytes.
    pub digest: String,
    /// Its length in bytes.
    pub size_bytes: u64,
}

/// The kinds of ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// `vm stop`.
    Stopped,
    /// `vm kill`.
    Killed,
    /// `poweroff` in the guest.
    Poweroff,
    /// `reboot` in the guest.
    Reboot,
    /// `halt` in the guest.
    Halt,
    /// The guest's kernel panicked.
    Panic,
    /// It was reset without warning, or its process died.
    Lost,
    /// It failed to start.
    StartFailed,
}

/// How the guest's network is connected to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum NetworkKind {
    /// A routed TAP: the guest has an address of its own.
    Tap,
    /// QEMU's user networking: SSH through a port on loopback.
    User,
}

/// How to reach a VM by SSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SshView {
    /// The host name or address to connect to.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// The path of the private key.
    pub key: String,
    /// The path of the known_hosts file that pins the VM's host key.
    pub known_hosts: String,
    /// The name of the host key in that file.
    pub host_key_alias: String,
    /// The VM's public host key: its type and the key, as in a known_hosts file. For clients of another
    /// machine, which cannot read that file.
    #[serde(default)]
    pub host_key: String,
}

/// The space that a disk takes on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DiskView {
    /// Which disk: `root` or `work`.
    pub name: String,
    /// The size that the guest sees, in bytes.
    pub size_bytes: u64,
    /// The space of its own file, in bytes; with the driver `reflink`, including blocks that it
    /// shares with other files.
    pub allocated_bytes: u64,
    /// The space that it shares with other VMs, in bytes: the blocks of the image. Null if unknown.
    pub shared_bytes: Option<u64>,
}

/// The result of reloading the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ReloadReport {
    /// The keys whose new value is in force.
    pub changed: Vec<String>,
    /// The keys whose new value takes effect at the next start of the daemon.
    pub waiting: Vec<String>,
}

/// One VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmView {
    /// Its id.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub id: VmId,
    /// Its name.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub name: VmName,
    /// Its phase.
    pub phase: Phase,
    /// Whether it is paused.
    #[serde(default)]
    pub paused: bool,
    /// The reason why it is paused; a note says what to do. Absent if it is not paused.
    #[serde(default)]
    pub pause_reason: Option<PauseReason>,
    /// Whether this run is a rescue shell instead of the image's system.
    #[serde(default)]
    pub rescue: bool,
    /// The image that it was created from.
    pub image: String,
    /// Its settings; while it runs, those in force.
    pub spec: VmSpec,
    /// The settings of its next start; absent if they are the same.
    #[serde(default)]
    pub pending: Option<VmSpec>,
    /// Its kind of network.
    pub network: NetworkKind,
    /// Its IP address, if it has its own.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub address: Option<Ipv4Addr>,
    /// Its DNS name.
    pub dns_name: String,
    /// How to reach it by SSH, while it runs.
    pub ssh: Option<SshView>,
    /// The forwards that the daemon holds for it.
    #[serde(default)]
    pub forwards: Vec<ForwardView>,
    /// The hypervisor that runs it, or last ran it.
    pub hypervisor: Option<String>,
    /// The driver of its system disk, fixed when it was created.
    pub root_disk: String,
    /// The space that its disks take on the host; empty in lists of VMs.
    #[serde(default)]
    pub disks: Vec<DiskView>,
    /// The process id of its hypervisor, while it runs.
    pub pid: Option<u32>,
    /// The time of its creation.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub created: Timestamp,
    /// The time when its guest became ready, while it runs.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub started: Option<Timestamp>,
    /// How its last run ended.
    pub last_end: Option<End>,
    /// Notes for its user, such as a missing way to the internet or a disk that could not grow.
    pub notes: Vec<String>,
    /// When it was deleted, if it is in the trash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub deleted: Option<Timestamp>,
}

/// A VM, after a verb that may have had nothing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VerbOutcome {
    /// The VM as it is now.
    #[serde(flatten)]
    pub vm: VmView,
    /// Whether it was in this state already, so that nothing was done.
    #[serde(default)]
    pub already: bool,
}

impl VmView {
    /// The settings of its next start; those in force if no change is pending.
    #[must_use]
    pub fn next(&self) -> &VmSpec {
        self.pending.as_ref().unwrap_or(&self.spec)
    }
}

/// The result of a stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StopReport {
    /// The VM as it is now.
    #[serde(flatten)]
    pub vm: VmView,
    /// Whether the guest confirmed that it wrote all data to its disks.
    pub synced: bool,
    /// The step that ended it: `agent`, `power-button`, `terminate`, `kill`, or `gone` (it ended by
    /// itself).
    pub by: String,
}

/// The outcome for one VM when all are stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StopOutcome {
    /// Its name.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub name: VmName,
    /// The result of its stop, if that succeeded.
    pub stopped: Option<StopReport>,
    /// The error, if it failed.
    pub error: Option<Error>,
}

/// The result of stopping all VMs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StopAllReport {
    /// The VMs that were running, by name.
    pub vms: Vec<StopOutcome>,
}

/// The versions of the daemon and of its API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VersionView {
    /// The version of the daemon's program.
    pub version: String,
    /// The version of the API.
    pub api: u32,
}

/// The state of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DaemonView {
    /// The version of its program.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// How it changes the host: `direct`, `root-helper`, `user`, or `sim` (a simulation).
    pub mode: String,
    /// The path of its socket.
    pub socket: String,
    /// Its state directory.
    pub state: String,
    /// The path of its configuration file, which need not exist.
    #[serde(default)]
    pub config: String,
    /// The bundle that new VMs are created from.
    pub bundle: String,
    /// Why it is this bundle, for a person.
    #[serde(default)]
    pub bundle_reason: String,
    /// The address of the DNS resolver, if it runs.
    pub dns: Option<String>,
    /// The time of its start.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub started: Timestamp,
    /// The number of VMs.
    pub vms: usize,
    /// The number of running VMs.
    pub running: usize,
    /// What the daemon found at its start and could not attribute to a VM.
    pub unexplained: Vec<String>,
    /// The settings that come from the daemon's environment: the name of a key, and the value of
    /// its variable.
    #[serde(default)]
    pub overrides: crate::configuration::Overrides,
    /// The level of its log.
    #[serde(default)]
    pub log_level: crate::LogLevel,
    /// Whether deleted VMs go to the trash.
    #[serde(default)]
    pub trash: bool,
}
