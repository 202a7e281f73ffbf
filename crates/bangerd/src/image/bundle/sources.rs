//! Where packages come from: the suite, and its updates and security updates where there are any.
//!
//! The mirror is asked before anything is begun, so that one that does not answer is told in a
//! second, and so that a suite without updates (`sid`, or an old one) is no error. What the root
//! file system is made from is what the guest's own apt goes on with.
//!
//! Where no mirror is named, mmdebstrap takes Debian's own, with what it knows of the suite.

use std::path::Path;

use banger_host::command::Command;

use super::{BundleError, Proxies, Result};

/// What Debian's archives are signed with, on the host and in the guest.
pub(super) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The program of apt that downloads one file.
pub(super) const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// Asks the mirror what it has of a suite, and answers lines for apt's `sources.list`. What is
/// downloaded on the way is put into `folder`, and is small.
pub(super) fn find(
    mirror: &str,
    suite: &str,
    proxies: &Proxies,
    folder: &Path,
) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for (place, name) in candidates(mirror, suite) {
        if has(&place, &name, proxies, folder)? {
            lines.push(format!("deb [signed-by={KEYRING}] {place} {name} main"));
        } else if name == suite {
            return Err(
                BundleError::new(format!("the mirror `{mirror}` has no suite `{suite}`"))
                    .hint("use a Debian suite such as trixie or bookworm"),
            );
        }
    }
    Ok(lines)
}

/// The places to ask, and the names of the suites there. Security updates lie beside the archive:
/// `…/debian` and `…/debian-security`.
fn candidates(mirror: &str, suite: &str) -> [(String, String); 3] {
    let mirror = mirror.trim_end_matches('/');
    [
        (mirror.to_owned(), suite.to_owned()),
        (mirror.to_owned(), format!("{suite}-updates")),
        (format!("{mirror}-security"), format!("{suite}-security")),
    ]
}

fn has(place: &str, name: &str, proxies: &Proxies, folder: &Path) -> Result<bool> {
    let address = format!("{place}/dists/{name}/InRelease");
    let file = folder.join("InRelease");
    let asked = proxies
        .with(Command::new(APT_HELPER))
        .args([
            "-o",
            "Acquire::Retries=1",
            "-o",
            "Acquire::http::Timeout=20",
        ])
        .args(["-o", "APT::Sandbox::User=root"])
        .arg("download-file")
        .arg(&address)
        .arg(&file)
        .output()
        .map_err(|cause| BundleError::because(format!("ask for `{address}`"), cause))?;
    // It may never have been there.
    let _ = std::fs::remove_file(&file);
    answer(asked.status.success(), &asked.errors()).map_err(|why| {
        BundleError::new(format!("the mirror `{place}` does not answer: {why}"))
            .hint(format!("is it reachable? curl -I {address}"))
    })
}

/// Whether the file is there; an error when nobody knows.
fn answer(downloaded: bool, errors: &str) -> std::result::Result<bool, String> {
    if downloaded {
        return Ok(true);
    }
    let line = errors
        .lines()
        .find_map(|line| line.strip_prefix("E: Failed to fetch "));
    match line {
        Some(line) if line.contains(" 404 ") || line.contains("File not found") => Ok(false),
        Some(line) => Err(line.trim().to_owned()),
        None => Err(errors
            .lines()
            .last()
            .unwrap_or("it does not say why")
            .trim()
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_updates_lie_beside_the_archive() {
        let [suite, updates, security] = candidates("http://mirror.example/debian/", "trixie");
        assert_eq!(
            suite,
            (
                "http://mirror.example/debian".to_owned(),
                "trixie".to_owned()
            )
        );
        assert_eq!(updates.1, "trixie-updates");
        assert_eq!(security.0, "http://mirror.example/debian-security");
        assert_eq!(security.1, "trixie-security");
    }

    #[test]
    fn a_suite_that_is_not_there_is_told_from_a_mirror_that_does_not_answer() {
        assert_eq!(
            answer(true, "W: Download is performed unsandboxed"),
            Ok(true)
        );
        let absent = "E: Failed to fetch http://m/dists/sid-updates/InRelease  404  Not Found [IP: 192.0.2.1 80]\nE: Download Failed";
        assert_eq!(answer(false, absent), Ok(false));
        let refused = "E: Failed to fetch http://m/x  Could not connect to m:80 - connect (111: Connection refused)\nE: Download Failed";
        assert!(
            answer(false, refused)
                .unwrap_err()
                .contains("Connection refused")
        );
        assert!(answer(false, "").is_err());
    }
}
