//! The guest config: everything that one start of a guest needs to know.
//!
//! The daemon renders a [`GuestConfig`] at each start and packs it as [`CONFIG_PATH`] into the
//! second archive of the initramfs, beside the guest program of its own build. A config of another
//! schema, or with fields that this build does not know, is rejected in words.

mod validate;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The schema that this build writes and reads.
pub const SCHEMA: u32 = 1;

/// Where the config lies in the initramfs.
pub const CONFIG_PATH: &str = "/banger/config.json";

/// What is wrong with a guest config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Made by a newer or an older banger.
    #[error("the guest config has schema {found}, and this guest program reads {SCHEMA}")]
    Schema {
        /// The schema of the config.
        found: u32,
    },
    /// Not JSON, or not the JSON of a guest config.
    #[error("the guest config is not readable: {0}")]
    Unreadable(String),
    /// A value that must not be.
    #[error("the guest config's `{field}` is not valid: {problem}")]
    Invalid {
        /// The name of the field.
        field: &'static str,
        /// What is wrong with it, with the value.
        problem: String,
    },
}

/// What the daemon tells a guest before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestConfig {
    /// Always [`SCHEMA`] in a config that this build writes.
    pub schema: u32,
    /// A DNS label. Set at each start; written to `/etc/hostname` at first boot, and where that has
    /// one of `former_hostnames`.
    pub hostname: String,
    /// The names that the guest may still have from before the VM was renamed.
    #[serde(default)]
    pub former_hostnames: Vec<String>,
    /// 32 lower-case hexadecimal digits; written where the image has none yet, or has one of
    /// `former_machine_ids`.
    pub machine_id: String,
    /// The machine-ids that the disk may still have from the VM that this one is a clone of.
    #[serde(default)]
    pub former_machine_ids: Vec<String>,
    /// Kernel modules inside the initramfs in the order of loading, such as
    /// `/modules/virtio_blk.ko`; uncompressed.
    pub modules: Vec<String>,
    /// The root file system.
    pub root: Root,
    /// Further disks, mounted in this order.
    pub disks: Vec<Disk>,
    /// The guest's network interface; `None` leaves it with the loopback interface alone.
    pub network: Option<Network>,
    /// Where names are resolved.
    pub dns: Resolvers,
    /// Lines for `/etc/hosts` beside those of `localhost`; written at first boot, after which only
    /// the names in them change.
    pub hosts: Vec<HostsLine>,
    /// Files to write, in this order.
    pub files: Vec<File>,
    /// The host's clock when the config was rendered, in nanoseconds since 1970; the guest sets
    /// its clock early if it is behind that, or more than a minute ahead.
    pub clock_unix_nanos: Option<u64>,
    /// Gives a shell on the console, with the root file system read-only, instead of starting.
    pub rescue: bool,
}

/// The root file system's device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// Such as `/dev/vda`.
    pub device: String,
    /// Only `ext4` is known.
    pub fstype: String,
}

/// A further disk with an ext4 file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Such as `/dev/vdb`.
    pub device: String,
    /// The directory to mount it at, such as `/root`.
    pub mount: String,
    /// Whether to fill it with the image's own content of that directory on first use.
    pub seed: bool,
    /// Whether the file system is to grow when its device grew.
    pub grow: bool,
}

/// One network interface with one IPv4 address and a default route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The interface's name inside the guest, such as `eth0`.
    pub interface: String,
    /// The guest's address.
    pub address: Ipv4Addr,
    /// The address's prefix length: 32 on a routed TAP, 24 with QEMU's user networking.
    pub prefix: u8,
    /// The next hop of the default route.
    pub gateway: Ipv4Addr,
    /// Whether the gateway needs a route of its own, as it does beside a prefix of 32.
    pub on_link_gateway: bool,
    /// In bytes; `None` leaves what the driver chose.
    pub mtu: Option<u32>,
}

/// The content of `resolv.conf`. It crosses builds, as an ask of [`protocol`](crate::protocol).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolvers {
    /// The name servers, the best first.
    pub servers: Vec<IpAddr>,
    /// The domains in which short names are looked up.
    pub search: Vec<String>,
}

