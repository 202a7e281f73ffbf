//! Every path that banger uses below its state directory, with a remark on each.
//!
//! ```text
//! <state>/
//!   lock                      held by the one daemon of this directory
//!   kind                      whether the VMs here are real or simulated
//!   bangerd.log               the daemon's log
//!   advice-given              exists after a new user got the advice on routing names
//!   settings.json             an older daemon's record of the host's settings
//!   ssh/                      this installation's key pair, the pinned host keys, and how ssh reaches VMs
//!   downloads/<sha256>        the cache of downloads
//!   images/<digest>/          immutable images and kernels, shared by VMs
//!   image-names/<name>.json   which image a name stands for
//!   volumes/<name>.img        the volumes
//!   image-work/               images that are being made
//!   image-build/<name>.*.log  what the last builds of images wrote
//!   vms/<id>/vm.json          a VM's record; `deleting.json` while it is being removed
//!   vms/<id>/machine/         its hypervisor's working directory, owned by the hypervisor's user
//!   jails/<program>/<name>/   the root directory of a jailed hypervisor, while it runs
//! ```

use std::path::{Path, PathBuf};

use banger_api::VmId;

/// The name of a VM's record in its folder.
pub const RECORD: &str = "vm.json";

/// Its name while the VM is being deleted.
pub const DELETING: &str = "deleting.json";

/// The paths below one state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    state: PathBuf,
}

impl Layout {
    /// The paths below `state`, an absolute path.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self {
            state: state.into(),
        }
    }

    /// The state directory, 0700.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Locked by the one daemon that owns this state directory.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.state.join("lock")
    }

    /// Whether the VMs here are real or simulated; written by the first daemon.
    #[must_use]
    pub fn kind(&self) -> PathBuf {
        self.state.join("kind")
    }

    /// The daemon's log, one JSON object per line.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.state.join("bangerd.log")
    }

    /// An older daemon's record of the host settings that it changed, with their old values.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.state.join("settings.json")
    }

    /// A mark that the first user has had the advice.
    #[must_use]
    pub fn advice_given(&self) -> PathBuf {
        self.state.join("advice-given")
    }

    /// The VMs that start with the current boot of the host, with the outcomes.
    #[must_use]
    pub fn autostart(&self) -> PathBuf {
        self.state.join("autostart.json")
    }

    /// The folder of keys.
    #[must_use]
    pub fn ssh(&self) -> PathBuf {
        self.state.join("ssh")
    }

    /// This installation's private key; the public one is beside it, with `.pub`.
    #[must_use]
    pub fn ssh_key(&self) -> PathBuf {
        self.ssh().join("id_ed25519")
    }

    /// The configuration by which ssh reaches every VM, in the format of `ssh_config`(5).
    #[must_use]
    pub fn ssh_config(&self) -> PathBuf {
        self.ssh().join("config")
    }

    /// The folder of the pinned host keys, one file per VM, named by its id.
    #[must_use]
    pub fn known_hosts_folder(&self) -> PathBuf {
        self.ssh().join("known_hosts.d")
    }

    /// The pinned host key of one VM, in the format of known_hosts (sshd(8)).
    #[must_use]
    pub fn known_hosts(&self, id: VmId) -> PathBuf {
        self.known_hosts_folder().join(id.to_string())
    }

    /// The bundles with kernels that the configuration names.
    #[must_use]
    pub fn own_kernel(&self) -> PathBuf {
        self.state.join("own-kernel")
    }

    /// The cache of downloads: complete files by their SHA-256, and partial ones.
    #[must_use]
    pub fn downloads(&self) -> PathBuf {
        self.state.join("downloads")
    }

    /// The folder of all images.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.state.join("images")
    }

    /// One imported image: a root file system, or a kernel with its first initramfs archive.
    #[must_use]
    pub fn image(&self, digest: &str) -> ImageLayout {
        ImageLayout {
            folder: self.images().join(digest),
        }
    }

    /// The folder of the images' names.
    #[must_use]
    pub fn image_names(&self) -> PathBuf {
        self.state.join("image-names")
    }

    /// The folder of the volumes, 0700.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.state.join("volumes")
    }

    /// The folder for images under construction; empty otherwise.
    #[must_use]
    pub fn image_work(&self) -> PathBuf {
        self.state.join("image-work")
    }

    /// What `image import` makes of a source, for the daemon to take over.
    #[must_use]
    pub fn image_import(&self) -> PathBuf {
        self.state.join("image-import")
    }

    /// The logs of the last builds of images.
    #[must_use]
    pub fn image_builds(&self) -> PathBuf {
        self.state.join("image-build")
    }

    /// The parent of Firecracker's jails: owned by root, 0711.
    #[must_use]
    pub fn jails(&self) -> PathBuf {
        self.state.join("jails")
    }

    /// The folder of all VMs.
    #[must_use]
    pub fn vms(&self) -> PathBuf {
        self.state.join("vms")
    }

    /// One VM.
    #[must_use]
    pub fn vm(&self, id: VmId) -> VmLayout {
        VmLayout {
            folder: self.vms().join(id.to_string()),
        }
    }
}

