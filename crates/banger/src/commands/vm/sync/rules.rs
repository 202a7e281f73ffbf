//! What is ignored: `.git`, the patterns of the command line, `.bangerignore`, and `.gitignore`, in
//! this order.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use banger_api::{Code, Error};
use banger_copy::RelativePath;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The files with rules, the stronger one first.
pub(super) const FILES: [&str; 2] = [".bangerignore", ".gitignore"];

/// The largest file of rules that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// The most directories above the tree whose rules hold in it.
const MOST_ABOVE: usize = 64;

/// The rules of a tree.
#[derive(Debug)]
pub(super) struct Rules {
    root: PathBuf,
    keeps_git: bool,
    patterns: Gitignore,
    /// Those of the repository's directories above the tree, and the path of the tree from there.
    above: Vec<(Level, PathBuf)>,
    /// Those of the directories of the tree, as they were read.
    levels: RefCell<HashMap<Vec<u8>, Rc<Level>>>,
}

/// The rules of one directory, one of each file.
#[derive(Debug)]
struct Level([Gitignore; FILES.len()]);

impl Rules {
    /// The rules of the tree in `root`.
    pub(super) fn new(root: &Path, patterns: &[String], keeps_git: bool) -> Result<Self, Error> {
        let mut builder = GitignoreBuilder::new(".");
        for pattern in patterns {
            builder.add_line(None, pattern).map_err(|cause| {
                Error::new(Code::Invalid, format!("`{pattern}` is no pattern"))
                    .cause(cause.to_string())
            })?;
        }
        let patterns = builder.build().map_err(|cause| {
            Error::new(Code::Invalid, "read the patterns").cause(cause.to_string())
        })?;
        Ok(Self {
            root: root.to_owned(),
            keeps_git,
            patterns,
            above: above(root),
            levels: RefCell::default(),
        })
    }

    /// Forgets what was read, as a file of rules has changed.
    pub(super) fn forget(&self) {
        self.levels.borrow_mut().clear();
    }

    /// Whether an entry is ignored that lies in a directory which is not.
    pub(super) fn ignore(&self, path: &RelativePath, is_directory: bool) -> bool {
        if !self.keeps_git && path.split().1 == b".git" {
            return true;
        }
        let found = |it: Match<_>| match it {
            Match::None => None,
            Match::Ignore(_) => Some(true),
            Match::Whitelist(_) => Some(false),
        };
        let as_path = |bytes| Path::new(OsStr::from_bytes(bytes));
        let whole = as_path(path.as_bytes());
        let by_pattern = self.patterns.matched(whole, is_directory);
        if let Some(verdict) = found(by_pattern.map(drop)) {
            return verdict;
        }
        (0..FILES.len())
            .find_map(|file| {
                let mut directory = path.split().0;
                loop {
                    let level = self.level(directory);
                    let below = path.as_bytes().strip_prefix(directory).unwrap_or_default();
                    let below = as_path(below.strip_prefix(b"/").unwrap_or(below));
                    let verdict = found(level.0[file].matched(below, is_directory).map(drop));
                    if verdict.is_some() || directory.is_empty() {
                        return verdict;
                    }
                    let end = directory.iter().rposition(|byte| *byte == b'/');
                    directory = &directory[..end.unwrap_or(0)];
                }
            })
            .or_else(|| {
                self.above.iter().find_map(|(level, prefix)| {
                    let path = prefix.join(whole);
                    level
                        .0
                        .iter()
                        .find_map(|rules| found(rules.matched(&path, is_directory).map(drop)))
                })
            })
            .unwrap_or(false)
    }

    fn level(&self, directory: &[u8]) -> Rc<Level> {
        let mut levels = self.levels.borrow_mut();
        if let Some(level) = levels.get(directory) {
            return Rc::clone(level);
        }
        let path = self.root.join(OsStr::from_bytes(directory));
        let level = Rc::new(Level::read(&path));
        levels.insert(directory.to_vec(), Rc::clone(&level));
        level
    }
}

impl Level {
    fn read(directory: &Path) -> Self {
        Self(FILES.map(|name| read(&directory.join(name))))
    }
}

/// The rules in a file; none if there is no such file. Lines that are no pattern are skipped, as
/// git does.
fn read(file: &Path) -> Gitignore {
    let is_file = file
        .metadata()
        .is_ok_and(|it| it.is_file() && it.len() <= LARGEST);
    let bytes = if is_file {
        std::fs::read(file)
    } else {
        Ok(Vec::new())
    };
    let mut builder = GitignoreBuilder::new(".");
    for line in String::from_utf8_lossy(&bytes.unwrap_or_default()).lines() {
        let _ = builder.add_line(None, line);
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

/// The rules above a tree in a repository, the nearest first.
fn above(root: &Path) -> Vec<(Level, PathBuf)> {
    let is_repository = |it: &&Path| it.join(".git").exists();
    let mut above: Vec<&Path> = root.ancestors().take(MOST_ABOVE).collect();
    match above.iter().position(is_repository) {
        Some(top) => above.truncate(top + 1),
        None => above.clear(),
    }
    let level = |directory: &&Path| {
        let prefix = root.strip_prefix(directory).ok()?;
        Some((Level::read(directory), prefix.to_owned()))
    };
    above.iter().skip(1).filter_map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(rules: &Rules, text: &str) -> bool {
        let path = RelativePath::new(text.trim_end_matches('/')).unwrap();
        rules.ignore(&path, text.ends_with('/'))
    }

    #[test]
    fn rules_of_all_files_hold_and_the_nearest_is_the_strongest() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path();
        let root = top.join("app");
        std::fs::create_dir_all(root.join("below")).unwrap();
        std::fs::create_dir(top.join(".git")).unwrap();
        for (file, text) in [
            (top.join(".gitignore"), "*.log\n/app/dist\n"),
            (
                root.join(".gitignore"),
                "/target\nnode_modules/\n!kept.log\n[\n",
            ),
            (root.join(".bangerignore"), "*.iso\n!/target\n"),
            (root.join("below/.gitignore"), "*\n!.gitignore\n"),
        ] {
            std::fs::write(file, text).unwrap();
        }
        let patterns = ["/secret".to_owned(), "!a.iso".to_owned()];
        let rules = Rules::new(&root, &patterns, false).unwrap();
        for path in [
            ".git/",
            "below/.git",
            "a.log",
            "dist/",
            "node_modules/",
            "src/node_modules/",
            "b.iso",
            "below/anything",
            "secret",
        ] {
            assert!(ignored(&rules, path), "{path}");
        }
        for path in [
            "kept.log",
            "node_modules",
            "target/",
            "a.iso",
            "below/.gitignore",
            "src/secret",
            ".gitignore",
            "src/dist/",
        ] {
            assert!(!ignored(&rules, path), "{path}");
        }
        assert!(!ignored(&Rules::new(&root, &[], true).unwrap(), ".git/"));
        std::fs::write(root.join(".bangerignore"), "kept.log\n").unwrap();
        assert!(!ignored(&rules, "kept.log"));
        rules.forget();
        assert!(ignored(&rules, "kept.log"));
        assert!(Rules::new(&root, &["{a".to_owned()], false).is_err());
    }
}
