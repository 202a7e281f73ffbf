//! Whether Firecracker's jailer can make a jail here. The jailer trusts its input, so that must
//! belong to root alone. It changes the owner of files in the jail (CVE-2026-1386). It does not
//! check whether its Firecracker can run in the jail, or use its devices.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use rustix::fs::StatVfsMountFlags;

use super::{bad, existing, good, in_one_line};
use crate::Finding;
use crate::command::Command;
use crate::elf::Elf;
use crate::root::confine::check_file;

/// How long a program may take to print its version.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) type Trouble = (String, String);

pub(super) fn probe(directory: &Path, firecracker: &Path, jailer: &Path) -> Finding {
    match look(directory, firecracker, jailer) {
        Ok(version) => good(format!("`{}` {version}", jailer.display())),
        Err((found, hint)) => bad(found, hint),
    }
}

fn look(directory: &Path, firecracker: &Path, jailer: &Path) -> Result<String, Trouble> {
    if !rustix::process::geteuid().is_root() {
        return Err((
            "only root can jail a program, and there is no root helper for this user".to_owned(),
            "banger system install --firecracker … --jailer …".to_owned(),
        ));
    }
    let said = check_programs(firecracker, jailer)?;
    let base = existing(directory);
    check_owner(base)?;
    check_mount(base)?;
    Ok(said)
}

/// Checks both programs, and returns their version.
pub(crate) fn check_programs(firecracker: &Path, jailer: &Path) -> Result<String, Trouble> {
    let said = version(jailer)?;
    let of = version(firecracker)?;
    if said != of {
        return Err((
            format!("the jailer is {said}, and Firecracker is {of}"),
            format!(
                "put the jailer that came with this Firecracker beside it: `{}`",
                jailer.display()
            ),
        ));
    }
    let elf = File::open(firecracker).and_then(|file| Elf::read(&file));
    let elf = elf.map_err(|cause| {
        let hint = format!("ls -l {}", firecracker.display());
        (finding(firecracker, &cause), hint)
    })?;
    if elf.is_some_and(|elf| elf.needs_libraries) {
        return Err((
            format!(
                "`{}` needs libraries, and a jail has none",
                firecracker.display()
            ),
            "use a released build of Firecracker, which is static".to_owned(),
        ));
    }
    check_owner(jailer)?;
    check_owner(firecracker)?;
    Ok(said)
}

/// Checks that only root may write the file and the folders above it.
fn check_owner(path: &Path) -> Result<(), Trouble> {
    let hint = format!("ls -ld {}", path.display());
    let path = fs::canonicalize(path).map_err(|cause| (finding(path, &cause), hint.clone()))?;
    check_file(&path).map_err(|error| (in_one_line(&error), hint))
}

/// Checks that devices and programs work in a jail below this folder.
fn check_mount(base: &Path) -> Result<(), Trouble> {
    let hint = format!("findmnt --target {}", base.display());
    let found =
        rustix::fs::statvfs(base).map_err(|cause| (finding(base, &cause.into()), hint.clone()))?;
    for (flag, word) in [
        (StatVfsMountFlags::NODEV, "nodev"),
        (StatVfsMountFlags::NOEXEC, "noexec"),
    ] {
        if found.f_flag.contains(flag) {
            let text = format!(
                "the file system of `{}` is mounted `{word}`: a jail on it does not work",
                base.display()
            );
            return Err((text, hint));
        }
    }
    Ok(())
}

fn finding(path: &Path, cause: &std::io::Error) -> String {
    format!("`{}`: {cause}", path.display())
}

/// The version that the program prints, without the `v`. All of it counts, because releases may
/// differ in the last part only.
fn version(path: &Path) -> Result<String, Trouble> {
    let hint = || format!("put it there: `{}`", path.display());
    if !path.is_file() {
        return Err((format!("there is no `{}`", path.display()), hint()));
    }
    let command = Command::new(path).arg("--version").patience(PATIENCE);
    let output = command
        .output()
        .map_err(|error| (in_one_line(&error), hint()))?;
    let text = output.text();
    let words = text.lines().next().unwrap_or_default().split_whitespace();
    let version = words.last().and_then(|word| word.strip_prefix('v'));
    version
        .map(str::to_owned)
        .ok_or_else(|| (format!("`{command}` prints no version"), hint()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::linux::testing;

    fn program(path: &Path, says: &str) {
        fs::write(path, format!("#!/bin/sh\necho '{says}'\necho more\n")).unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_jailer_is_firecrackers_own_and_everything_is_roots() {
        if !rustix::process::geteuid().is_root() {
            return testing::skipped("not root");
        }
        let folder = tempfile::tempdir_in("/root").unwrap();
        let at = |name: &str| folder.path().join(name);
        let (firecracker, jailer) = (at("firecracker"), at("jailer"));
        let finding = || match probe(&at("state/jails"), &firecracker, &jailer) {
            Finding::Good(found) => found,
            Finding::Doubtful { found, .. } | Finding::Bad { found, .. } => found,
        };
        assert!(finding().contains("there is no") && finding().contains("jailer"));
        program(&jailer, "Jailer v1.17.0-dev");
        assert!(finding().contains("firecracker`"), "{}", finding());
        program(&firecracker, "Firecracker v1.16.1");
        let text = "the jailer is 1.17.0-dev, and Firecracker is 1.16.1";
        assert_eq!(finding(), text);
        program(&firecracker, "Firecracker v1.17.0-dev");
        assert!(finding().ends_with("1.17.0-dev"), "{}", finding());
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        assert!(finding().contains("is writable by others"), "{}", finding());
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let nobody = Some(65534);
        std::os::unix::fs::chown(&jailer, nobody, nobody).unwrap();
        assert!(finding().contains("belongs to user 65534"), "{}", finding());
        program(&jailer, "");
        assert!(finding().contains("prints no version"), "{}", finding());
    }
}
