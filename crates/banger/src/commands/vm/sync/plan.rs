//! What makes the tree of a VM the same as the one here. Pure.

use std::collections::{BTreeMap, HashSet};

use banger_copy::{ListedEntry, ListedNode, Meta, RelativePath};

use super::tree::{Entry, Node};

/// The permissions that are compared: the receiver drops set-user-id and set-group-id.
const COMPARED: u32 = 0o1777;

/// What a VM has in a directory, by name.
pub(super) type There = BTreeMap<Vec<u8>, ListedEntry>;

/// What is to be done with one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Same,
    /// It is sent.
    Send,
    /// Its content is the same, and its permissions or its time are not.
    Touch,
    /// Its content decides.
    Compare,
    /// Something is in its place that cannot be replaced at once.
    InTheWay,
}

/// Whether files are compared by their content.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByContent(pub(super) bool);

/// Judges an entry by what the VM has under its name.
pub(super) fn judge(here: &Entry, there: Option<&ListedEntry>, by_content: ByContent) -> Verdict {
    let Some(there) = there else {
        return Verdict::Send;
    };
    let is_mode_same = here.mode & COMPARED == there.meta.mode & COMPARED;
    let touched = |same| if same { Verdict::Same } else { Verdict::Touch };
    match (&here.node, &there.node) {
        (Node::Directory, ListedNode::Directory) => touched(is_mode_same),
        (Node::Directory, _) | (_, ListedNode::Directory) => Verdict::InTheWay,
        (Node::File(size), ListedNode::File(other)) if size == other => {
            let is_time_same = here.time == (there.meta.seconds, there.meta.nanos);
            if by_content.0 {
                Verdict::Compare
            } else if is_time_same {
                touched(is_mode_same)
            } else {
                Verdict::Send
            }
        }
        (Node::Symlink(target), ListedNode::Symlink(other)) if target == other => Verdict::Same,
        _ => Verdict::Send,
    }
}

/// Whether only the permissions or the time of a file differ, whose content is the same.
pub(super) fn judge_meta(here: &Entry, there: &ListedEntry) -> Verdict {
    let time = (there.meta.seconds, there.meta.nanos);
    let is_same = here.time == time && here.mode & COMPARED == there.meta.mode & COMPARED;
    if is_same {
        Verdict::Same
    } else {
        Verdict::Touch
    }
}

/// What is to be done, in this order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What goes there: what lies in a directory before it.
    pub(super) remove: Vec<RelativePath>,
    /// What gets only these permissions and this time: those that were judged. Later ones may belong
    /// to a content that the VM has not.
    pub(super) touch: Vec<(RelativePath, Meta)>,
    /// What is sent: a directory before what lies in it.
    pub(super) send: Vec<RelativePath>,
    /// What cannot be, and why.
    pub(super) refused: Vec<(RelativePath, String)>,
    /// Directories that are not in the VM, or in whose place something is.
    pub(super) closed: HashSet<RelativePath>,
    /// Directories of the VM that hold something that stays, and so stay, too.
    pub(super) held: HashSet<RelativePath>,
}

impl Plan {
    /// Notes that something stays, and with it the directories that it lies in.
    pub(super) fn hold(&mut self, path: &RelativePath) {
        for directory in path.ancestors().skip(1) {
            let is_new = RelativePath::new(directory).is_ok_and(|it| self.held.insert(it));
            if !is_new {
                return;
            }
        }
    }

    /// Puts everything in its order, and drops what cannot be done.
    pub(super) fn finish(&mut self) {
        self.remove.retain(|path| !self.held.contains(path));
        // What lies deeper goes first.
        self.remove.sort_unstable_by(|one, other| other.cmp(one));
        let is_open = |path: &RelativePath| {
            self.closed.is_empty() || !path.ancestors().any(|it| self.closed.contains(it))
        };
        self.send.retain(is_open);
        self.touch.retain(|(path, _)| is_open(path));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.touch.is_empty() && self.send.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banger_copy::Meta;

    fn here(node: Node) -> Entry {
        Entry {
            node,
            mode: 0o100_644,
            time: (5, 7),
        }
    }

    fn there(node: ListedNode) -> ListedEntry {
        ListedEntry {
            name: b"name".to_vec(),
            meta: Meta {
                mode: 0o644,
                seconds: 5,
                nanos: 7,
                ..Meta::default()
            },
            node,
        }
    }

    #[test]
    fn size_and_time_decide_unless_the_content_is_to() {
        let file = here(Node::File(3));
        let quick = |there: &ListedEntry| judge(&file, Some(there), ByContent(false));
        let same = there(ListedNode::File(3));
        assert_eq!(judge(&file, None, ByContent(false)), Verdict::Send);
        assert_eq!(quick(&same), Verdict::Same);
        assert_eq!(judge(&file, Some(&same), ByContent(true)), Verdict::Compare);
        assert_eq!(quick(&there(ListedNode::File(4))), Verdict::Send);
        let mut later = same.clone();
        later.meta.nanos = 8;
        assert_eq!(quick(&later), Verdict::Send);
        assert_eq!(judge_meta(&file, &later), Verdict::Touch);
        let mut open = same;
        open.meta.mode = 0o666;
        assert_eq!(quick(&open), Verdict::Touch);
        open.meta.mode = 0o4644;
        assert_eq!(quick(&open), Verdict::Same);
    }

    #[test]
    fn kinds_that_replace_each_other_and_kinds_that_do_not() {
        let link = |target: &str| Node::Symlink(target.into());
        let directory = || there(ListedNode::Directory);
        for (node, listed, verdict) in [
            (Node::File(3), directory(), Verdict::InTheWay),
            (link("a"), directory(), Verdict::InTheWay),
            (
                Node::Directory,
                there(ListedNode::File(3)),
                Verdict::InTheWay,
            ),
            (Node::Directory, there(ListedNode::Other), Verdict::InTheWay),
            (Node::File(3), there(ListedNode::Other), Verdict::Send),
            (
                Node::File(3),
                there(ListedNode::Symlink(b"a".to_vec())),
                Verdict::Send,
            ),
            (
                link("a"),
                there(ListedNode::Symlink(b"a".to_vec())),
                Verdict::Same,
            ),
            (
                link("a"),
                there(ListedNode::Symlink(b"b".to_vec())),
                Verdict::Send,
            ),
        ] {
            let found = judge(&here(node.clone()), Some(&listed), ByContent(false));
            assert_eq!(found, verdict, "{node:?} {listed:?}");
        }
    }
}
