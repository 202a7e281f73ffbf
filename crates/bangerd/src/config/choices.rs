//! The keys whose value is one of a few words.

/// The choice of the hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HypervisorChoice {
    /// The first one whose checks pass.
    Auto,
    /// Firecracker only.
    Firecracker,
    /// QEMU only.
    Qemu,
}

impl HypervisorChoice {
    /// Its value in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Firecracker => "firecracker",
            Self::Qemu => "qemu",
        }
    }
}

/// The choice of the root-disk driver for new VMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootDiskChoice {
    /// The first one whose check passes.
    Auto,
    /// Shared blocks of the host's file system.
    Reflink,
    /// A device-mapper snapshot.
    DmSnapshot,
    /// A sparse copy.
    Copy,
}

impl RootDiskChoice {
    /// Its value in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Reflink => "reflink",
            Self::DmSnapshot => "dm-snapshot",
            Self::Copy => "copy",
        }
    }
}

/// The choice of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkChoice {
    /// TAPs if banger may create them, and user networking otherwise.
    Auto,
    /// A routed TAP for each VM.
    Tap,
    /// QEMU's user networking.
    User,
}

impl NetworkChoice {
    /// Its value in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tap => "tap",
            Self::User => "user",
        }
    }
}
