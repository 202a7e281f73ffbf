//! The program nft: its scripts, listings and errors.

use super::listing::{self, Listing};
use crate::command::{Command, PROMPTLY};
use crate::linux::files::made;
use crate::{Change, Error, Kind, Result};

/// Runs nft, and explains its common errors.
pub(in crate::linux) fn nft(command: &Command) -> Result<Vec<u8>> {
    let output = command
        .clone()
        .patience(PROMPTLY)
        .output()
        .map_err(|error| match error.kind() {
            Kind::Missing => error.hint("sudo apt-get install nftables"),
            _ => error,
        })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let errors = output.errors();
    let kind = if errors.contains("Operation not permitted") || errors.contains("must be root") {
        Kind::Denied
    } else if errors.contains("No such file or directory") {
        Kind::Missing
    } else {
        Kind::Other
    };
    let lines: Vec<&str> = errors
        .lines()
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .collect();
    let cause = Error::new(kind, lines.join("; "));
    let cause = match kind {
        Kind::Denied => cause.hint("run as root: only root may change a firewall"),
        _ => cause,
    };
    Err(cause.within(format!("run `{command}`")))
}

/// Rejects names that are not banger table names, before they reach a script.
pub(super) fn check_table(table: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let starts = table
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase());
    if starts && table.len() <= 32 && table.bytes().all(plain) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Other,
        format!("`{table}` is not a banger table name"),
    ))
}

/// Rejects an interface whose name has a meaning of its own in a script.
pub(super) fn check_interface(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:@".contains(&byte);
    if (1..=15).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    let shown = name.escape_debug();
    Err(Error::new(
        Kind::Unsupported,
        format!("nft does not accept the interface name `{shown}`"),
    ))
}

/// The listing of the table, or `None` if there is no table.
pub(super) fn look(table: &str) -> Result<Option<Listing>> {
    let command = Command::new("nft").args(["-j", "list", "table", "inet", table]);
    match nft(&command) {
        Ok(json) => match listing::read(&json) {
            Some(listing) => Ok(Some(listing)),
            None => Err(Error::new(Kind::Other, "nft's output cannot be read")
                .within(format!("run `{command}`"))),
        },
        Err(error) if error.kind() == Kind::Missing && command.program_exists() => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn run(script: String) -> Result<()> {
    nft(&Command::new("nft").args(["-f", "-"]).stdin(script)).map(drop)
}

/// Runs a script that removes something; a missing table is not an error.
pub(super) fn remove(table: &str, script: String) -> Result<Change> {
    match run(script) {
        Ok(()) => Ok(Change::Made),
        Err(error) => match look(table) {
            Ok(None) => Ok(made(true)),
            Ok(Some(_)) | Err(_) => Err(error),
        },
    }
}
