//! The state inside a running guest: its ports and its usage.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{DiskView, Endpoint, VmName};

/// A socket of a guest that takes connections or datagrams, as the guest reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PortView {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The address that it is bound to in the guest.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The process that has it open, in the guest. Null if none was found.
    pub pid: Option<u32>,
    /// That process's name. Null if none was found.
    pub process: Option<String>,
    /// Where the daemon's machine listens for it: the forwards that the daemon holds.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>))]
    pub forwarded_from: Vec<Endpoint>,
}

/// What a running VM uses. Counters grow; a rate is the difference of two views by their times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StatsView {
    /// The VM's name.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub name: VmName,
    /// When this was measured.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub time: Timestamp,
    /// The number of virtual CPUs.
    pub vcpu: u32,
    /// What its process uses on the host.
    pub host: HostUsage,
    /// What the guest reports. Null if it does not answer.
    pub guest: Option<GuestUsage>,
    /// Why the guest does not answer. Null if it does.
    pub guest_error: Option<String>,
    /// Its disks.
    pub disks: Vec<DiskView>,
}

/// What a VM's process uses on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostUsage {
    /// The CPU time since its start, in milliseconds.
    pub cpu_millis: u64,
    /// Its memory, in bytes.
    pub memory_bytes: u64,
    /// Whether pages that several processes share count in parts (PSS) and not in full (RSS), which
    /// is all that the daemon sees of another user's process.
    pub shared_evenly: bool,
}

/// What a guest reports of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct GuestUsage {
    /// The time since its kernel started, in milliseconds.
    pub uptime_millis: u64,
    /// The time that its CPUs worked, all together, in milliseconds.
    pub cpu_millis: u64,
    /// The load average of the last minute, in hundredths.
    pub load_hundredths: u32,
    /// The memory of its kernel, in bytes.
    pub memory_bytes: u64,
    /// The part of it that programs could still get, in bytes.
    pub available_bytes: u64,
    /// What its network interfaces received, in bytes.
    pub received_bytes: u64,
    /// What they sent, in bytes.
    pub sent_bytes: u64,
    /// What it read from its disks, in bytes. Null if its guest program is of an older banger.
    #[serde(default)]
    pub read_bytes: Option<u64>,
    /// What it wrote to its disks, in bytes. Null if its guest program is of an older banger.
    #[serde(default)]
    pub written_bytes: Option<u64>,
    /// The number of processes that its out-of-memory killer has killed since boot. Null if its guest program is of an older
    /// banger.
    #[serde(default)]
    pub oom_kills: Option<u64>,
}
