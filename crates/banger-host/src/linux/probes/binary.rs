//! Whether a file is a program that runs here and is new enough, by its full version.
//!
//! The file is checked before it runs: its kind, its permissions, and the processor that its ELF
//! header names (elf(5)). For each of these the kernel would only return an error number.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::program::{Identity, identity_of};
use super::{bad, good, in_one_line};
use crate::Finding;
use crate::command::Command;
use crate::elf::Elf;

type Version = (u32, u32, u32);

/// How long a program may take to print its version.
const PATIENCE: Duration = Duration::from_secs(3);

/// The versions that programs printed; an entry is valid while the file is the same.
static SAID: Mutex<BTreeMap<Identity, Version>> = Mutex::new(BTreeMap::new());

pub(super) fn probe(
    path: &Path,
    version_argument: &str,
    least: Version,
    why: &str,
    hint: &str,
) -> Finding {
    let shown = path.display();
    let found = match runs_here(path) {
        Ok(found) => found,
        Err((found, mends)) => return bad(found, mends.unwrap_or_else(|| hint.to_owned())),
    };
    let said = || SAID.lock().unwrap_or_else(PoisonError::into_inner);
    let remembered = said().get(&identity_of(&found)).copied();
    let version = match remembered.map_or_else(|| ask(path, version_argument), Ok) {
        Ok(version) => version,
        Err(found) => return bad(found, hint),
    };
    said().insert(identity_of(&found), version);
    let words = |it: Version| format!("{}.{}.{}", it.0, it.1, it.2);
    if version < least {
        return bad(
            format!(
                "`{shown}` is {}, and {} is needed: {why}",
                words(version),
                words(least)
            ),
            hint,
        );
    }
    good(format!("`{shown}` {}", words(version)))
}

/// The file's metadata; or a description of the trouble, and a hint.
fn runs_here(path: &Path) -> Result<Metadata, (String, Option<String>)> {
    let shown = path.display();
    let found = std::fs::metadata(path).map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => (format!("there is no `{shown}`"), None),
        _ => (
            format!("`{shown}`: {cause}"),
            Some(format!("ls -l {shown}")),
        ),
    })?;
    if !found.is_file() {
        return Err((format!("`{shown}` is not a regular file"), None));
    }
    if found.permissions().mode() & 0o111 == 0 {
        let mends = format!("chmod +x {shown}");
        return Err((format!("`{shown}` is not executable"), Some(mends)));
    }
    match File::open(path).and_then(|file| Elf::read(&file)) {
        Err(cause) => {
            let mends = format!("ls -l {shown}");
            Err((format!("`{shown}` cannot be read: {cause}"), Some(mends)))
        }
        Ok(None) => Err((format!("`{shown}` is not a program"), None)),
        Ok(Some(elf)) if !elf.runs_here() => {
            let text = format!(
                "`{shown}` is a program for {}, and this machine is {}",
                elf.processor(),
                std::env::consts::ARCH
            );
            Err((text, None))
        }
        Ok(Some(_)) => Ok(found),
    }
}

fn ask(path: &Path, version_argument: &str) -> Result<Version, String> {
    let command = Command::new(path).arg(version_argument).patience(PATIENCE);
    let output = command.output().map_err(|error| in_one_line(&error))?;
    let said = [output.text(), output.errors()];
    if let Some(version) = said.iter().find_map(|text| version(text)) {
        return Ok(version);
    }
    let words = said.iter().flat_map(|text| text.lines());
    let last = words.map(str::trim).rfind(|line| !line.is_empty());
    Err(match last {
        Some(line) => format!("`{command}` prints no version: {line}"),
        None => format!("`{command}` prints no version ({})", output.status),
    })
}

/// The first three numbers with dots between them.
fn version(text: &str) -> Option<Version> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    words.filter(|word| word.contains('.')).find_map(|word| {
        let mut numbers = word.split('.').map(str::parse::<u32>);
        Some((
            numbers.next()?.ok()?,
            numbers.next()?.ok()?,
            numbers.next()?.ok()?,
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(path: &Path) -> Finding {
        probe(path, "--version", (8, 1, 0), "they are old", "get one")
    }

    fn found_and_hint(finding: Finding) -> (String, String) {
        let Finding::Bad { found, hint } = finding else {
            panic!("{finding:?}")
        };
        (found, hint)
    }

    #[test]
    fn the_version_is_the_first_three_numbers() {
        assert_eq!(version("Firecracker v1.17.0-dev\n\n"), Some((1, 17, 0)));
        assert_eq!(version("Firecracker v1.16.1"), Some((1, 16, 1)));
        assert_eq!(version("version 1.16"), None);
        assert_eq!(version("127.0.0.1 is home"), Some((127, 0, 0)));
    }

    #[test]
    fn what_cannot_run_here_is_reported_before_it_is_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vmm");
        assert!(
            found_and_hint(answer(&path))
                .0
                .starts_with("there is no `/")
        );
        assert!(
            found_and_hint(answer(folder.path()))
                .0
                .ends_with("is not a regular file")
        );
        std::fs::write(&path, "#!/bin/sh").unwrap();
        let (found, hint) = found_and_hint(answer(&path));
        assert!(found.ends_with("is not executable"), "{found}");
        assert_eq!(hint, format!("chmod +x {}", path.display()));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (found, hint) = found_and_hint(answer(&path));
        assert!(found.ends_with("is not a program"), "{found}");
        assert_eq!(hint, "get one");
        let mut header = b"\x7fELF\x02\x01\x01".to_vec();
        header.resize(64, 0);
        header[18] = 243;
        std::fs::write(&path, &header).unwrap();
        let (found, _) = found_and_hint(answer(&path));
        assert!(found.contains("is a program for "), "{found}");
        header[18] = if cfg!(target_arch = "x86_64") {
            62
        } else {
            183
        };
        std::fs::write(&path, &header).unwrap();
        let (found, _) = found_and_hint(answer(&path));
        assert!(found.contains("Exec format error"), "{found}");
    }

    #[test]
    fn a_program_says_whether_it_is_new_enough() {
        // bash is always there, and its version has three numbers.
        let bash = Path::new("/bin/bash");
        let least = |least| probe(bash, "--version", least, "old ones fail", "get one");
        let Finding::Good(found) = least((4, 0, 0)) else {
            panic!("{:?}", least((4, 0, 0)))
        };
        assert!(found.starts_with("`/bin/bash` "), "{found}");
        let (found, hint) = found_and_hint(least((99, 0, 1)));
        assert!(
            found.ends_with("and 99.0.1 is needed: old ones fail"),
            "{found}"
        );
        assert_eq!(hint, "get one");
    }
}
