//! What only a run has, and what is left of it when it is over.

use banger_api::VmSpec;
use banger_host::{Owner, Process};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One run, from the start of its boot to the end of the way down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// When its boot began.
    pub at: Timestamp,
    /// The host's boot that it belongs to.
    pub host_boot_id: String,
    /// The settings that it has: those of its start, and of later ones what takes effect at once.
    pub in_force: VmSpec,
    /// Whether it gives a rescue shell instead of the image's system.
    pub rescue: bool,
    /// The user that root's jail makes its hypervisor, while its files are the daemon's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jailed_as: Option<Owner>,
    /// The hypervisor's process, once there is one.
    pub process: Option<Process>,
    /// When its guest became ready.
    pub started: Option<Timestamp>,
    /// What its user should know of it.
    pub notes: Vec<String>,
}

impl Run {
    /// A run that begins at this time, on the host's boot with this id.
    #[must_use]
    pub fn begin(in_force: VmSpec, at: Timestamp, host_boot_id: String) -> Self {
        Self {
            at,
            host_boot_id,
            in_force,
            rescue: false,
            jailed_as: None,
            process: None,
            started: None,
            notes: Vec::new(),
        }
    }
}

/// The newest boot, of which the VM keeps this when its run is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBoot {
    /// How many times the VM was started, this time included.
    pub number: u64,
    /// Where this boot's part of the console begins, in bytes.
    pub console_offset: u64,
    /// The hypervisor's name.
    pub hypervisor: String,
}