/// The paths of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayout {
    folder: PathBuf,
}

impl ImageLayout {
    /// The folder, named by the digest of its content.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The image's record, written last: without it an image is incomplete.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.folder.join("image.json")
    }

    /// The base root file system, read-only.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.join("rootfs.ext4")
    }

    /// The uncompressed kernel.
    #[must_use]
    pub fn kernel(&self) -> PathBuf {
        self.folder.join("vmlinux")
    }

    /// The first archive of the initramfs: the modules that `/init` needs.
    #[must_use]
    pub fn base_archive(&self) -> PathBuf {
        self.folder.join("base.cpio")
    }
}

/// The paths of one VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmLayout {
    folder: PathBuf,
}

/// The names in the machine's folder, relative to which the hypervisor works.
pub mod machine {
    /// The writable root disk.
    pub const ROOT_DISK: &str = "root.img";
    /// The work disk, `/root` in the guest.
    pub const WORK_DISK: &str = "work.img";
    /// The prefix of the names of volumes, which exist while the VM runs.
    pub const VOLUME: &str = "volume-";
    /// The kernel: a hard link to the image's file, which exists while the VM runs.
    pub const KERNEL: &str = "vmlinux";
    /// Both archives of the initramfs, which exist while the VM runs.
    pub const INITRAMFS: &str = "initramfs";
    /// The guest's console output, bounded, kept across runs.
    pub const CONSOLE: &str = "console.log";
    /// The input of the guest's console: a FIFO, which exists while the VM runs.
    pub const CONSOLE_INPUT: &str = "console.in";
    /// Firecracker's name for a root disk that is a block device: a link to its node.
    pub const ROOT_DEVICE: &str = "root.dev";
    /// The channel to the guest's agent.
    pub const AGENT: &str = "agent.sock";
    /// QEMU's port for the agent's streams.
    pub const STREAMS: &str = "streams.sock";
    /// QEMU's port for shared folders.
    pub const SHARE: &str = "share.sock";
    /// QEMU's socket for the guest's frames, on user networking.
    pub const GUEST_SOCKET: &str = "guest.sock";
    /// QEMU's socket for its user networking.
    pub const OUTSIDE_SOCKET: &str = "outside.sock";
    /// The output of the gate between the two, usually empty.
    pub const GATE_LOG: &str = "gate.log";
    /// QEMU's control socket.
    pub const QMP: &str = "qmp.sock";
    /// Firecracker's API.
    pub const FIRECRACKER_SOCKET: &str = "firecracker.sock";
    /// The hypervisor's own log.
    pub const HYPERVISOR_LOG: &str = "hypervisor.log";
    /// Firecracker's standard error, usually empty.
    pub const HYPERVISOR_ERRORS: &str = "hypervisor.err";
    /// Firecracker's metrics of the current or last run, one line of JSON per minute.
    pub const METRICS: &str = "metrics.json";
}

impl VmLayout {
    /// The VM's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The record, written by the store only; removed last.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.folder.join(RECORD)
    }

    /// The record of a VM that is being deleted.
    #[must_use]
    pub fn deleting(&self) -> PathBuf {
        self.folder.join(DELETING)
    }

    /// The hypervisor's working directory, owned by its user.
    #[must_use]
    pub fn machine(&self) -> PathBuf {
        self.folder.join("machine")
    }

    /// The store of the root disk with the driver `dm-snapshot`. Only the kernel reads it, so it is
    /// outside the hypervisor's folder.
    #[must_use]
    pub fn root_store(&self) -> PathBuf {
        self.folder.join("root.cow")
    }

    /// A file in the machine's folder.
    #[must_use]
    pub fn in_machine(&self, name: &str) -> PathBuf {
        self.machine().join(name)
    }
}
