//! Whether a copy within one guest is of a directory into itself, which has no end.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What the refusal of such a copy begins with.
pub const INTO_ITSELF: &str = "cannot copy a directory into itself: ";

/// Requires that no source is a directory that its copy would be, or lie in. Each source is given as the user
/// wrote it, and as the path that this means.
pub(crate) fn require_apart(
    sources: &[Vec<u8>],
    paths: &[PathBuf],
    destination: &Path,
) -> Result<(), String> {
    for (source, path) in sources.iter().zip(paths) {
        let Some(top) = path.metadata().ok().filter(std::fs::Metadata::is_dir) else {
            continue;
        };
        let place = if destination.is_dir() && !is_of_contents(source) {
            path.file_name()
                .map_or_else(|| destination.to_owned(), |name| destination.join(name))
        } else {
            destination.to_owned()
        };
        // The part of the place that is there has its true path.
        let real = place.ancestors().find_map(|it| it.canonicalize().ok());
        let is_top = |it: &Path| {
            let found = it.metadata();
            found.is_ok_and(|it| (it.dev(), it.ino()) == (top.dev(), top.ino()))
        };
        if real.is_some_and(|real| real.ancestors().any(is_top)) {
            let (from, to) = (path.display(), place.display());
            return Err(format!("{INTO_ITSELF}`{from}` would have `{to}` in it"));
        }
    }
    Ok(())
}

/// Whether a path means what is in a directory, and not the directory under its own name.
fn is_of_contents(path: &[u8]) -> bool {
    let end = path.iter().rposition(|byte| *byte != b'/');
    let path = &path[..end.map_or(0, |at| at + 1)];
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    matches!(name, b"" | b"." | b".." | b"~")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve;

    #[test]
    fn a_directory_is_not_copied_into_itself_by_whatever_name() {
        let world = tempfile::tempdir().unwrap();
        let home = world.path();
        std::fs::create_dir_all(home.join("a/b/a")).unwrap();
        std::fs::create_dir(home.join("other")).unwrap();
        std::fs::write(home.join("file"), "").unwrap();
        std::os::unix::fs::symlink("a/b", home.join("link")).unwrap();
        let judge = |from: &str, to: &str| {
            let sources = [from.as_bytes().to_vec()];
            let paths = [resolve(&sources[0], home, Path::new("/"))];
            let destination = resolve(to.as_bytes(), home, Path::new("/"));
            require_apart(&sources, &paths, &destination)
        };
        for (from, to) in [
            ("a", "a"),
            ("a", "a/b"),
            ("a", "a/new"),
            ("a", "a/new/deep"),
            ("a", "link"),
            ("a", "link/new"),
            ("a", "other/../a/b"),
            ("a", ""),
            ("a/", "~"),
            ("a/b", "a"),
            ("a/.", "a"),
            ("a/.", "a/b"),
            ("link", "a/b/a"),
            ("", "a"),
            ("~", "new"),
        ] {
            let reason = judge(from, to).expect_err(&format!("{from} {to}"));
            assert!(reason.starts_with(INTO_ITSELF), "{reason}");
        }
        for (from, to) in [
            ("a", "new"),
            ("a", "other"),
            ("a/.", ""),
            ("a/b/.", "a"),
            ("a/b/a", "a"),
            ("link/.", "a"),
            ("file", "file"),
            ("nothing", "a"),
        ] {
            assert_eq!(judge(from, to), Ok(()), "{from} {to}");
        }
    }
}
