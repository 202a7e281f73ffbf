//! The rules for a guest config. The daemon checks them before it boots, and the guest checks them
//! again.

use std::collections::BTreeSet;

use super::{ConfigError, Disk, File, GuestConfig, Network, NewName, Resolvers, SCHEMA};

/// The length of the longest path on Linux, without its final zero byte.
const LONGEST_PATH: usize = 4095;

/// The length of the longest interface name on Linux.
const LONGEST_INTERFACE: usize = 15;

fn invalid(field: &'static str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        field,
        problem: problem.into(),
    }
}

/// Whether `path` may be written at each start, because users do not edit files there.
fn is_ours(path: &str) -> bool {
    let Some((directory, name)) = path.rsplit_once('/') else {
        return false;
    };
    path.starts_with("/run/") || (directory.ends_with(".d") && name.contains("banger"))
}

/// Checks that a path is absolute, normalized and printable.
fn check_path(field: &'static str, path: &str) -> Result<(), ConfigError> {
    let refuse = |problem: &str| {
        Err(invalid(
            field,
            format!("`{}` {problem}", path.escape_debug()),
        ))
    };
    if !path.starts_with('/') {
        return refuse("is not an absolute path");
    }
    if path.len() > LONGEST_PATH {
        return refuse("is longer than 4095 bytes");
    }
    if path.chars().any(char::is_control) {
        return refuse("has a control character in it");
    }
    if path
        .split('/')
        .skip(1)
        .any(|part| matches!(part, "" | "." | ".."))
    {
        return refuse("has an empty part, `.` or `..` in it");
    }
    Ok(())
}

fn check_device(field: &'static str, device: &str) -> Result<(), ConfigError> {
    check_path(field, device)?;
    match device.strip_prefix("/dev/") {
        Some(name) if !name.contains('/') => Ok(()),
        _ => Err(invalid(
            field,
            format!("`{device}` is not a device such as `/dev/vda`"),
        )),
    }
}

fn is_label(text: &str) -> bool {
    let byte_is_fine = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=63).contains(&text.len())
        && text.bytes().all(byte_is_fine)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn check_label(field: &'static str, text: &str) -> Result<(), ConfigError> {
    if is_label(text) {
        return Ok(());
    }
    let shown = text.escape_debug();
    Err(invalid(field, format!("`{shown}` is not a DNS label")))
}

/// Checks a host name or a domain: printable and without blanks, so that it cannot begin a second
/// line.
fn check_name(field: &'static str, name: &str) -> Result<(), ConfigError> {
    let byte_is_fine =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=253).contains(&name.len()) && name.bytes().all(byte_is_fine) {
        return Ok(());
    }
    Err(invalid(
        field,
        format!("`{}` is not a name", name.escape_debug()),
    ))
}

fn check_network(network: &Network) -> Result<(), ConfigError> {
    let name = network.interface.as_str();
    let letter_is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !(1..=LONGEST_INTERFACE).contains(&name.len()) || !name.bytes().all(letter_is_fine) {
        let shown = name.escape_debug();
        return Err(invalid(
            "network.interface",
            format!("`{shown}` is not an interface's name"),
        ));
    }
    if !(1..=32).contains(&network.prefix) {
        return Err(invalid(
            "network.prefix",
            format!("{} is not 1 to 32", network.prefix),
        ));
    }
    if let Some(mtu) = network.mtu.filter(|mtu| !(68..=65_535).contains(mtu)) {
        return Err(invalid(
            "network.mtu",
            format!("{mtu} is not 68 to 65535 bytes"),
        ));
    }
    Ok(())
}

fn check_disks(root: &str, disks: &[Disk]) -> Result<(), ConfigError> {
    let mut devices = BTreeSet::from([root]);
    let mut mounts = BTreeSet::new();
    for disk in disks {
        check_device("disks.device", &disk.device)?;
        check_path("disks.mount", &disk.mount)?;
        if !devices.insert(&disk.device) {
            return Err(invalid(
                "disks.device",
                format!("`{}` occurs twice", disk.device),
            ));
        }
        if !mounts.insert(&disk.mount) {
            return Err(invalid(
                "disks.mount",
                format!("`{}` occurs twice", disk.mount),
            ));
        }
    }
    Ok(())
}

fn check_files(files: &[File]) -> Result<(), ConfigError> {
    let mut paths = BTreeSet::new();
    for file in files {
        check_path("files.path", &file.path)?;
        if !paths.insert(&file.path) {
            return Err(invalid(
                "files.path",
                format!("`{}` occurs twice", file.path),
            ));
        }
        if file.mode > 0o7777 {
            let problem = format!("{:#o} of `{}` is more than 0o7777", file.mode, file.path);
            return Err(invalid("files.mode", problem));
        }
        if !is_ours(&file.path) {
            let path = &file.path;
            let problem = format!("`{path}` is neither in `/run` nor a drop-in of banger's");
            return Err(invalid("files.path", problem));
        }
        if let Err(cause) = file.content.bytes() {
            return Err(invalid(
                "files.content",
                format!("of `{}`: {cause}", file.path),
            ));
        }
    }
    Ok(())
}

impl Resolvers {
    /// Checks the search domains, so that none can begin a second line of a `resolv.conf`.
    ///
    /// # Errors
    /// The first invalid domain.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.search
            .iter()
            .try_for_each(|name| check_name("dns.search", name))
    }
}

impl NewName {
    /// Checks that each name is a DNS label, which has no special meaning in any file that contains
    /// it.
    ///
    /// # Errors
    /// The first invalid name.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_label("hostname", &self.hostname)?;
        self.former
            .iter()
            .try_for_each(|name| check_label("former", name))
    }
}

fn check_machine_id(field: &'static str, id: &str) -> Result<(), ConfigError> {
    let digit_is_fine = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if id.len() == 32 && id.bytes().all(digit_is_fine) {
        return Ok(());
    }
    let shown = id.escape_debug();
    Err(invalid(
        field,
        format!("`{shown}` is not 32 hexadecimal digits"),
    ))
}

impl GuestConfig {
    /// Checks every value. Names that could break out of a line, paths that are not plain, and two
    /// files with one path are rejected.
    ///
    /// # Errors
    /// The first invalid value, with its field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.schema != SCHEMA {
            return Err(ConfigError::Schema { found: self.schema });
        }
        check_label("hostname", &self.hostname)?;
        self.former_hostnames
            .iter()
            .try_for_each(|name| check_label("former_hostnames", name))?;
        check_machine_id("machine_id", &self.machine_id)?;
        self.former_machine_ids
            .iter()
            .try_for_each(|id| check_machine_id("former_machine_ids", id))?;
        self.modules
            .iter()
            .try_for_each(|path| check_path("modules", path))?;
        check_device("root.device", &self.root.device)?;
        if self.root.fstype != "ext4" {
            let shown = self.root.fstype.escape_debug();
            return Err(invalid("root.fstype", format!("`{shown}` is not `ext4`")));
        }
        check_disks(&self.root.device, &self.disks)?;
        self.network.as_ref().map_or(Ok(()), check_network)?;
        self.dns
            .search
            .iter()
            .try_for_each(|name| check_name("dns.search", name))?;
        self.hosts
            .iter()
            .flat_map(|line| &line.names)
            .try_for_each(|name| check_name("hosts.names", name))?;
        check_files(&self.files)
    }
}

#[cfg(test)]
mod tests;
