//! The configuration: a TOML file whose keys are all optional.
//!
//! ```text
//! defaults ◄ what root grants this user ◄ file ◄ environment variables
//! ```
//!
//! A file that is not there means the defaults. A file that is there is taken whole or not at all:
//! whatever is wrong with it is said with file, line and column, the line itself, and what would
//! be right. Nothing is silently left at its default.

mod change;
mod keys;
mod of_daemon;
mod position;
mod values;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use banger_api::configuration::{Origin, Overrides, Setting, variable};
use banger_api::{Code, Error, LogLevel, Result, VmSpec};
use banger_host::{Claim, Subnet};

pub use change::{Change, change};
use position::Position;

use crate::machine::DiskCache;

/// The largest file that is read, in bytes. A real one has a few hundred.
const LARGEST: u64 = 1 << 20;

/// The longest time that the host's end may wait for all guests, in seconds. The unit that
/// `banger-root install` writes gives up a little later.
pub const LONGEST_SHUTDOWN: u64 = 300;

/// Which hypervisor runs the VMs.
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
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Firecracker => "firecracker",
            Self::Qemu => "qemu",
        }
    }
}

/// Which driver makes the root disks of new VMs.
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
    /// The word for it.
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

/// Which network the VMs have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkChoice {
    /// TAPs where we may make them, user networking elsewhere.
    Auto,
    /// A routed TAP a VM.
    Tap,
    /// QEMU's user networking.
    User,
}

impl NetworkChoice {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tap => "tap",
            Self::User => "user",
        }
    }
}

/// What a user may set once for all VMs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `log_level`: how much the daemon logs.
    pub log_level: LogLevel,
    /// `runtime_dir`: the bundle's folder, an absolute path; an option or a variable goes before it.
    pub runtime_dir: Option<PathBuf>,
    /// `hypervisor`.
    pub hypervisor: HypervisorChoice,
    /// `root_disk`.
    pub root_disk: RootDiskChoice,
    /// `disk_cache`: what becomes of guests' flushes, from each VM's next start on.
    pub disk_cache: DiskCache,
    /// `network`.
    pub network: NetworkChoice,
    /// `subnet`: where the VMs' addresses come from; its first address is exact, prefix 8 to 29.
    pub subnet: Subnet,
    /// `dns`: the guests' resolvers; empty for the host's own.
    pub dns: Vec<IpAddr>,
    /// `dns_port`: the port on 127.0.0.1 where `<name>.vm` is answered; 0 for none.
    pub dns_port: u16,
    /// `ssh_key_path`: the private key to log in with, an absolute path; banger's own otherwise.
    pub ssh_key_path: Option<PathBuf>,
    /// `namegen_path`: where names of VMs come from, an absolute path: a program that prints one, or a
    /// list of words; petnames otherwise.
    pub namegen_path: Option<PathBuf>,
    /// `image`: what a VM is made from when its `create` does not say.
    pub image: String,
    /// `vcpu`, `memory`, `disk_size`, `system_disk_size` and `nat`: what a new VM has where its
    /// `create` does not say.
    pub spec: VmSpec,
    /// `start_timeout_seconds`: how long a guest has to get ready, in seconds (1 to 3600).
    pub start_timeout_seconds: u64,
    /// `stop_timeout_seconds`: how long a guest has to end, in seconds (1 to 3600).
    pub stop_timeout_seconds: u64,
    /// `shutdown_timeout_seconds`: how long all guests together have to end when the host goes
    /// down, in seconds (1 to [`LONGEST_SHUTDOWN`]).
    pub shutdown_timeout_seconds: u64,
    /// `jailer`: whether new starts of Firecracker are jailed.
    pub jailer: bool,
    /// `qemu`: QEMU's program, an absolute path; looked up by its usual name otherwise.
    pub qemu: Option<PathBuf>,
    /// `firecracker_bin`: Firecracker's program, an absolute path; the bundle's, or one in its usual
    /// places otherwise.
    pub firecracker_bin: Option<PathBuf>,
    /// The keys that the file calls by an older name, and what they are called now, in words.
    pub renamed: Vec<String>,
    /// What environment variables set, whatever the file says.
    pub overrides: Overrides,
    /// Where the keys that somebody has set come from.
    pub origins: Origins,
}

/// Where the keys that somebody has set come from.
pub type Origins = BTreeMap<&'static str, Origin>;

impl Default for Config {
    fn default() -> Self {
        Self {
            log_level: LogLevel::default(),
            runtime_dir: None,
            hypervisor: HypervisorChoice::Auto,
            root_disk: RootDiskChoice::Auto,
            disk_cache: DiskCache::Writeback,
            network: NetworkChoice::Auto,
            subnet: Subnet {
                network: Ipv4Addr::new(10, 215, 0, 0),
                prefix: 20,
            },
            dns: Vec::new(),
            dns_port: 42069,
            ssh_key_path: None,
            namegen_path: None,
            image: "default".to_owned(),
            spec: VmSpec::default(),
            start_timeout_seconds: 120,
            stop_timeout_seconds: 30,
            shutdown_timeout_seconds: 60,
            jailer: false,
            qemu: None,
            firecracker_bin: None,
            renamed: Vec::new(),
            overrides: Overrides::new(),
            origins: Origins::new(),
        }
    }
}

impl Config {
    /// Reads the file at `path`; one that is not there means the defaults.
    ///
    /// # Errors
    /// `invalid`, for a file that cannot be read or does not say what it may. The first fault is
    /// the message, the others ride along.
    pub fn load(path: &Path) -> Result<Self> {
        Self::default().overlaid(path)
    }

