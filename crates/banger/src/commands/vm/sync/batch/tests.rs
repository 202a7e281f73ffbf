//! Batches against a VM that replies what a test wants.

use std::os::unix::net::UnixStream;

use banger_copy::{NoWatch, SendOptions};

use super::*;
use crate::commands::vm::sync::tree;

fn path(text: &str) -> RelativePath {
    RelativePath::new(text).unwrap()
}

/// A tree, and the two ends of a connection.
struct World {
    folder: tempfile::TempDir,
    ours: Connection,
    theirs: Connection,
}

impl World {
    fn new() -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "one").unwrap();
        Self {
            folder,
            ours: Connection::new(ours, Vec::new()),
            theirs: Connection::new(theirs, Vec::new()),
        }
    }

    /// Has the VM reply this, before it is asked.
    fn reply(&mut self, frames: &[Frame]) {
        for frame in frames {
            self.theirs.send(frame).unwrap();
        }
        self.theirs.flush().unwrap();
    }

    /// Does something with a batch, for which a VM may tell so many bytes.
    fn batch<T>(&mut self, room: usize, with: impl FnOnce(&mut Batch<'_, '_>, &Tree) -> T) -> T {
        let root = Root::open(self.folder.path()).unwrap();
        let rules = Rules::new(self.folder.path(), &[], false).unwrap();
        let tree = tree::read(&root, vec![path("")], true, &rules, None);
        let unsure = HashSet::new();
        let options = BatchOptions {
            delete: true,
            by_content: ByContent(false),
        };
        let mut watch = NoWatch;
        let mut sender = Sender::new(&mut self.ours, &mut watch, SendOptions::default());
        let mut batch = Batch::new(&mut sender, &root, &rules, options, &unsure);
        batch.room = Room(room);
        let done = with(&mut batch, &tree);
        sender.flush().unwrap();
        done
    }
}

#[test]
fn a_file_that_changes_after_it_was_judged_keeps_the_time_of_the_former_one() {
    let mut world = World::new();
    let file = world.folder.path().join("file");
    let stat = rustix::fs::stat(&file).unwrap();
    let judged = Meta {
        user: 0,
        group: 0,
        ..Meta::from(&stat)
    };
    let listed = ListedEntry {
        name: b"file".to_vec(),
        meta: Meta {
            mode: judged.mode ^ 0o111,
            ..judged
        },
        node: ListedNode::File(3),
    };
    world.reply(&[Frame::Listed(vec![listed]), Frame::ListEnd(ListEnd::Whole)]);
    world.batch(MOST_LISTED, |batch, tree| {
        let plan = batch.plan(tree).unwrap();
        std::fs::write(&file, "two").unwrap();
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
        let opened = std::fs::File::options().write(true).open(&file).unwrap();
        opened.set_modified(later).unwrap();
        batch.perform(&plan).unwrap();
    });
    let sent: Vec<Frame> = (0..3).map(|_| world.theirs.expect().unwrap()).collect();
    let expected = [
        Frame::Source(0),
        Frame::List(path("")),
        Frame::Touch(path("file"), judged),
    ];
    assert_eq!(sent, expected);
}

#[test]
fn all_that_a_vm_tells_is_counted() {
    let listed = |node| ListedEntry {
        name: b"name".to_vec(),
        meta: Meta::default(),
        node,
    };
    let link = listed(ListedNode::Symlink(vec![b'x'; 2000]));
    for frames in [
        vec![Frame::Listed(vec![link]), Frame::ListEnd(ListEnd::Whole)],
        vec![Frame::ListEnd(ListEnd::Failed("x".repeat(2000)))],
    ] {
        for (room, is_refused) in [(1000, true), (4000, false)] {
            let mut world = World::new();
            world.reply(&frames);
            let plan = world.batch(room, |batch, tree| batch.plan(tree).map(drop));
            let refused = matches!(plan, Err(CopyError::Refused(_)));
            assert_eq!(refused, is_refused, "{room}: {frames:?}");
        }
    }
    // A name in a deep directory has a long path in the plan.
    let deep = path(&["x"; 1000].join("/"));
    assert!(size_of(&deep, &listed(ListedNode::Directory)) > 2000);
}
