//! The package sources: a suite, with its updates and security updates if the mirror has them.
//!
//! The mirror is queried first, so that an unreachable one fails within a second and a suite
//! without updates (`sid`, or an old one) works. The guest's own apt uses the same sources.
//!
//! Without a mirror, mmdebstrap uses Debian's own, and the sources it knows for the suite.

use std::path::Path;

use banger_host::command::Command;

use super::error::{failure, failure_caused_by};
use super::{Proxies, Result};

/// The keys of Debian's archives, on the host and in the guest.
pub(super) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The program of apt that downloads one file.
pub(super) const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// Queries the mirror for a suite, and returns lines for apt's `sources.list`. `folder` holds the
/// small files that are downloaded for it.
pub(super) fn find(
    mirror: &str,
    suite: &str,
    proxies: &Proxies,
    folder: &Path,
) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for (archive, name) in candidates(mirror, suite) {
        if has(&archive, &name, proxies, folder)? {
            lines.push(format!("deb [signed-by={KEYRING}] {archive} {name} main"));
        } else if name == suite {
            return Err(
                failure(format!("the mirror `{mirror}` has no suite `{suite}`"))
                    .hint("use a Debian suite such as trixie or bookworm"),
            );
        }
    }
    Ok(lines)
}

/// The addresses and suites to query. Security updates have an archive of their own beside the
/// mirror's: `…/debian` and `…/debian-security`.
fn candidates(mirror: &str, suite: &str) -> [(String, String); 3] {
    let mirror = mirror.trim_end_matches('/');
    [
        (mirror.to_owned(), suite.to_owned()),
        (mirror.to_owned(), format!("{suite}-updates")),
        (format!("{mirror}-security"), format!("{suite}-security")),
    ]
}

fn has(archive: &str, name: &str, proxies: &Proxies, folder: &Path) -> Result<bool> {
    let address = format!("{archive}/dists/{name}/InRelease");
    let file = folder.join("InRelease");
    let output = proxies
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
        .map_err(|cause| failure_caused_by(format!("request `{address}`"), cause))?;
    // There may be no file.
    let _ = std::fs::remove_file(&file);
    answer(output.status.success(), &output.errors()).map_err(|why| {
        failure(format!("the mirror `{archive}` does not answer: {why}"))
            .hint(format!("check that it is reachable: curl -I {address}"))
    })
}

/// Whether the mirror has the file; an error if that is unknown.
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
            .unwrap_or("no reason given")
            .trim()
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_updates_are_in_an_archive_beside_the_mirror() {
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
    fn a_missing_suite_is_distinguished_from_an_unreachable_mirror() {
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
