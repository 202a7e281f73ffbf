//! Canonical paths of directories.

use std::io::{ErrorKind, Result};
use std::path::{Component, Path, PathBuf};

/// The canonical path of a directory that may not exist yet: without links, `.`, `..` and repeated
/// slashes. The missing part keeps its name.
///
/// # Errors
/// If a directory above it cannot be read, or `..` follows a missing part.
pub fn real_path(path: &Path) -> Result<PathBuf> {
    match path.canonicalize() {
        Err(cause) if cause.kind() == ErrorKind::NotFound => {}
        found => return found,
    }
    match (path.parent(), path.components().next_back()) {
        (Some(above), Some(Component::Normal(name))) => Ok(real_path(above)?.join(name)),
        _ => Err(ErrorKind::NotFound.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_a_directory_has_one_path() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let state = folder.join("state");
        std::fs::create_dir(&state).unwrap();
        std::os::unix::fs::symlink("state", folder.join("link")).unwrap();
        for way in [
            "state",
            "state/",
            "./state",
            "state/.",
            "state/../state",
            "link",
            "link//",
        ] {
            assert_eq!(real_path(&folder.join(way)).unwrap(), state, "{way}");
            let below = folder.join(way).join("not/there");
            assert_eq!(real_path(&below).unwrap(), state.join("not/there"), "{way}");
        }
        assert!(real_path(&folder.join("not/there/..")).is_err());
    }
}
