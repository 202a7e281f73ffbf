//! One batch: asks what a VM has, decides, and does it.

use std::collections::HashSet;
use std::os::fd::{AsFd as _, OwnedFd};

use banger_copy::{
    Connection, CopyError, Frame, Head, ListEnd, ListedEntry, ListedNode, Meta, Node as Kind,
    RelativePath, Report, Sender,
};
use rustix::fs::{AtFlags, Stat, statat};
use rustix::io::Errno;

use super::plan::{ByContent, Plan, There, Verdict, judge, judge_meta};
use super::rules::Rules;
use super::tree::{Entries, Entry, Node, Root, Tree, is_of_absence};

/// The most bytes of questions that are on their way: so many fit everywhere, whatever the other
/// side does.
const WINDOW: usize = 16 << 10;

/// The most that a VM may tell of itself, in bytes.
const MOST_LISTED: usize = 512 << 20;

/// How many more bytes a VM may tell of itself.
struct Room(usize);

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), CopyError> {
        let left = self.0.checked_sub(bytes).ok_or_else(|| {
            let reason = "the VM has more in this directory than can be compared";
            CopyError::Refused(reason.to_owned())
        })?;
        self.0 = left;
        Ok(())
    }
}

/// About what is kept of an entry of this directory, in bytes: it, and its path in the plan.
fn size_of(directory: &RelativePath, entry: &ListedEntry) -> usize {
    let target = match &entry.node {
        ListedNode::Symlink(target) => target.len(),
        ListedNode::Directory | ListedNode::File(_) | ListedNode::Other => 0,
    };
    128 + directory.as_bytes().len() + 2 * entry.name.len() + target
}

/// The options of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchOptions {
    /// Removes what is not here.
    pub(super) delete: bool,
    /// Compares contents.
    pub(super) by_content: ByContent,
}

/// One batch.
pub(super) struct Batch<'a, 'b> {
    pub(super) sender: &'a mut Sender<'b>,
    pub(super) root: &'a Root,
    pub(super) rules: &'a Rules,
    pub(super) options: BatchOptions,
    /// Files that are sent, whatever their size and time.
    pub(super) unsure: &'a HashSet<RelativePath>,
    room: Room,
}

impl<'a, 'b> Batch<'a, 'b> {
    pub(super) fn new(
        sender: &'a mut Sender<'b>,
        root: &'a Root,
        rules: &'a Rules,
        options: BatchOptions,
        unsure: &'a HashSet<RelativePath>,
    ) -> Self {
        Self {
            sender,
            root,
            rules,
            options,
            unsure,
            room: Room(MOST_LISTED),
        }
    }

    /// What is to be done to have this tree in the VM.
    pub(super) fn plan(&mut self, tree: &Tree) -> Result<Plan, CopyError> {
        self.sender.begin_source(0)?;
        let mut plan = Plan::default();
        let mut extra = Vec::new();
        let mut doubtful = Vec::new();
        let paths: Vec<&RelativePath> = tree.directories.keys().collect();
        for window in windows(&paths) {
            let answers = self.list(window)?;
            for (path, answer) in window.iter().zip(answers) {
                let entries = &tree.directories[*path];
                let there = match answer {
                    Ok(there) => there,
                    Err(reason) => {
                        plan.refused.push(((*path).clone(), reason));
                        continue;
                    }
                };
                self.compare(path, entries, &there, &mut plan, &mut doubtful);
                self.find_extra(path, entries, &there, &mut plan, &mut extra);
            }
        }
        self.settle(&doubtful, &mut plan)?;
        self.remove_within(extra, &mut plan)?;
        plan.finish();
        Ok(plan)
    }

