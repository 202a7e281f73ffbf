//! The tree of this machine: what each of its directories has.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use banger_copy::{Meta, RelativePath};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, readlinkat, statat,
};
use rustix::io::Errno;

use super::rules::Rules;
use super::watch::Watch;

/// An entry here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) node: Node,
    pub(super) mode: u32,
    /// The time of its last change: seconds and nanoseconds.
    pub(super) time: (i64, u32),
}

impl Entry {
    /// What the receiver sets of it.
    pub(super) fn meta(&self) -> Meta {
        Meta {
            mode: self.mode & 0o7777,
            seconds: self.time.0,
            nanos: self.time.1,
            ..Meta::default()
        }
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    File(u64),
    Symlink(Vec<u8>),
    /// Devices, sockets and pipes.
    Other,
}

/// The entries of a directory that are not ignored, by name.
pub(super) type Entries = BTreeMap<Vec<u8>, Entry>;

/// The directories that were read.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) directories: BTreeMap<RelativePath, Entries>,
    /// What could not be read, and why.
    pub(super) failed: Vec<(RelativePath, String)>,
}

/// The place of the tree.
#[derive(Debug)]
pub(super) struct Root(OwnedFd);

impl Root {
    pub(super) fn open(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Whether this is still the directory at a path, and no other one was put in its place.
    pub(super) fn is_at(&self, path: &Path) -> Result<bool, Errno> {
        let (held, there) = (fstat(&self.0)?, rustix::fs::stat(path)?);
        Ok((held.st_dev, held.st_ino) == (there.st_dev, there.st_ino))
    }

    /// Opens a directory of the tree, without following a link.
    pub(super) fn directory(&self, path: &RelativePath) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let below: &[u8] = if path.is_top() { b"." } else { path.as_bytes() };
        let confined = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        openat2(&self.0, below, flags, Mode::empty(), confined)
    }
}

/// Reads these directories, and those below them; unless `deep`, only those that are not watched
/// yet. Each is watched before it is read, so that no change is missed.
pub(super) fn read(
    root: &Root,
    from: Vec<RelativePath>,
    deep: bool,
    rules: &Rules,
    mut watch: Option<&mut Watch>,
) -> Tree {
    let mut tree = Tree::default();
    let mut left = from;
    while let Some(path) = left.pop() {
        if let Some(watch) = &mut watch {
            watch.add(&path);
        }
        match read_directory(root, &path, rules) {
            Ok(entries) => {
                for (name, entry) in &entries {
                    let Ok(below) = path.join(name) else {
                        continue;
                    };
                    let is_known = !deep && watch.as_ref().is_some_and(|it| it.knows(&below));
                    if entry.node == Node::Directory && !is_known {
                        left.push(below);
                    }
                }
                tree.directories.insert(path, entries);
            }
            // The directory that it was in tells that.
            Err(Unread::Gone(_)) if !path.is_top() => {}
            Err(Unread::Gone(cause)) => tree.failed.push((path, cause.to_string())),
            Err(Unread::Failed(reason)) => tree.failed.push((path, reason)),
        }
    }
    tree
}

/// Why a directory was not read. What it has is not known then: nothing in it may be taken for removed.
enum Unread {
    /// It has gone meanwhile.
    Gone(Errno),
    /// For this reason.
    Failed(String),
}

impl From<Errno> for Unread {
    fn from(cause: Errno) -> Self {
        if is_of_absence(cause) {
            Self::Gone(cause)
        } else {
            Self::Failed(cause.to_string())
        }
    }
}

/// Whether this proves that something is not there any more, or that something else is in its place.
pub(super) fn is_of_absence(cause: Errno) -> bool {
    matches!(cause, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

/// Reads all entries of a directory, or none.
fn read_directory(root: &Root, path: &RelativePath, rules: &Rules) -> Result<Entries, Unread> {
    let mut directory = Dir::new(root.directory(path)?)?;
    let mut entries = Entries::new();
    while let Some(found) = directory.read() {
        let name = found?.file_name().to_bytes().to_vec();
        if name == b"." || name == b".." {
            continue;
        }
        let of_entry = |reason: &dyn std::fmt::Display| {
            Unread::Failed(format!("`{}`: {reason}", String::from_utf8_lossy(&name)))
        };
        let below = path.join(&name).map_err(|cause| of_entry(&cause))?;
        let fd = directory.fd()?;
        let stat = match statat(fd, &*name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // It has gone meanwhile.
            Err(Errno::NOENT) => continue,
            Err(cause) => return Err(of_entry(&cause)),
        };
        let node = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Node::Directory,
            FileType::RegularFile => Node::File(u64::try_from(stat.st_size).unwrap_or(0)),
            FileType::Symlink => match readlinkat(fd, &*name, Vec::new()) {
                Ok(target) => Node::Symlink(target.into_bytes()),
                Err(Errno::NOENT) => continue,
                Err(cause) => return Err(of_entry(&cause)),
            },
            _ => Node::Other,
        };
        let is_ignored = rules.ignore(&below, node == Node::Directory);
        if !is_ignored.map_err(Unread::Failed)? {
            entries.insert(name, entry(node, &stat));
        }
    }
    Ok(entries)
}

fn entry(node: Node, stat: &Stat) -> Entry {
    Entry {
        node,
        mode: stat.st_mode,
        time: (
            stat.st_mtime,
            u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{mkdirat, openat};

    #[test]
    fn a_directory_is_read_to_its_end_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let (name, long) = ("x".repeat(250), "y".repeat(200));
        let mut above = RelativePath::default();
        let mut directory = root.directory(&above).unwrap();
        for _ in 0..16 {
            mkdirat(&directory, &*name, Mode::RWXU).unwrap();
            directory = openat(&directory, &*name, flags, Mode::empty()).unwrap();
            above = above.join(name.as_bytes()).unwrap();
        }
        // The second one has too long a path, so that the first one is not all that there is.
        for file in ["a", &long] {
            let create = OFlags::CREATE | OFlags::WRONLY;
            openat(&directory, file, create, Mode::RUSR).unwrap();
        }
        let rules = Rules::new(folder.path(), &[], false).unwrap();
        let tree = read(&root, vec![RelativePath::default()], true, &rules, None);
        assert_eq!(tree.directories.len(), 16);
        assert!(!tree.directories.contains_key(&above));
        let failed: Vec<_> = tree.failed.iter().map(|(path, _)| path).collect();
        assert_eq!(failed, [&above]);
    }

    #[test]
    fn an_error_that_proves_no_absence_is_none() {
        assert!(is_of_absence(Errno::NOENT) && is_of_absence(Errno::LOOP));
        for cause in [Errno::ACCESS, Errno::IO, Errno::MFILE, Errno::STALE] {
            assert!(!is_of_absence(cause), "{cause}");
            assert!(matches!(Unread::from(cause), Unread::Failed(_)), "{cause}");
        }
    }

    #[test]
    fn a_root_is_known_by_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root");
        std::fs::create_dir(&path).unwrap();
        let root = Root::open(&path).unwrap();
        assert_eq!(root.is_at(&path), Ok(true));
        std::fs::remove_dir(&path).unwrap();
        assert_eq!(root.is_at(&path), Err(Errno::NOENT));
        std::fs::create_dir(&path).unwrap();
        assert_eq!(root.is_at(&path), Ok(false));
    }
}
