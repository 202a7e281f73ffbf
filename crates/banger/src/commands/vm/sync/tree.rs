//! The tree of this machine: what each of its directories has.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use banger_copy::RelativePath;
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, openat2, readlinkat, statat,
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
            // It has gone meanwhile, which the directory that it was in tells.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !path.is_top() => {}
            Err(cause) => tree.failed.push((path, cause.to_string())),
        }
    }
    tree
}

fn read_directory(root: &Root, path: &RelativePath, rules: &Rules) -> Result<Entries, Errno> {
    let mut directory = Dir::new(root.directory(path)?)?;
    let mut entries = Entries::new();
    while let Some(found) = directory.read() {
        let name = found?.file_name().to_bytes().to_vec();
        let Ok(below) = path.join(&name) else {
            continue;
        };
        let fd = directory.fd()?;
        let Ok(stat) = statat(fd, &*name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        let node = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Node::Directory,
            FileType::RegularFile => Node::File(u64::try_from(stat.st_size).unwrap_or(0)),
            FileType::Symlink => match readlinkat(fd, &*name, Vec::new()) {
                Ok(target) => Node::Symlink(target.into_bytes()),
                Err(_) => continue,
            },
            _ => Node::Other,
        };
        if !rules.ignore(&below, node == Node::Directory) {
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
