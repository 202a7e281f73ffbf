//! The guest config: everything that a guest needs to know for one start.
//!
//! The daemon renders a [`GuestConfig`] at each start, and packs it as [`CONFIG_PATH`] into the
//! second archive of the initramfs, beside the guest program of its own build. A config with
//! another schema, or with fields that this build does not know, is rejected with a reason.

mod validate;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The schema that this build writes and reads.
pub const SCHEMA: u32 = 1;

/// The path of the config in the initramfs.
pub const CONFIG_PATH: &str = "/banger/config.json";

/// The trouble with a guest config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The config is that of a newer or an older banger.
    #[error("the guest config has schema {found}, and this guest program reads {SCHEMA}")]
    Schema {
        /// The schema of the config.
        found: u32,
    },
    /// The text is not JSON, or not a guest config.
    #[error("the guest config is not readable: {0}")]
    Unreadable(String),
    /// A value is not allowed.
    #[error("the guest config's `{field}` is not valid: {problem}")]
    Invalid {
        /// The name of the field.
        field: &'static str,
        /// The trouble with it, quoting the value.
        problem: String,
    },
}

/// The daemon's instructions to a guest before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestConfig {
    /// Always [`SCHEMA`] in a config that this build writes.
    pub schema: u32,
    /// The host name, a DNS label. The kernel's name is set at each start. `/etc/hostname` is
    /// written at first boot, and when it has one of `former_hostnames`.
    pub hostname: String,
    /// The names that the guest may still have from before the VM was renamed.
    #[serde(default)]
    pub former_hostnames: Vec<String>,
    /// The machine-id, 32 lower-case hexadecimal digits. It is written if the image has none yet,
    /// or one of `former_machine_ids`.
    pub machine_id: String,
    /// The machine-ids that a clone's disk may still have from its original.
    #[serde(default)]
    pub former_machine_ids: Vec<String>,
    /// Kernel modules in the initramfs, uncompressed, in the order of loading, such as
    /// `/modules/virtio_blk.ko`.
    pub modules: Vec<String>,
    /// The root file system.
    pub root: Root,
    /// Further disks, mounted in this order.
    pub disks: Vec<Disk>,
    /// The guest's network interface; with `None` the guest has loopback only.
    pub network: Option<Network>,
    /// The resolvers.
    pub dns: Resolvers,
    /// Lines for `/etc/hosts` beside those of `localhost`. They are written at first boot;
    /// afterwards only the names in them change.
    pub hosts: Vec<HostsLine>,
    /// Files to write, in this order.
    pub files: Vec<File>,
    /// The host's clock when the config was rendered, in nanoseconds since 1970. The guest sets its
    /// clock early if it is behind that, or more than a minute ahead.
    pub clock_unix_nanos: Option<u64>,
    /// Whether the guest gives a shell on the console, with the root file system read-only, instead
    /// of starting.
    pub rescue: bool,
}

/// The root file system's device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// The device, such as `/dev/vda`.
    pub device: String,
    /// The type, always `ext4`.
    pub fstype: String,
}

/// A further disk with an ext4 file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// The device, such as `/dev/vdb`.
    pub device: String,
    /// The directory to mount it at, such as `/root`.
    pub mount: String,
    /// Whether its first use fills it with the image's own content of that directory.
    pub seed: bool,
    /// Whether the file system grows when its device has grown.
    pub grow: bool,
}

/// One network interface with one IPv4 address and a default route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The interface's name inside the guest, such as `eth0`.
    pub interface: String,
    /// The guest's IPv4 address.
    pub address: Ipv4Addr,
    /// The address's prefix length: 32 on a routed TAP, 24 with QEMU's user networking.
    pub prefix: u8,
    /// The next hop of the default route.
    pub gateway: Ipv4Addr,
    /// Whether the gateway needs a route of its own, as with a prefix of 32.
    pub on_link_gateway: bool,
    /// The MTU in bytes; `None` keeps the driver's.
    pub mtu: Option<u32>,
}

/// The content of `resolv.conf`. It is also an ask of [`protocol`](crate::protocol), so other
/// builds read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolvers {
    /// The name servers, in order of preference.
    pub servers: Vec<IpAddr>,
    /// The search domains for short names.
    pub search: Vec<String>,
}

impl Resolvers {
    /// The text of a `resolv.conf` with these resolvers.
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

/// The file with the greeting that a login shows, which has the VM's name.
pub const GREETING_PATH: &str = "/run/motd.d/10-banger";

/// A new name for a running guest. It is also an ask of [`protocol`](crate::protocol), so other
/// builds read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewName {
    /// The names that the guest may still have; a file with any other name is the user's.
    pub former: Vec<String>,
    /// The new name, a DNS label.
    pub hostname: String,
    /// The new greeting, the content of [`GREETING_PATH`].
    pub greeting: String,
}

/// One line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostsLine {
    /// The address.
    pub address: IpAddr,
    /// Its names. The first is the canonical one, which `hostname -f` prints.
    pub names: Vec<String>,
}

/// A file that is written into the guest at each start. It is in `/run` or is a drop-in of banger's
/// (a file with `banger` in its name, in a directory whose name ends in `.d`), so that a user's
/// edits are never overwritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its absolute path. Missing parent directories are created (root, 0755).
    pub path: String,
    /// Its permission bits, such as 0o600.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its content.
    pub content: Content,
}

/// The content of a file; bytes that are not UTF-8 are encoded as base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// The text itself.
    Text(String),
    /// Base64 in the standard alphabet, with padding.
    Base64(String),
}

impl Content {
    /// The content of these bytes: text if they are UTF-8.
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
    /// If the base64 is invalid, with the position.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::Base64(text) => STANDARD.decode(text).map_err(|cause| cause.to_string()),
        }
    }
}

/// Host keys are among the files, so the content must not appear in a log.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Base64(text) => write!(f, "Base64({} characters)", text.len()),
        }
    }
}

impl GuestConfig {
    /// A config with only a root device: no disks, network or files.
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

    /// Parses a config and validates it.
    ///
    /// # Errors
    /// [`ConfigError::Schema`] before any other check, so that a config of another banger gets this
    /// error.
    pub fn from_json(json: &[u8]) -> Result<Self, ConfigError> {
        #[derive(Deserialize)]
        struct VersionedConfig {
            schema: u32,
        }
        let unreadable = |cause: serde_json::Error| ConfigError::Unreadable(cause.to_string());
        let VersionedConfig { schema } = serde_json::from_slice(json).map_err(unreadable)?;
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
    /// Those of [`GuestConfig::validate`].
    pub fn to_json(&self) -> Result<Vec<u8>, ConfigError> {
        self.validate()?;
        serde_json::to_vec(self).map_err(|cause| ConfigError::Unreadable(cause.to_string()))
    }
}
