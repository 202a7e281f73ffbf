//! Whether a program exists and is new enough.
//!
//! A large program takes tens of milliseconds to print its version, which would delay every start.
//! So the version of a file is remembered as long as the file is the same.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, PoisonError};

use super::{bad, good, in_one_line};
use crate::Finding;
use crate::command::{Command, PROMPTLY, find_program};

type Version = (u32, u32);

/// The identity of a program's file: device, inode, size, and time of the last change.
pub(super) type Identity = (u64, u64, u64, i64, i64);

/// The versions that programs printed; a host has a handful of such programs.
static SAID: Mutex<BTreeMap<Identity, Version>> = Mutex::new(BTreeMap::new());

fn identity(name: &str) -> Option<Identity> {
    let found = std::fs::metadata(find_program(OsStr::new(name))?).ok()?;
    Some(identity_of(&found))
}

pub(super) fn identity_of(found: &std::fs::Metadata) -> Identity {
    (
        found.dev(),
        found.ino(),
        found.size(),
        found.ctime(),
        found.ctime_nsec(),
    )
}

pub(super) fn probe(name: &str, version_argument: &str, least: Version, package: &str) -> Finding {
    let install = if package.is_empty() {
        format!("install `{name}` {}.{} or newer", least.0, least.1)
    } else {
        format!("sudo apt-get install {package}")
    };
    let command = Command::new(name).arg(version_argument).patience(PROMPTLY);
    if !command.program_exists() {
        return bad(format!("there is no program `{name}`"), install);
    }
    let identity = identity(name);
    let said = || SAID.lock().unwrap_or_else(PoisonError::into_inner);
    let remembered = identity.and_then(|identity| said().get(&identity).copied());
    let version = match remembered.map_or_else(|| ask(&command), Ok) {
        Ok(version) => version,
        Err(found) => return bad(found, install),
    };
    if let Some(identity) = identity {
        said().insert(identity, version);
    }
    if version < least {
        return bad(
            format!(
                "`{name}` is {}.{}, and {}.{} is needed",
                version.0, version.1, least.0, least.1
            ),
            install,
        );
    }
    good(format!("`{name}` {}.{}", version.0, version.1))
}

fn ask(command: &Command) -> Result<Version, String> {
    let output = command.output().map_err(|error| in_one_line(&error))?;
    // Some programs print their version to standard error.
    version(&output.text())
        .or_else(|| version(&output.errors()))
        .ok_or_else(|| format!("`{command}` prints no version"))
}

/// The first two numbers with a dot between them.
fn version(text: &str) -> Option<Version> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    words.filter(|word| word.contains('.')).find_map(|word| {
        let mut numbers = word.split('.').map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_first_pair_of_numbers() {
        for (text, expected) in [
            (
                "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)",
                Some((10, 0)),
            ),
            ("mke2fs 1.47.2 (1-Jan-2025)", Some((1, 47))),
            ("nftables v1.0.6 (Lester Gooch #5)", Some((1, 0))),
            ("Firecracker v1.16.1", Some((1, 16))),
            ("a sentence. Version 2.5", Some((2, 5))),
            ("nothing of the sort", None),
            ("99999999999.1", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_there_or_too_old_comes_with_the_command_that_mends_it() {
        let missing = probe(
            "banger-no-such-program",
            "--version",
            (1, 0),
            "no-such-package",
        );
        let Finding::Bad { hint, .. } = missing else {
            panic!("{missing:?}")
        };
        assert_eq!(hint, "sudo apt-get install no-such-package");
        let old = probe("bash", "--version", (99, 0), "bash");
        let Finding::Bad { found, .. } = old else {
            panic!("{old:?}")
        };
        assert!(found.ends_with("and 99.0 is needed"), "{found}");
        assert!(matches!(
            probe("bash", "--version", (4, 0), "bash"),
            Finding::Good(_)
        ));
        assert!(matches!(
            probe("mke2fs", "-V", (1, 45), "e2fsprogs"),
            Finding::Good(_)
        ));
    }
}
