//! Firecracker's program: its location and requirements.

use std::path::{Path, PathBuf};

use banger_api::NetworkKind;
use banger_host::{Finding, Host, Probe};

use crate::readiness::Check;

/// The oldest supported version.
pub(super) const LEAST: (u32, u32, u32) = (1, 16, 1);

/// The faults of older versions.
pub(super) const WHY: &str = "older ones have CVE-2026-5747, a way out of the guest, or lose the channel to a guest that was restored";

/// The paths to try after the bundle.
const PLACES: [&str; 3] = [
    "/usr/local/libexec/banger/firecracker",
    "/usr/bin/firecracker",
    "/usr/local/bin/firecracker",
];

/// The program: the configured one, or the first that exists; if none does, the path in the bundle.
#[must_use]
pub fn find(configured: Option<&Path>, bundle: &Path, host: &dyn Host) -> PathBuf {
    if let Some(path) = configured {
        return path.to_owned();
    }
    let first = bundle.join("firecracker");
    let places = std::iter::once(first.clone()).chain(PLACES.map(PathBuf::from));
    let is_there = |path: &PathBuf| host.stat(path).is_ok_and(|it| it.is_some());
    places.into_iter().find(is_there).unwrap_or(first)
}

/// Its requirements.
pub(super) fn checks(program: &Path, network: NetworkKind) -> Vec<Check> {
    vec![
        Check::probe(
            "Firecracker",
            Probe::Binary {
                path: program.to_owned(),
                version_argument: "--version".to_owned(),
                least: LEAST,
                why: WHY.to_owned(),
                hint: "download a release from https://github.com/firecracker-microvm/firecracker/releases and name it in the configuration: firecracker = \"/path/to/firecracker\""
                    .to_owned(),
            },
        ),
        Check::probe("KVM", Probe::Kvm),
        Check::new("Firecracker's network", move |_| match network {
            NetworkKind::Tap => Finding::Good("a TAP".to_owned()),
            NetworkKind::User => Finding::Bad {
                found: "no TAP available, and Firecracker has no user networking".to_owned(),
                hint: "set `hypervisor = \"qemu\"`, or see the check `TAP and nft`: banger doctor"
                    .to_owned(),
            },
        }),
    ]
}

/// Parses a version in the answer to `GET /version`, such as `1.17.0-dev`.
pub(super) fn version(text: &str) -> Option<(u32, u32, u32)> {
    let plain = text.split(['-', '+']).next()?;
    let mut numbers = plain.split('.').map(str::parse::<u32>);
    let version = (
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
    );
    numbers.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use banger_host::{FileOp, Op, Sim};

    #[test]
    fn the_configured_program_comes_first_then_the_bundle() {
        let sim = Sim::new();
        let bundle = Path::new("/bundle");
        let configured = Path::new("/opt/fc");
        assert_eq!(find(Some(configured), bundle, &sim), configured);
        assert_eq!(find(None, bundle, &sim), bundle.join("firecracker"));
        let make = |folder: &str| {
            let path = std::path::PathBuf::from(folder);
            let (mode, owner) = (0o755, None);
            let file = path.join("firecracker");
            sim.change(&Op::File(FileOp::MakeDirectory { path, mode, owner }))
                .unwrap();
            let (path, contents) = (file, Vec::new());
            let op = Op::File(FileOp::WriteFile {
                path,
                contents,
                mode,
                owner,
            });
            sim.change(&op).unwrap();
        };
        make("/usr/bin");
        assert_eq!(find(None, bundle, &sim), Path::new("/usr/bin/firecracker"));
        make("/bundle");
        assert_eq!(find(None, bundle, &sim), bundle.join("firecracker"));
    }

    #[test]
    fn a_version_has_three_numbers_whatever_follows() {
        assert_eq!(version("1.16.1"), Some((1, 16, 1)));
        assert_eq!(version("1.17.0-dev"), Some((1, 17, 0)));
        assert_eq!(version("1.17"), None);
        assert_eq!(version("1.17.0.1"), None);
        assert_eq!(version(""), None);
    }
}
