//! Which bundle is used, where neither an option nor a variable names one.

use std::path::{Path, PathBuf};

use super::MANIFEST;

/// The bundle that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its folder. Whether a bundle is there is another question.
    pub folder: PathBuf,
    /// Why this one, in words.
    pub reason: String,
}

/// The bundle that the configuration names; else the first that is there, beside the program
/// that runs; else the user's `own`.
#[must_use]
pub fn find(configured: Option<&Path>, program: Option<&Path>, own: &Path) -> Found {
    let found = |folder: &Path, reason: &str| Found {
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

/// Where a bundle lies beside a program: where both were installed, or in a checkout.
fn beside(program: &Path) -> Vec<(PathBuf, &'static str)> {
    let mut places = Vec::new();
    let Some(folder) = program.parent() else {
        return places;
    };
    if let Some(prefix) = folder.parent().filter(|_| folder.ends_with("bin")) {
        places.push((prefix.join("lib/banger"), "installed with the program"));
    }
    // <checkout>/target/release/bangerd
    let target = folder.parent().filter(|it| it.ends_with("target"));
    if let Some(checkout) = target.and_then(Path::parent) {
        places.push((checkout.join("runtime"), "beside the checkout's program"));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_goes_before_the_installed_before_the_checkouts_before_ones_own() {
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
        // What is named is not passed over because nothing is there: it is told.
        let named = place("named");
        assert_eq!(of(Some(&named), &installed).folder, named);
        assert_eq!(find(None, None, &own).folder, own);
    }
}
