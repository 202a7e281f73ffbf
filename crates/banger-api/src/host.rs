//! The machine that a daemon runs on: its free memory and disk space, and its abilities.

use serde::{Deserialize, Serialize};

/// The host of a daemon at this moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostView {
    /// Its name, as `uname -n` prints it.
    pub name: String,
    /// Its processors' architecture, such as `x86_64`.
    pub architecture: String,
    /// The version of the daemon's program.
    pub version: String,
    /// Whether its VMs are simulated.
    pub simulated: bool,
    /// The number of CPUs that VMs may use.
    pub cpus: u32,
    /// The load average of the last 1, 5 and 15 minutes: threads that run or wait for a CPU.
    pub load: [f64; 3],
    /// Its memory in MiB.
    pub memory_mib: u64,
    /// The memory in MiB that programs can still get without swapping (`MemAvailable`).
    pub memory_free_mib: u64,
    /// The sum in MiB of the memory of all running VMs, whether or not they have touched it.
    pub memory_of_vms_mib: u64,
    /// The size in MiB of the file system that holds the state directory.
    pub disk_mib: u64,
    /// The free space in MiB of that file system.
    pub disk_free_mib: u64,
    /// The hypervisors, the one for new VMs first.
    pub hypervisors: Vec<HypervisorView>,
    /// The images that VMs can be created from, by name.
    pub images: Vec<HostImage>,
    /// The number of VMs.
    pub vms: usize,
    /// The number of running VMs.
    pub running: usize,
}

/// A hypervisor on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HypervisorView {
    /// Its name: `firecracker`, `firecracker-jailed`, `qemu` or `sim`.
    pub name: String,
    /// Whether it can run here.
    pub available: bool,
    /// Why it cannot.
    pub reason: Option<String>,
}

/// An image on a host. Images with the same digest have the same content on all hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostImage {
    /// Its name.
    pub name: String,
    /// Its SHA-256, in hexadecimal.
    pub digest: String,
}

impl HostView {
    /// The memory in MiB that is left for a new VM: free, and not promised to a running VM.
    #[must_use]
    pub fn memory_room_mib(&self) -> u64 {
        let unpromised = self.memory_mib.saturating_sub(self.memory_of_vms_mib);
        self.memory_free_mib.min(unpromised)
    }

    /// Whether new VMs can run here.
    #[must_use]
    pub fn can_run_vms(&self) -> bool {
        self.hypervisors.first().is_some_and(|it| it.available)
    }
}
