//! The configuration: a TOML file whose keys are all optional.
//!
//! ```text
//! defaults ◄ root's settings for this user ◄ file ◄ environment variables
//! ```
//!
//! Without a file the defaults apply. A file is accepted as a whole or rejected: each fault is
//! reported with file, line and column, the line itself, and what is accepted. No key is silently
//! ignored.

mod change;
mod choices;
mod keys;
mod of_daemon;
mod position;
mod table;
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
pub use choices::{HypervisorChoice, NetworkChoice, RootDiskChoice};
use position::Position;

use crate::image::recipe::Mirrors;
use crate::machine::DiskCache;

/// The maximum size of the file, in bytes. A typical one has a few hundred.
const LARGEST: u64 = 1 << 20;

/// The maximum time for all guests to shut down with the host, in seconds. The timeout of the unit
/// that `banger-root install` writes is a little longer.
pub const LONGEST_SHUTDOWN: u64 = 300;

/// The settings of one user for all VMs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `log_level`: the level of the daemon's log.
    pub log_level: LogLevel,
    /// `runtime_dir`: the bundle's folder, an absolute path; an option or a variable overrides it.
    pub runtime_dir: Option<PathBuf>,
    /// `hypervisor`.
    pub hypervisor: HypervisorChoice,
    /// `root_disk`.
    pub root_disk: RootDiskChoice,
    /// `disk_cache`: the effect of guests' flushes, from each VM's next start.
    pub disk_cache: DiskCache,
    /// `network`.
    pub network: NetworkChoice,
    /// `subnet`: the network of the VMs' addresses, given by its first address and a prefix of 8 to
    /// 29.
    pub subnet: Subnet,
    /// `dns`: the guests' resolvers; empty for the host's own.
    pub dns: Vec<IpAddr>,
    /// `dns_port`: the port of the resolver for `<name>.vm` on 127.0.0.1; 0 for none.
    pub dns_port: u16,
    /// `ssh_key_path`: the private key for logins, an absolute path; by default banger's own.
    pub ssh_key_path: Option<PathBuf>,
    /// `namegen_path`: the source of names for VMs, an absolute path: a program that prints one, or
    /// a list of words; by default petnames.
    pub namegen_path: Option<PathBuf>,
    /// `default_rootfs`: the default image of new VMs.
    pub image: String,
    /// `default_base_rootfs`: the image that others are built from; `image` otherwise.
    pub default_base_rootfs: Option<String>,
    /// `default_kernel`: a kernel instead of the bundle's, an absolute path.
    pub default_kernel: Option<PathBuf>,
    /// `default_modules_dir`: the modules of that kernel, an absolute path.
    pub default_modules_dir: Option<PathBuf>,
    /// `default_packages_file`: the list of packages of `image build`, an absolute path; the shipped one
    /// otherwise.
    pub default_packages_file: Option<PathBuf>,
    /// `customize_script`: a program that runs last in the VM of an `image build`, an absolute path.
    pub customize_script: Option<PathBuf>,
    /// `mirrors`: where `image build` looks first.
    pub mirrors: Mirrors,
    /// `vcpu`, `memory`, `disk_size`, `system_disk_size` and `nat`: the default settings of new
    /// VMs.
    pub spec: VmSpec,
    /// `start_timeout_seconds`: the time for a guest to become ready, in seconds (1 to 3600).
    pub start_timeout_seconds: u64,
    /// `stop_timeout_seconds`: the time for a guest to shut down, in seconds (1 to 3600).
    pub stop_timeout_seconds: u64,
    /// `shutdown_timeout_seconds`: the time for all guests together to shut down with the host, in
    /// seconds (1 to [`LONGEST_SHUTDOWN`]).
    pub shutdown_timeout_seconds: u64,
    /// `trash`: whether a deleted VM can be taken back until it is purged.
    pub trash: bool,
    /// `jailer`: whether new starts of Firecracker are jailed.
    pub jailer: bool,
    /// `qemu`: QEMU's program, an absolute path; by default found by its usual name.
    pub qemu: Option<PathBuf>,
    /// `firecracker_bin`: Firecracker's program, an absolute path; by default that of the bundle,
    /// or one in its usual places.
    pub firecracker_bin: Option<PathBuf>,
    /// A sentence for each key with an older name, with its new name.
    pub renamed: Vec<String>,
    /// The settings from environment variables, which override the file.
    pub overrides: Overrides,
    /// The origins of all keys that are set.
    pub origins: Origins,
}

/// The origins of all keys that are set.
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
            default_base_rootfs: None,
            default_kernel: None,
            default_modules_dir: None,
            default_packages_file: None,
            customize_script: None,
            mirrors: Mirrors::default(),
            spec: VmSpec::default(),
            start_timeout_seconds: 120,
            stop_timeout_seconds: 30,
            shutdown_timeout_seconds: 60,
            trash: false,
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
    /// Reads the file at `path`; without a file the defaults apply.
    ///
    /// # Errors
    /// `invalid` for an unreadable or invalid file. The first fault is the message; the others are
    /// in `also`.
    pub fn load(path: &Path) -> Result<Self> {
        Self::default().overlaid(path)
    }

    /// These defaults, overridden by the file at `path`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn overlaid(self, path: &Path) -> Result<Self> {
        match read(path)? {
            Some(bytes) => self.parse(path, &bytes),
            None => Ok(self),
        }
    }

    /// The defaults for a user to whom an administrator has granted a network and a port (`banger
    /// system install`), so that no two users of a host have the same.
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

    /// The keys that have another value in `other`, in the order of the documentation.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        keys::values(self)
            .zip(keys::values(other))
            .filter(|((_, one), (_, another))| one != another)
            .map(|((key, _), _)| key)
            .collect()
    }

    /// Applies the settings of `other` that can change while a daemon runs; returns the keys that
    /// still differ.
    pub fn take_over(&mut self, other: &Self) -> Vec<&'static str> {
        self.log_level = other.log_level;
        self.namegen_path.clone_from(&other.namegen_path);
        self.image.clone_from(&other.image);
        // What builds images reads these itself, each time.
        self.default_base_rootfs
            .clone_from(&other.default_base_rootfs);
        self.default_packages_file
            .clone_from(&other.default_packages_file);
        self.customize_script.clone_from(&other.customize_script);
        self.mirrors = other.mirrors.clone();
        self.spec = other.spec.clone();
        self.start_timeout_seconds = other.start_timeout_seconds;
        self.stop_timeout_seconds = other.stop_timeout_seconds;
        self.shutdown_timeout_seconds = other.shutdown_timeout_seconds;
        self.trash = other.trash;
        self.origins = other.origins.clone();
        self.differences(other)
    }

    /// Every key with its value and origin.
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

    /// These settings, overridden by variables.
    ///
    /// # Errors
    /// `invalid` for a variable with an invalid value. The first fault is the message; the others
    /// are in `also`.
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

    /// Parses the file's content; `path` is for the messages.
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

/// The file's bytes; `None` if there is no file.
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
        // A dangling link is an error, not a missing file.
        Err(cause) if cause.kind() == ErrorKind::NotFound && path.is_symlink() => {
            return Err(wrong("the link leads nowhere".to_owned()));
        }
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(wrong(format!("it cannot be read: {cause}"))),
    };
    if meta.is_dir() {
        return Err(wrong("it is a directory, and should be a file".to_owned()));
    }
    // Opening a FIFO would wait for a writer, so the type is checked first.
    if !meta.is_file() {
        return Err(wrong("it is not a regular file".to_owned()));
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

/// The text without control characters, which a terminal could obey.
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
