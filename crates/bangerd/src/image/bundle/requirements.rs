//! The requirements of a build, checked first. Each failure has a hint with the command that fixes it.

use std::path::Path;

use banger_host::command::Command;

use super::Result;
use banger_api::Error;

use super::error::{failure, failure_caused_by};
use super::rootfs::MMDEBSTRAP;
use super::sources::{APT_HELPER, KEYRING};

/// Checks programs, files and permissions. `unshare` means an ordinary user.
pub(super) fn check(unshare: bool) -> Result<()> {
    refuse_missing(&missing(unshare))?;
    check_user(unshare)
}

/// Whether a file system can be made of files that are there. `unshare` says that we are an ordinary
/// user.
pub(in crate::image) fn check_maker(unshare: bool) -> Result<()> {
    refuse_missing(&absent(&[
        (MMDEBSTRAP, !unshare || has_program(MMDEBSTRAP)),
        ("e2fsprogs", has_program("mke2fs")),
        ("tar", has_program("tar")),
        ("uidmap", !unshare || has_id_mappers()),
    ]))?;
    check_user(unshare)
}

fn has_program(name: &str) -> bool {
    Command::new(name).program_exists()
}

fn has_id_mappers() -> bool {
    has_program("newuidmap") && has_program("newgidmap")
}

fn check_user(unshare: bool) -> Result<()> {
    if !unshare {
        return Ok(());
    }
    let user = Command::new("id")
        .arg("-un")
        .run()
        .map_err(|cause| failure_caused_by("look up the user's name", cause))?
        .text()
        .trim()
        .to_owned();
    for file in ["/etc/subuid", "/etc/subgid"] {
        let ranges = std::fs::read_to_string(file).unwrap_or_default();
        if !has_range(&ranges, &user) {
            return Err(no_range(file, &user));
        }
    }
    Command::new(MMDEBSTRAP).args(["--unshare-helper", "true"]).run().map(drop).map_err(|cause| {
        failure_caused_by("make a user namespace", cause)
            .hint("check whether user namespaces are allowed: sysctl kernel.apparmor_restrict_unprivileged_userns kernel.unprivileged_userns_clone user.max_user_namespaces")
    })
}

/// The packages that are not installed.
pub(super) fn missing(unshare: bool) -> Vec<&'static str> {
    absent(&[
        (MMDEBSTRAP, has_program(MMDEBSTRAP)),
        ("e2fsprogs", has_program("mke2fs")),
        ("apt", has_program(APT_HELPER)),
        ("util-linux", has_program("setpriv")),
        ("debian-archive-keyring", Path::new(KEYRING).exists()),
        ("uidmap", !unshare || has_id_mappers()),
    ])
}

/// Those of these packages that are not there.
fn absent(needed: &[(&'static str, bool)]) -> Vec<&'static str> {
    let absent = needed.iter().filter(|(_, there)| !there);
    absent.map(|(package, _)| *package).collect()
}

fn refuse_missing(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(" ");
    Err(failure(format!("not installed: {missing}")).hint(format!(
        "sudo apt-get install --no-install-recommends {missing}"
    )))
}

/// Whether a user has subordinate ids (subuid(5)). mmdebstrap looks for the name only.
fn has_range(ranges: &str, user: &str) -> bool {
    ranges
        .lines()
        .any(|line| line.split(':').next() == Some(user))
}

fn no_range(file: &str, user: &str) -> Error {
    let of = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let first = free_range(&[&of("/etc/subuid"), &of("/etc/subgid")]);
    let last = first + 65_535;
    failure(format!("`{user}` has no subordinate ids in {file}")).hint(format!(
        "sudo usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {user}"
    ))
}

/// The first id above all assigned ranges.
fn free_range(files: &[&str]) -> u64 {
    let end = |line: &str| -> Option<u64> {
        let mut words = line.split(':').skip(1);
        let first: u64 = words.next()?.trim().parse().ok()?;
        first.checked_add(words.next()?.trim().parse().ok()?)
    };
    let ends = files.iter().flat_map(|file| file.lines()).filter_map(end);
    // useradd begins here, too: account ids are at most 65,535.
    ends.max().unwrap_or(0).max(100_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_matched_by_the_exact_user_name() {
        assert!(has_range("ada:100000:65536\nbob:165536:65536\n", "bob"));
        assert!(!has_range("bobby:100000:65536\n", "bob"));
        assert!(!has_range("", "bob"));
    }

    #[test]
    fn the_proposed_range_is_free() {
        assert_eq!(free_range(&["", ""]), 100_000);
        assert_eq!(
            free_range(&["ada:100000:65536\n", "ada:300000:65536\n"]),
            365_536
        );
        assert_eq!(free_range(&["what:is:this\n\nada:5:5\n"]), 100_000);
    }

    #[test]
    fn the_hint_is_a_whole_command() {
        let error = no_range("/etc/subuid", "bob");
        assert!(error.to_string().contains("`bob` has no subordinate ids"));
        assert!(error.hints[0].starts_with("sudo usermod --add-subuids "));
        assert!(error.hints[0].ends_with(" bob"));
    }
}
