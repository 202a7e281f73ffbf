//! The state of a run, and the part of it that remains afterwards.

use banger_api::{Forward, VmSpec};
use banger_host::{Owner, Process};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A run, from the beginning of its boot to the end of its teardown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The time at which its boot began.
    pub at: Timestamp,
    /// The host's boot id at that time.
    pub host_boot_id: String,
    /// Its settings: those of its start, with later changes that take effect at once.
    pub in_force: VmSpec,
    /// Whether it boots into a rescue shell instead of the image's system.
    pub rescue: bool,
    /// The user of its hypervisor in a jail of the root helper; the files belong to the daemon's
    /// user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jailed_as: Option<Owner>,
    /// The hypervisor's process, once there is one.
    pub process: Option<Process>,
    /// The time at which its guest became ready.
    pub started: Option<Timestamp>,
    /// The forwards that end with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forwards: Vec<Forward>,
    /// Notes for its user.
    pub notes: Vec<String>,
}

impl Run {
    /// A run that begins at this time, during the host's boot with this id.
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
            forwards: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// The last boot, which the VM keeps after its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBoot {
    /// The number of starts of the VM, this one included.
    pub number: u64,
    /// The offset of this boot in the console, in bytes.
    pub console_offset: u64,
    /// The hypervisor's name.
    pub hypervisor: String,
}
