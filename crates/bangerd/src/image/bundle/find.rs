//! Finds the bundle if neither an option nor a variable names one.

use std::path::{Path, PathBuf};

use super::MANIFEST;

/// The location of the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BundleLocation {
    /// Its folder, which may be empty or missing.
    pub folder: PathBuf,
    /// Why this folder was chosen, for messages.
    pub reason: String,
}

/// The configured bundle; else the first one that exists beside the running program; else the
/// user's `own`.
#[must_use]
pub(crate) fn find(
    configured: Option<&Path>,
    program: Option<&Path>,
    own: &Path,
) -> BundleLocation {
    let found = |folder: &Path, reason: &str| BundleLocation {
        folder: folder.to_owned(),
        reason: reason.to_owned(),
    };
    if let Some(folder) = configured {
        return found(folder, "`runtime_dir` of the configuration");
    }
    let beside = program.map(beside).unwrap_or_default();
    let first = beside.iter().find(|(it, _)| it.join(MANIFEST).is_file());
    match first {
        Some((folder, reason)) => found(folder, reason),
        None => found(own, "your own"),
    }
}

/// The folders of a bundle relative to a program: an installation's and a checkout's.
fn beside(program: &Path) -> Vec<(PathBuf, &'static str)> {
    let mut candidates = Vec::new();
    let Some(folder) = program.parent() else {
        return candidates;
    };
    if let Some(prefix) = folder.parent().filter(|_| folder.ends_with("bin")) {
        candidates.push((prefix.join("lib/banger"), "installed with the program"));
    }
    // <checkout>/target/release/bangerd
    let target = folder.parent().filter(|it| it.ends_with("target"));
    if let Some(checkout) = target.and_then(Path::parent) {
        candidates.push((checkout.join("runtime"), "beside the checkout's program"));
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup_order_is_configuration_then_installation_then_checkout_then_user() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let make = |name: &str| {
            std::fs::create_dir_all(place(name)).unwrap();
            std::fs::write(place(name).join(MANIFEST), "{}").unwrap();
        };
        let own = place("own");
        let installed = place("usr/bin/bangerd");
        let built = place("checkout/target/debug/bangerd");
        let of = |configured: Option<&Path>, program: &Path| find(configured, Some(program), &own);
        for program in [&installed, &built] {
            let found = of(None, program);
            assert_eq!((found.folder, &*found.reason), (own.clone(), "your own"));
        }
        make("usr/lib/banger");
        make("checkout/runtime");
        assert_eq!(of(None, &installed).folder, place("usr/lib/banger"));
        let found = of(None, &built);
        assert_eq!(found.folder, place("checkout/runtime"));
        assert!(found.reason.contains("checkout"));
        // A configured folder without a bundle is an error, not skipped.
        let named = place("named");
        assert_eq!(of(Some(&named), &installed).folder, named);
        assert_eq!(find(None, None, &own).folder, own);
    }
}
