//! The requests of Firecracker's API that banger uses, as types.
//!
//! A test compares them with Firecracker's own description,
//! `src/firecracker/swagger/firecracker.yaml`. Firecracker rejects unknown fields, so optional ones
//! that are not set are absent.

use serde::Serialize;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// Its version.
    Version,
    /// The number of CPUs, and the memory.
    Machine(MachineConfiguration),
    /// The kernel, the initramfs and the command line.
    BootSource(BootSource),
    /// A disk.
    Drive(Drive),
    /// A network interface.
    Interface(NetworkInterface),
    /// The channel to the guest.
    Vsock(Vsock),
    /// The source of randomness.
    Entropy(EntropyDevice),
    /// The balloon, through which the guest returns memory.
    Balloon(Balloon),
    /// An action.
    Action(Action),
}

/// `MachineConfiguration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct MachineConfiguration {
    /// 1 to 32.
    pub(super) vcpu_count: u32,
    /// In MiB.
    pub(super) mem_size_mib: u64,
}

/// `BootSource`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct BootSource {
    pub(super) kernel_image_path: String,
    pub(super) initrd_path: String,
    pub(super) boot_args: String,
}

/// `Drive`, backed by a raw file or a block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Drive {
    /// Letters, digits and underscores.
    pub(super) drive_id: String,
    pub(super) path_on_host: String,
    /// Always false: Firecracker would add `root=` to the command line.
    pub(super) is_root_device: bool,
    pub(super) is_read_only: bool,
    pub(super) cache_type: CacheType,
    pub(super) io_engine: IoEngine,
}

/// The effect of a guest's flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum CacheType {
    /// It reaches the host's disk.
    Writeback,
    /// It is dropped.
    Unsafe,
}

/// How the host's files are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum IoEngine {
    /// Plain system calls; the alternative is a developer preview.
    Sync,
}

/// `NetworkInterface`, on a TAP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NetworkInterface {
    /// Letters, digits and underscores.
    pub(super) iface_id: String,
    /// The TAP's name.
    pub(super) host_dev_name: String,
    pub(super) guest_mac: String,
    /// The largest packet, in bytes: 68 to 65535.
    pub(super) mtu: u32,
}

/// `Vsock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Vsock {
    /// 3 or more; local to one Firecracker.
    pub(super) guest_cid: u32,
    /// The socket that Firecracker listens on.
    pub(super) uds_path: String,
}

/// `EntropyDevice`, without a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct EntropyDevice {}

/// `Balloon`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Balloon {
    /// Its size in MiB.
    pub(super) amount_mib: u64,
    /// Whether a guest out of memory takes it back.
    pub(super) deflate_on_oom: bool,
    /// Whether the guest reports pages that it does not use, which the host takes back.
    pub(super) free_page_reporting: bool,
}

/// `InstanceActionInfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "action_type")]
pub(super) enum Action {
    /// Boots the machine; once.
    InstanceStart,
    /// Presses Ctrl-Alt-Del, which makes Linux shut down.
    SendCtrlAltDel,
}

impl Request {
    /// Its method.
    pub(super) fn method(&self) -> &'static str {
        match self {
            Self::Version => "GET",
            Self::Machine(_)
            | Self::BootSource(_)
            | Self::Drive(_)
            | Self::Interface(_)
            | Self::Vsock(_)
            | Self::Entropy(_)
            | Self::Balloon(_)
            | Self::Action(_) => "PUT",
        }
    }

    /// Its path.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Version => "/version".to_owned(),
            Self::Machine(_) => "/machine-config".to_owned(),
            Self::BootSource(_) => "/boot-source".to_owned(),
            Self::Drive(drive) => format!("/drives/{}", drive.drive_id),
            Self::Interface(interface) => format!("/network-interfaces/{}", interface.iface_id),
            Self::Vsock(_) => "/vsock".to_owned(),
            Self::Entropy(_) => "/entropy".to_owned(),
            Self::Balloon(_) => "/balloon".to_owned(),
            Self::Action(_) => "/actions".to_owned(),
        }
    }

    /// Its body, as JSON; empty if it has none.
    ///
    /// # Errors
    /// None in practice: these types have no value that JSON cannot represent.
    pub(super) fn body(&self) -> serde_json::Result<Vec<u8>> {
        match self {
            Self::Version => Ok(Vec::new()),
            Self::Machine(body) => serde_json::to_vec(body),
            Self::BootSource(body) => serde_json::to_vec(body),
            Self::Drive(body) => serde_json::to_vec(body),
            Self::Interface(body) => serde_json::to_vec(body),
            Self::Vsock(body) => serde_json::to_vec(body),
            Self::Entropy(body) => serde_json::to_vec(body),
            Self::Balloon(body) => serde_json::to_vec(body),
            Self::Action(body) => serde_json::to_vec(body),
        }
    }

    /// The description of its subject.
    pub(super) fn about(&self) -> String {
        match self {
            Self::Version => "its version".to_owned(),
            Self::Machine(body) => format!(
                "{} CPUs and {} MiB of memory",
                body.vcpu_count, body.mem_size_mib
            ),
            Self::BootSource(body) => format!("the kernel `{}`", body.kernel_image_path),
            Self::Drive(body) => format!("the disk `{}`", body.path_on_host),
            Self::Interface(body) => format!("the interface on the TAP `{}`", body.host_dev_name),
            Self::Vsock(body) => format!("the channel `{}`", body.uds_path),
            Self::Entropy(_) => "the source of randomness".to_owned(),
            Self::Balloon(_) => "the balloon".to_owned(),
            Self::Action(Action::InstanceStart) => "the start of the machine".to_owned(),
            Self::Action(Action::SendCtrlAltDel) => "the power button".to_owned(),
        }
    }
}
