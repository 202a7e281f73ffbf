//! What a client is shown.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Error, VmId, VmName, VmSpec};

/// Where a VM is in its life.
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
    /// Its disks and keys are being made.
    Creating,
    /// It does not run.
    Stopped,
    /// It boots.
    Starting,
    /// Its guest is ready.
    Running,
    /// Its memory is being written to disk.
    Suspending,
    /// It does not run; its memory is on disk.
    Suspended,
    /// Its memory is being read back.
    Resuming,
    /// It is being ended.
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

/// Why a VM is paused. All but [`PauseReason::Hypervisor`] end by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PauseReason {
    /// The host's file system is almost full; it goes on when there is room.
    HostAlmostFull,
    /// A write to one of its disks found no space; the write is kept, and done when there is room.
    HostFull,
    /// A write to one of its disks failed; the write is kept, and tried again.
    DiskError,
    /// Somebody paused it through its hypervisor, or its guest suspended.
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
    /// What sort of end it was.
    pub reason: EndReason,
    /// In words, for a person: the panic's line, the exit code, what cleanup could not do.
    pub detail: String,
    /// When.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}

/// The sorts of ends.
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
    /// It was reset without notice, or its process died.
    Lost,
    /// It did not come up.
    StartFailed,
}

/// How the guest's network reaches us.
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
    /// The host to connect to.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// Whom to log in as.
    pub user: String,
    /// The path of the private key.
    pub key: String,
    /// The path of the known_hosts file that pins the VM's host key.
    pub known_hosts: String,
    /// The name that the key is pinned under there.
    pub host_key_alias: String,
}

/// What a disk takes on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DiskView {
    /// Which disk: `root` or `work`.
    pub name: String,
    /// As large as the guest sees it, in bytes.
    pub size_bytes: u64,
    /// What its own file takes, in bytes, blocks that others share included where the driver is
    /// `reflink`.
    pub allocated_bytes: u64,
    /// What it shares with others, in bytes: the image's blocks. Absent where it cannot be told.
    pub shared_bytes: Option<u64>,
}

/// What a daemon took over of its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Reloaded {
    /// The keys that have another value from now on.
    pub changed: Vec<String>,
    /// The keys whose new value waits for the next start of the daemon.
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
    /// Where it is in its life.
    pub phase: Phase,
    /// Whether it stands still.
    #[serde(default)]
    pub paused: bool,
    /// Why it stands still; a note says what to do. Absent where it does not.
    #[serde(default)]
    pub pause_reason: Option<PauseReason>,
    /// Whether this run gives a rescue shell instead of the image's system.
    #[serde(default)]
    pub rescue: bool,
    /// The image that it was made from.
    pub image: String,
    /// What it has: while it runs, what its run was given.
    pub spec: VmSpec,
    /// What its next start gives it; absent where that is the same.
    #[serde(default)]
    pub pending: Option<VmSpec>,
    /// What its network is.
    pub network: NetworkKind,
    /// Its address, where it has one of its own.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub address: Option<Ipv4Addr>,
    /// Its name in the DNS.
    pub dns_name: String,
    /// How to reach it by SSH, while it runs.
    pub ssh: Option<SshView>,
    /// The hypervisor that runs it, or ran it last.
    pub hypervisor: Option<String>,
    /// The root-disk driver that it was made with.
    pub root_disk: String,
    /// What its disks take on the host; empty where it is one of a list.
    #[serde(default)]
    pub disks: Vec<DiskView>,
    /// The hypervisor's process number, while it runs.
    pub pid: Option<u32>,
    /// When it was made.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub created: Timestamp,
    /// When its guest became ready, while it runs.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub started: Option<Timestamp>,
    /// How its last run ended.
    pub last_end: Option<End>,
    /// What a user should know: no way out, a disk that could not grow …
    pub notes: Vec<String>,
}

/// A VM after a verb that may find nothing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VerbOutcome {
    /// The VM as it is now.
    #[serde(flatten)]
    pub vm: VmView,
    /// Whether it was so before, and nothing was done.
    #[serde(default)]
    pub already: bool,
}

impl VmView {
    /// What its next start gives it, and this run where nothing waits.
    #[must_use]
    pub fn next(&self) -> &VmSpec {
        self.pending.as_ref().unwrap_or(&self.spec)
    }
}

/// How a stop went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Stopped {
    /// The VM as it is now.
    #[serde(flatten)]
    pub vm: VmView,
    /// Whether the guest wrote everything to its disks first.
    pub synced: bool,
    /// Which step of the ladder ended it: `agent`, `power-button`, `terminate`, `kill`, or `gone`.
    pub by: String,
}

/// What became of one VM when all were stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StopOutcome {
    /// Its name.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub name: VmName,
    /// How its stop went, where it went well.
    pub stopped: Option<Stopped>,
    /// Why it did not, otherwise.
    pub error: Option<Error>,
}

/// How the stop of all VMs went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StoppedAll {
    /// Those that ran, by name.
    pub vms: Vec<StopOutcome>,
}

/// The daemon and what it speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VersionView {
    /// The version of the daemon's program.
    pub version: String,
    /// The version of the API that it speaks.
    pub api: u32,
}

/// The daemon as it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DaemonView {
    /// The version of its program.
    pub version: String,
    /// Its process number.
    pub pid: u32,
    /// How it changes the host: `direct`, `root-helper`, `user`, or `sim` where nothing is real.
    pub mode: String,
    /// The path of its socket.
    pub socket: String,
    /// Its state directory.
    pub state: String,
    /// The configuration file that it read when it started, whether it is there or not.
    #[serde(default)]
    pub config: String,
    /// The bundle that new VMs are made from.
    pub bundle: String,
    /// Why it is this bundle, in words.
    #[serde(default)]
    pub bundle_reason: String,
    /// Where the resolver answers, if it does.
    pub dns: Option<String>,
    /// When it started.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub started: Timestamp,
    /// The number of VMs.
    pub vms: usize,
    /// The number of those that run.
    pub running: usize,
    /// What it found at its start and could not explain.
    pub unexplained: Vec<String>,
    /// What environment variables of the daemon set in its configuration: a key's name, and the
    /// variable's value.
    #[serde(default)]
    pub overrides: crate::configuration::Overrides,
    /// How much it logs.
    #[serde(default)]
    pub log_level: crate::LogLevel,
}
