//! What is ignored: `.git`, the patterns of the command line, `.bangerignore`, and `.gitignore`, in
//! this order.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
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
                Error::new(Code::Invalid, format!("`{pattern}` is not a pattern"))
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
            above: above(root).map_err(|reason| {
                Error::new(Code::Host, "read what is ignored")
                    .cause(reason)
                    .hint("make the file readable, or remove it")
            })?,
            levels: RefCell::default(),
        })
    }

    /// Forgets what was read: a file of rules may have changed, or gone with its directory.
    pub(super) fn forget(&self) {
        self.levels.borrow_mut().clear();
    }

    /// Whether an entry is ignored that lies in a directory which is not.
    ///
    /// # Errors
    /// A file of rules is there and cannot be read, in words. What it protects is not known then.
    pub(super) fn ignore(&self, path: &RelativePath, is_directory: bool) -> Result<bool, String> {
        if !self.keeps_git && path.split().1 == b".git" {
            return Ok(true);
        }
        let whole = as_path(path.as_bytes());
        if let Some(verdict) = found(&self.patterns.matched(whole, is_directory)) {
            return Ok(verdict);
        }
        for file in 0..FILES.len() {
            for directory in path.ancestors().skip(1) {
                let level = self.level(directory)?;
                let below = path.as_bytes().strip_prefix(directory).unwrap_or_default();
                let below = as_path(below.strip_prefix(b"/").unwrap_or(below));
                if let Some(verdict) = found(&level.0[file].matched(below, is_directory)) {
                    return Ok(verdict);
                }
            }
            for (level, prefix) in &self.above {
                let path = prefix.join(whole);
                if let Some(verdict) = found(&level.0[file].matched(&path, is_directory)) {
                    return Ok(verdict);
                }
            }
        }
        Ok(false)
    }

    fn level(&self, directory: &[u8]) -> Result<Rc<Level>, String> {
        let mut levels = self.levels.borrow_mut();
        if let Some(level) = levels.get(directory) {
            return Ok(Rc::clone(level));
        }
        let level = Rc::new(Level::read(&self.root.join(as_path(directory)))?);
        levels.insert(directory.to_vec(), Rc::clone(&level));
        Ok(level)
    }
}

/// What a match says, if anything.
fn found<T>(matched: &Match<T>) -> Option<bool> {
    match matched {
        Match::None => None,
        Match::Ignore(_) => Some(true),
        Match::Whitelist(_) => Some(false),
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

impl Level {
    fn read(directory: &Path) -> Result<Self, String> {
        let [first, second] = FILES.map(|name| read(&directory.join(name)));
        Ok(Self([first?, second?]))
    }
}

/// The rules in a file; none if there is no such file. Lines that are no pattern are skipped, as
/// git does.
fn read(file: &Path) -> Result<Gitignore, String> {
    let shown = file.display();
    let unreadable = |cause: io::Error| format!("the rules in `{shown}` cannot be read: {cause}");
    let found = match file.symlink_metadata() {
        // A link that leads nowhere had rules once.
        Ok(found) if found.is_symlink() => file.metadata().map_err(unreadable)?,
        Ok(found) => found,
        Err(cause) if is_absent(&cause) => return Ok(Gitignore::empty()),
        Err(cause) => return Err(unreadable(cause)),
    };
    if !found.is_file() {
        return Ok(Gitignore::empty());
    }
    if found.len() > LARGEST {
        return Err(format!("the rules in `{shown}` are longer than 1 MiB"));
    }
    let bytes = std::fs::read(file).map_err(unreadable)?;
    let mut builder = GitignoreBuilder::new(".");
    for line in String::from_utf8_lossy(&bytes).lines() {
        let _ = builder.add_line(None, line);
    }
    builder
        .build()
        .map_err(|cause| format!("the rules in `{shown}` cannot be used: {cause}"))
}

fn is_absent(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The rules above a tree in a repository, the nearest first.
fn above(root: &Path) -> Result<Vec<(Level, PathBuf)>, String> {
    let is_repository = |it: &&Path| it.join(".git").exists();
    let mut above: Vec<&Path> = root.ancestors().take(MOST_ABOVE).collect();
    match above.iter().position(is_repository) {
        Some(top) => above.truncate(top + 1),
        None => above.clear(),
    }
    let mut levels = Vec::new();
    for directory in above.into_iter().skip(1) {
        if let Ok(prefix) = root.strip_prefix(directory) {
            levels.push((Level::read(directory)?, prefix.to_owned()));
        }
    }
    Ok(levels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(rules: &Rules, text: &str) -> bool {
        let path = RelativePath::new(text.trim_end_matches('/')).unwrap();
        rules.ignore(&path, text.ends_with('/')).unwrap()
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
            (top.join(".bangerignore"), "!/app/node_modules\n"),
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
            // The rules for banger above the tree are stronger than those for git in it.
            "node_modules/",
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
    #[test]
    fn rules_that_cannot_be_read_are_an_error_and_not_none() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let file = root.join("sub/.gitignore");
        std::fs::create_dir(root.join("sub")).unwrap();
        let rules = Rules::new(root, &[], false).unwrap();
        let below = RelativePath::new("sub/name").unwrap();
        std::os::unix::fs::symlink("nowhere", &file).unwrap();
        let reason = rules.ignore(&below, false).unwrap_err();
        assert!(
            reason.contains("sub/.gitignore` cannot be read"),
            "{reason}"
        );
        std::fs::remove_file(&file).unwrap();
        std::fs::File::create(&file)
            .and_then(|it| it.set_len(LARGEST + 1))
            .unwrap();
        let reason = rules.ignore(&below, false).unwrap_err();
        assert!(reason.contains("longer than 1 MiB"), "{reason}");
        // What lies beside is judged all the same, and so is what an earlier rule names.
        assert!(!ignored(&rules, "other"));
        assert!(ignored(&rules, "sub/.git/"));
        // A directory of this name has no rules.
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(!ignored(&rules, "sub/name"));
        std::fs::create_dir(root.join(".git")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join(".gitignore")).unwrap();
        let error = Rules::new(&root.join("sub"), &[], false).unwrap_err();
        assert!(error.report().contains("cannot be read"), "{error:?}");
    }
}