    /// These defaults, and what the file at `path` says instead.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn overlaid(self, path: &Path) -> Result<Self> {
        match read(path)? {
            Some(bytes) => self.parse(path, &bytes),
            None => Ok(self),
        }
    }

    /// The defaults where an administrator has granted this user a network and a port
    /// (`banger system install`), so that two users of a host never have the same.
    #[must_use]
    pub fn granted(claim: &Claim) -> Self {
        Self {
            subnet: claim.subnet,
            dns_port: claim.dns_port,
            origins: ["subnet", "dns_port"]
                .map(|key| (key, Origin::Granted))
                .into(),
            ..Self::default()
        }
    }

    /// The keys that have another value in `other`, in the order of the documents.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        keys::values(self)
            .zip(keys::values(other))
            .filter(|((_, one), (_, another))| one != another)
            .map(|((key, _), _)| key)
            .collect()
    }

    /// Takes from `other` what a daemon can change while it runs; returns the keys that differ still.
    pub fn take_over(&mut self, other: &Self) -> Vec<&'static str> {
        self.log_level = other.log_level;
        self.namegen_path.clone_from(&other.namegen_path);
        self.image.clone_from(&other.image);
        self.spec = other.spec.clone();
        self.start_timeout_seconds = other.start_timeout_seconds;
        self.stop_timeout_seconds = other.stop_timeout_seconds;
        self.shutdown_timeout_seconds = other.shutdown_timeout_seconds;
        self.origins = other.origins.clone();
        self.differences(other)
    }

    /// Every key with its value and where it comes from.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        keys::values(self)
            .map(|(key, value)| Setting {
                key: key.to_owned(),
                value,
                origin: self.origins.get(key).cloned().unwrap_or_default(),
            })
            .collect()
    }

    /// These settings, and what variables say instead.
    ///
    /// # Errors
    /// `invalid`, for a variable whose value its key does not take. The first is the message, the
    /// others ride along.
    fn overridden(mut self, overrides: &Overrides) -> Result<Self> {
        let mut first: Option<Error> = None;
        for (name, text) in overrides {
            let variable = variable(name);
            match keys::apply_text(&mut self, name, text) {
                Ok(()) => {
                    let known = keys::known(name).unwrap_or_default();
                    self.origins.insert(known, Origin::Variable { variable });
                }
                Err(what) => {
                    let message = escaped(&format!("environment variable {variable}: {what}"));
                    match &mut first {
                        Some(first) => first.also.push(message),
                        None => {
                            let hint = format!("unset {variable}");
                            first = Some(Error::new(Code::Invalid, message).hint(hint));
                        }
                    }
                }
            }
        }
        self.overrides = overrides.clone();
        first.map_or(Ok(self), Err)
    }

    /// Takes the file's content; `path` is for the messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(self, path: &Path, bytes: &[u8]) -> Result<Self> {
        let fault = |place: Position, what: &str| {
            let shown = format!("{}:{place}: {what}", path.display());
            Error::new(Code::Invalid, escaped(&shown))
        };
        if bytes.starts_with(b"\xef\xbb\xbf") {
            return Err(fault(
                Position::at(bytes, 0),
                "the file begins with a byte-order mark",
            )
            .hint("save it as UTF-8 without one"));
        }
        let text = str::from_utf8(bytes).map_err(|cause| {
            fault(
                Position::at(bytes, cause.valid_up_to()),
                "this is not UTF-8",
            )
            .hint("save the file as UTF-8")
        })?;
        let table = toml::de::DeTable::parse(text).map_err(|cause| {
            let offset = cause.span().map_or(text.len(), |span| span.start);
            let place = Position::at(bytes, offset);
            let line = place.quoted_line(text);
            fault(place, &format!("{line} is not TOML: {}", cause.message()))
                .hint("write each setting as `key = value`, and text in double quotes")
        })?;
        let mut config = self;
        let mut origins = std::mem::take(&mut config.origins);
        let mut faults = keys::apply(&mut config, table.get_ref(), |key, offset| {
            let (file, line) = (
                path.display().to_string(),
                Position::at(bytes, offset).line(),
            );
            origins.insert(key, Origin::File { file, line });
        });
        config.origins = origins;
        faults.sort_by_key(|found| found.offset);
        let mut errors = faults.into_iter().map(|found| {
            let place = Position::at(bytes, found.offset);
            let line = place.quoted_line(text);
            let error = fault(place, &format!("{line}: {}", found.what));
            found.hints.into_iter().fold(error, Error::hint)
        });
        let Some(first) = errors.next() else {
            return Ok(config);
        };
        Err(errors.fold(first, |mut first, other| {
            first.also.push(other.message);
            other.hints.into_iter().fold(first, Error::hint)
        }))
    }
}

/// The file's bytes, or nothing where there is no file.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let wrong = |what: String| {
        Error::new(
            Code::Invalid,
            escaped(&format!("{}: {what}", path.display())),
        )
        .hint("the configuration is a TOML file; without one the defaults apply")
    };
    let meta = match path.metadata() {
        Ok(meta) => meta,
        // A link that leads nowhere was meant to lead somewhere.
        Err(cause) if cause.kind() == ErrorKind::NotFound && path.is_symlink() => {
            return Err(wrong("the link leads nowhere".to_owned()));
        }
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(wrong(format!("it cannot be read: {cause}"))),
    };
    if meta.is_dir() {
        return Err(wrong("it is a directory, and should be a file".to_owned()));
    }
    // Opening a FIFO would wait for a writer, so the kind comes first.
    if !meta.is_file() {
        return Err(wrong("it is no regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|cause| wrong(format!("it cannot be read: {cause}")))?;
    if bytes.len() as u64 > LARGEST {
        return Err(wrong(
            "it is larger than 1 MiB, which no configuration is".to_owned(),
        ));
    }
    Ok(Some(bytes))
}

/// The text without control characters, so that a terminal stays whole.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests;
