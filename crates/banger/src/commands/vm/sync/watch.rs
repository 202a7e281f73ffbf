//! Changes of the tree here, by inotify: which directories have changed since they were read.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use banger_copy::RelativePath;
use rustix::fs::inotify::{self, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::rules::FILES;

/// The most directories that are read one by one; beyond that the whole tree is.
const MOST_CHANGED: usize = 256;

/// The directories that are watched.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: OwnedFd,
    root: PathBuf,
    paths: HashMap<i32, RelativePath>,
    /// The watch of each path, so that the end of a former one does not end it.
    known: HashMap<RelativePath, i32>,
    changed: Changes,
    /// Why not all directories are watched.
    limit: Option<Errno>,
}

/// What has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// These directories; the top is one of them if that has.
    pub(super) directories: BTreeSet<RelativePath>,
    /// Everything may have.
    pub(super) all: bool,
    /// Some changes were not told: the kernel's queue was full.
    pub(super) overflow: bool,
    /// A file of rules has.
    pub(super) rules: bool,
    /// The disk with this directory was unmounted: what was on it is not removed by anybody.
    pub(super) unmounted: Option<RelativePath>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        !self.all && self.directories.is_empty()
    }
}

impl Watch {
    pub(super) fn new(root: &Path) -> Result<Self, Errno> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Ok(Self {
            inotify: inotify::init(flags)?,
            root: root.to_owned(),
            paths: HashMap::new(),
            known: HashMap::new(),
            changed: Changes::default(),
            limit: None,
        })
    }

    /// Watches a directory. Nothing happens if it has gone.
    pub(super) fn add(&mut self, path: &RelativePath) {
        let events = WatchFlags::CLOSE_WRITE
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::EXCL_UNLINK
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        let below = self.root.join(OsStr::from_bytes(path.as_bytes()));
        match inotify::add_watch(&self.inotify, below, events) {
            Ok(watch) => {
                // A directory that was moved has its watch still.
                if let Some(former) = self.paths.insert(watch, path.clone()) {
                    self.known.remove(&former);
                }
                self.known.insert(path.clone(), watch);
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {}
            Err(cause) => self.limit = Some(cause),
        }
    }

    /// Whether a directory is watched.
    pub(super) fn knows(&self, path: &RelativePath) -> bool {
        self.known.contains_key(path)
    }

    /// Why not all directories are watched, if so; said once.
    pub(super) fn limit(&self) -> Option<Errno> {
        self.limit
    }

    /// Takes the events that are there; whether there were any.
    pub(super) fn hear(&mut self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut heard = false;
        let mut events = Vec::new();
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        // It would block once there are no more.
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(|name| name.to_bytes().to_vec());
            events.push((event.wd(), event.events(), name));
        }
        for (watch, flags, name) in events {
            heard = true;
            self.note(watch, flags, name.as_deref());
        }
        heard
    }

    fn note(&mut self, watch: i32, flags: ReadFlags, name: Option<&[u8]>) {
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.changed.all = true;
            self.changed.overflow = true;
            return;
        }
        if flags.contains(ReadFlags::IGNORED) {
            if let Some(path) = self.paths.remove(&watch)
                && self.known.get(&path) == Some(&watch)
            {
                self.known.remove(&path);
            }
            return;
        }
        let Some(path) = self.paths.get(&watch) else {
            return;
        };
        if path.is_top() && flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF) {
            self.changed.all = true;
        }
        if flags.contains(ReadFlags::UNMOUNT) {
            // Of all directories on it, the nearest to the top is the one that it was mounted at.
            let nearest = self.changed.unmounted.take();
            let nearest = nearest.filter(|it| it.as_bytes().len() <= path.as_bytes().len());
            self.changed.unmounted = nearest.or_else(|| Some(path.clone()));
            self.changed.all = true;
            return;
        }
        let name = name.unwrap_or_default();
        if FILES.iter().any(|file| file.as_bytes() == name) {
            self.changed.rules = true;
            self.changed.all = true;
        }
        // Another directory may have this name from now on, and is read with all that lies in it. The
        // watch of a former one that a process holds open tells nothing about it.
        let is_other =
            ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO | ReadFlags::CREATE | ReadFlags::DELETE;
        if flags.intersects(is_other)
            && flags.contains(ReadFlags::ISDIR)
            && let Ok(below) = path.join(name)
            && self.known.contains_key(&below)
        {
            self.known.retain(|it, _| !it.is_within(&below));
        }
        self.changed.directories.insert(path.clone());
        if self.changed.directories.len() > MOST_CHANGED {
            self.changed.all = true;
        }
    }

    /// What has changed since this was asked last.
    pub(super) fn take(&mut self) -> Changes {
        std::mem::take(&mut self.changed)
    }

    /// Has the whole tree read with the next batch.
    pub(super) fn doubt(&mut self) {
        self.changed.all = true;
    }

    /// Whether something has changed that was not taken.
    pub(super) fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unmounted_disk_is_told_by_the_place_that_it_had() {
        let folder = tempfile::tempdir().unwrap();
        let path = |text: &str| RelativePath::new(text).unwrap();
        std::fs::create_dir_all(folder.path().join("data/deep")).unwrap();
        let mut watch = Watch::new(folder.path()).unwrap();
        for text in ["", "data", "data/deep"] {
            watch.add(&path(text));
        }
        for text in ["data/deep", "data"] {
            let number = watch.known[&path(text)];
            watch.note(number, ReadFlags::UNMOUNT, None);
            watch.note(number, ReadFlags::IGNORED, None);
        }
        let changes = watch.take();
        assert_eq!(changes.unmounted, Some(path("data")));
        assert!(changes.directories.is_empty(), "{changes:?}");
    }

    #[test]
    fn a_directory_that_is_made_anew_is_watched_although_a_process_holds_the_former_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = |text: &str| RelativePath::new(text).unwrap();
        let sub = folder.path().join("sub");
        std::fs::create_dir(&sub).unwrap();
        let mut watch = Watch::new(folder.path()).unwrap();
        watch.add(&path(""));
        watch.add(&path("sub"));
        let held = std::fs::File::open(&sub).unwrap();
        std::fs::remove_dir(&sub).unwrap();
        std::fs::create_dir(&sub).unwrap();
        watch.hear();
        assert!(watch.take().directories.contains(&path("")));
        assert!(!watch.knows(&path("sub")));
        watch.add(&path("sub"));
        // The former one ends only now, and takes nothing with it.
        drop(held);
        watch.hear();
        assert!(watch.knows(&path("sub")));
        watch.take();
        std::fs::write(sub.join("file"), "new").unwrap();
        watch.hear();
        assert!(watch.take().directories.contains(&path("sub")));
    }
}