    /// Judges the entries of one directory.
    fn compare(
        &self,
        directory: &RelativePath,
        entries: &Entries,
        there: &There,
        plan: &mut Plan,
        doubtful: &mut Vec<(RelativePath, Entry, ListedEntry)>,
    ) {
        for (name, entry) in entries {
            let Ok(path) = directory.join(name) else {
                continue;
            };
            if entry.node == Node::Other {
                continue;
            }
            let listed = there.get(name);
            let mut verdict = judge(entry, listed, self.options.by_content);
            let is_unsure = verdict == Verdict::Same && self.unsure.contains(&path);
            if is_unsure && matches!(entry.node, Node::File(_)) {
                verdict = Verdict::Send;
            }
            match (verdict, listed) {
                (Verdict::Same, _) => {}
                (Verdict::Touch, _) => plan.touch.push((path, entry.meta())),
                (Verdict::Compare, Some(listed)) => {
                    doubtful.push((path, entry.clone(), listed.clone()));
                }
                (Verdict::InTheWay, _) if !self.options.delete => {
                    let what = match entry.node {
                        Node::Directory => "something that is not a directory",
                        _ => "a directory",
                    };
                    let reason = format!("{what} is in its place; --delete removes it");
                    plan.closed.insert(path.clone());
                    plan.refused.push((path, reason));
                }
                (Verdict::Send | Verdict::Compare | Verdict::InTheWay, _) => plan.send.push(path),
            }
        }
    }

    /// Notes what is there and not here.
    fn find_extra(
        &self,
        directory: &RelativePath,
        entries: &Entries,
        there: &There,
        plan: &mut Plan,
        extra: &mut Vec<RelativePath>,
    ) {
        if !self.options.delete {
            return;
        }
        for (name, listed) in there {
            let Ok(path) = directory.join(name) else {
                continue;
            };
            match self.stays(&path, entries, there, listed) {
                Ok(true) => plan.hold(&path),
                Ok(false) => {
                    if listed.node == ListedNode::Directory {
                        extra.push(path.clone());
                    }
                    plan.remove.push(path);
                }
                Err(reason) => {
                    plan.hold(&path);
                    plan.refused.push((path, reason));
                }
            }
        }
    }

    /// Whether an entry of the VM stays: it is here, or is ignored, or a copy goes on with it.
    fn stays(
        &self,
        path: &RelativePath,
        entries: &Entries,
        there: &There,
        listed: &ListedEntry,
    ) -> Result<bool, String> {
        let verdict = |entry, listed| judge(entry, listed, self.options.by_content);
        if let Some(entry) = entries.get(&listed.name) {
            return Ok(verdict(entry, Some(listed)) != Verdict::InTheWay);
        }
        let is_directory = listed.node == ListedNode::Directory;
        let goes_on = banger_copy::whole_name(&listed.name).is_some_and(|whole| {
            let entry = entries.get(whole);
            let entry = entry.filter(|it| matches!(it.node, Node::File(_)));
            entry.is_some_and(|it| verdict(it, there.get(whole)) != Verdict::Same)
        });
        Ok(goes_on || self.rules.ignore(path, is_directory)?)
    }