impl Resolvers {
    /// The text of a `resolv.conf` that says this.
    #[must_use]
    pub fn resolv_conf(&self) -> String {
        let mut text = String::from("# Written by banger; edits are lost.\n");
        for server in &self.servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if !self.search.is_empty() {
            text.push_str(&format!("search {}\n", self.search.join(" ")));
        }
        text
    }
}

/// Where a login finds the greeting that has the VM's name.
pub const GREETING_PATH: &str = "/run/motd.d/10-banger";

/// Another name for a guest that runs. It crosses builds, as an ask of
/// [`protocol`](crate::protocol).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewName {
    /// The names that the guest may still have; files that have another one are the user's.
    pub former: Vec<String>,
    /// The new one, a DNS label.
    pub hostname: String,
    /// What a login shows from now on, the content of [`GREETING_PATH`].
    pub greeting: String,
}

/// One line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostsLine {
    /// The address.
    pub address: IpAddr,
    /// The names that it has. The first is the canonical one, which `hostname -f` answers.
    pub names: Vec<String>,
}

/// A file to write into the guest at each start. It lies in `/run` or is a drop-in of ours (a file with
/// `banger` in its name in a directory whose name ends in `.d`): a user's edits are never overwritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where, absolute. Directories above it are made (root, 0755) where they are missing.
    pub path: String,
    /// The permission bits, such as 0o600.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The owner's group.
    pub gid: u32,
    /// What is in it.
    pub content: Content,
}

/// The content of a file; bytes that are not UTF-8 travel as base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// As it is.
    Text(String),
    /// In the standard alphabet, padded.
    Base64(String),
}

impl Content {
    /// The content of these bytes, as text if they are text.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(STANDARD.encode(bytes)),
        }
    }

    /// The bytes to write.
    ///
    /// # Errors
    /// When the base64 is none; says where.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::Base64(text) => STANDARD.decode(text).map_err(|cause| cause.to_string()),
        }
    }
}

/// Host keys are among the files, so the content never gets into a log.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Base64(text) => write!(f, "Base64({} characters)", text.len()),
        }
    }
}

impl GuestConfig {
    /// A config for a root device, with nothing else in it: no disks, network or files.
    #[must_use]
    pub fn new(hostname: &str, machine_id: &str, root_device: &str) -> Self {
        Self {
            schema: SCHEMA,
            hostname: hostname.to_owned(),
            former_hostnames: Vec::new(),
            machine_id: machine_id.to_owned(),
            former_machine_ids: Vec::new(),
            modules: Vec::new(),
            root: Root {
                device: root_device.to_owned(),
                fstype: "ext4".to_owned(),
            },
            disks: Vec::new(),
            network: None,
            dns: Resolvers::default(),
            hosts: Vec::new(),
            files: Vec::new(),
            clock_unix_nanos: None,
            rescue: false,
        }
    }

    /// Reads a config and validates it.
    ///
    /// # Errors
    /// [`ConfigError::Schema`] before anything else is looked at, so that a config of another
    /// banger is refused for what it is.
    pub fn from_json(json: &[u8]) -> Result<Self, ConfigError> {
        #[derive(Deserialize)]
        struct Versioned {
            schema: u32,
        }
        let unreadable = |cause: serde_json::Error| ConfigError::Unreadable(cause.to_string());
        let Versioned { schema } = serde_json::from_slice(json).map_err(unreadable)?;
        if schema != SCHEMA {
            return Err(ConfigError::Schema { found: schema });
        }
        let config: Self = serde_json::from_slice(json).map_err(unreadable)?;
        config.validate()?;
        Ok(config)
    }

    /// The config as JSON, validated.
    ///
    /// # Errors
    /// As [`GuestConfig::validate`].
    pub fn to_json(&self) -> Result<Vec<u8>, ConfigError> {
        self.validate()?;
        serde_json::to_vec(self).map_err(|cause| ConfigError::Unreadable(cause.to_string()))
    }
}