    /// Adds what lies in directories that go.
    fn remove_within(
        &mut self,
        mut extra: Vec<RelativePath>,
        plan: &mut Plan,
    ) -> Result<(), CopyError> {
        let nothing = Entries::new();
        while !extra.is_empty() {
            let found = std::mem::take(&mut extra);
            let paths: Vec<&RelativePath> = found.iter().collect();
            for window in windows(&paths) {
                let answers = self.list(window)?;
                for (path, answer) in window.iter().zip(answers) {
                    match answer {
                        Ok(there) => self.find_extra(path, &nothing, &there, plan, &mut extra),
                        Err(reason) => {
                            plan.held.insert((*path).clone());
                            plan.hold(path);
                            plan.refused.push(((*path).clone(), reason));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Asks what directories have; one that is not there has nothing.
    fn list(&mut self, paths: &[&RelativePath]) -> Result<Vec<Result<There, String>>, CopyError> {
        for path in paths {
            self.sender.send(&Frame::List((*path).clone()))?;
        }
        self.sender.flush()?;
        let mut answers = Vec::new();
        for path in paths {
            let mut there = There::new();
            let end = loop {
                match self.sender.hear()? {
                    Frame::Listed(entries) => {
                        for entry in entries {
                            self.room.take(size_of(path, &entry))?;
                            there.insert(entry.name.clone(), entry);
                        }
                    }
                    Frame::ListEnd(end) => break end,
                    frame => return Err(Connection::stopped_by(&frame)),
                }
            };
            if let ListEnd::Failed(reason) = &end {
                self.room.take(path.as_bytes().len() + reason.len())?;
            }
            answers.push(match end {
                ListEnd::Whole => Ok(there),
                ListEnd::Absent => Ok(There::new()),
                ListEnd::Failed(reason) => Err(reason),
            });
        }
        Ok(answers)
    }

    /// Decides by the content.
    fn settle(
        &mut self,
        doubtful: &[(RelativePath, Entry, ListedEntry)],
        plan: &mut Plan,
    ) -> Result<(), CopyError> {
        let paths: Vec<&RelativePath> = doubtful.iter().map(|it| &it.0).collect();
        let mut doubtful = doubtful.iter();
        for window in windows(&paths) {
            for path in window {
                self.sender.send(&Frame::Digest((*path).clone()))?;
            }
            self.sender.flush()?;
            for (path, entry, listed) in doubtful.by_ref().take(window.len()) {
                let frame = self.sender.hear()?;
                let Frame::Have(length, digest) = frame else {
                    return Err(Connection::stopped_by(&frame));
                };
                let ours = self.digest(path, length);
                match judge_meta(entry, listed) {
                    _ if ours != Some(digest) => plan.send.push(path.clone()),
                    Verdict::Same => {}
                    _ => plan.touch.push((path.clone(), entry.meta())),
                }
            }
        }
        plan.send.sort_unstable();
        Ok(())
    }

    /// The digest of a file here, if it has this length.
    fn digest(&self, path: &RelativePath, length: u64) -> Option<[u8; 32]> {
        let (parent, name) = path.split();
        let directory = self.root.directory(&RelativePath::new(parent).ok()?).ok()?;
        banger_copy::digest_in(directory.as_fd(), name, length)
    }

    /// Does what the plan says. The report has what became of it.
    pub(super) fn perform(&mut self, plan: &Plan) -> Result<(), CopyError> {
        for (path, reason) in &plan.refused {
            self.sender.report().problem(path, reason);
        }
        for path in &plan.remove {
            self.sender.send(&Frame::Remove(path.clone()))?;
        }
        for (path, meta) in &plan.touch {
            self.sender.send(&Frame::Touch(path.clone(), *meta))?;
        }
        let mut parent: Option<(RelativePath, OwnedFd)> = None;
        for path in &plan.send {
            match self.look(path, &mut parent) {
                Ok((directory, stat)) => self.send(directory, path, &stat)?,
                // What has gone meanwhile is not sent.
                Err(cause) if is_of_absence(cause) => {}
                Err(cause) => self.sender.report().problem(path, &cause.to_string()),
            }
        }
        Ok(())
    }

    /// Opens the directory of a path, unless it is the one that was opened last, and looks at the path.
    fn look<'p>(
        &self,
        path: &RelativePath,
        parent: &'p mut Option<(RelativePath, OwnedFd)>,
    ) -> Result<(&'p OwnedFd, Stat), Errno> {
        let (above, name) = path.split();
        let above = RelativePath::new(above).map_err(|_| Errno::INVAL)?;
        let opened = match parent.take() {
            Some((path, directory)) if path == above => directory,
            _ => self.root.directory(&above)?,
        };
        let (_, directory) = parent.insert((above, opened));
        let stat = statat(&*directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok((directory, stat))
    }

    fn send(
        &mut self,
        directory: &OwnedFd,
        path: &RelativePath,
        stat: &Stat,
    ) -> Result<(), CopyError> {
        let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
        if kind != rustix::fs::FileType::Directory {
            return self
                .sender
                .send_other(directory.as_fd(), path.clone(), stat);
        }
        self.sender.send(&Frame::Entry(Head {
            path: path.clone(),
            meta: Meta::from(stat),
            node: Kind::Directory,
        }))
    }
}

/// Cuts paths into groups that are asked for at once.
fn windows<'a>(paths: &'a [&'a RelativePath]) -> impl Iterator<Item = &'a [&'a RelativePath]> {
    let mut left = paths;
    std::iter::from_fn(move || {
        let mut size = 0;
        let fitting = left.iter().take_while(|path| {
            size += path.as_bytes().len() + 8;
            size <= WINDOW
        });
        let count = fitting.count().max(1).min(left.len());
        let (window, rest) = left.split_at(count);
        left = rest;
        (count > 0).then_some(window)
    })
}

/// Adds what could not be read here.
pub(super) fn add_troubles(report: &mut Report, tree: &Tree) {
    for (path, reason) in &tree.failed {
        report.problem(path, reason);
    }
}

#[cfg(test)]
mod tests;
