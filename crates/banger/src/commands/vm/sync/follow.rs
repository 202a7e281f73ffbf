//! `--watch`: a whole batch, then one after each change, over one connection as long as that lasts.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use banger_api::{Code, Error};
use banger_copy::{Connection, CopyError, RelativePath};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::plan::Plan;
use super::tree::{self, Entry, Node, Root, Tree};
use super::watch::{Changes, Watch};
use super::{Sync, SyncRun};
use crate::output::clean;
use crate::poll;
use crate::remote::Prompts;

/// After a change, how long nothing else changes before a batch begins.
const QUIET: Duration = Duration::from_millis(60);

/// How long a batch waits for quiet.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the tree is read if not all of it can be watched.
const INTERVAL: Duration = Duration::from_secs(10);

/// How long a VM that does not answer is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// How close to the reading of a file a change of it may have the same time, in nanoseconds.
const SAME_TIME: i128 = 20_000_000;

/// Why the connection is not used any more.
enum Ending {
    /// It ended, or the VM cannot go on.
    Lost(Error),
    /// Nothing helps.
    Fatal(Error),
}

/// What is kept from batch to batch.
struct Follower<'a> {
    syncing: &'a SyncRun<'a>,
    root: Root,
    watch: Watch,
    unsure: HashSet<RelativePath>,
    is_limit_said: bool,
    is_first: bool,
    /// When the whole tree was read last.
    whole: Instant,
}

impl Sync {
    /// Follows the changes here until ^C.
    pub(super) fn follow(syncing: &SyncRun<'_>) -> Result<(), Error> {
        let mut follower = Follower {
            syncing,
            root: syncing.open()?,
            watch: watch(syncing)?,
            unsure: HashSet::new(),
            is_limit_said: false,
            is_first: true,
            whole: Instant::now(),
        };
        let mut said = None;
        loop {
            let ending = match syncing.connect() {
                Ok(mut connection) => {
                    follower.watch.doubt();
                    let ending = follower.batches(&mut connection, &mut said);
                    ending.map_or_else(|ending| ending, |never| match never {})
                }
                Err(error) if error.code == Code::NotFound => Ending::Fatal(has_gone(syncing)),
                Err(error) if error.code == Code::Invalid => Ending::Fatal(error),
                Err(error) => Ending::Lost(error),
            };
            match ending {
                Ending::Fatal(error) => return Err(error),
                Ending::Lost(error) if follower.is_first => return Err(error),
                Ending::Lost(error) => {
                    let reason = error.to_string();
                    if said.as_ref() != Some(&reason) {
                        let vm = &syncing.vm;
                        syncing
                            .session
                            .output
                            .warning(&format!("waiting for `{vm}`: {}", clean(&reason)));
                        said = Some(reason);
                    }
                    poll::pause(RETRY);
                    if let Some(remote) = &syncing.session.places.remote {
                        // What is wrong there, the next connection tells.
                        let _ = remote.connect(Prompts::Refused);
                    }
                }
            }
        }
    }
}

fn watch(syncing: &SyncRun<'_>) -> Result<Watch, Error> {
    Watch::new(&syncing.path).map_err(|cause| {
        Error::new(Code::Host, "watch for changes")
            .cause(cause.to_string())
            .hint("raise the limit: sysctl fs.inotify.max_user_instances=1024")
    })
}

/// The error where a disk has gone whose files the VM shall keep.
fn unmounted(syncing: &SyncRun<'_>, place: &RelativePath) -> Error {
    let shown = syncing.path.join(OsStr::from_bytes(place.as_bytes()));
    let shown = shown.display();
    Error::new(
        Code::Conflict,
        format!("the disk at `{shown}` was unmounted"),
    )
    .hint("nothing was removed in the VM for that; run it again when the disk is back")
}

/// The error where a VM has gone that was followed by its id.
fn has_gone(syncing: &SyncRun<'_>) -> Error {
    let vm = &syncing.vm;
    Error::new(Code::NotFound, format!("there is no VM `{vm}` any more"))
        .hint("a new VM of that name is another one: run it again if that is meant")
}

enum Never {}

impl Follower<'_> {
    /// Batches over one connection, until it ends.
    fn batches(
        &mut self,
        connection: &mut Connection,
        said: &mut Option<String>,
    ) -> Result<Never, Ending> {
        loop {
            if self
                .whole_due(Instant::now())
                .is_some_and(|it| it.is_zero())
            {
                self.watch.doubt();
            }
            let changes = self.watch.take();
            self.batch(connection, &changes)?;
            *said = None;
            self.is_first = false;
            // A batch that leaves something open is followed by a whole one at once.
            if !self.watch.has_changes() {
                self.wait(connection)?;
            }
        }
    }

    /// In how long the whole tree is read again, if not all of it can be watched.
    fn whole_due(&self, now: Instant) -> Option<Duration> {
        self.watch.limit().map(|_| due(self.whole, now))
    }

    fn batch(&mut self, connection: &mut Connection, changes: &Changes) -> Result<(), Ending> {
        let syncing = self.syncing;
        let output = syncing.session.output;
        if changes.overflow {
            output.warning("more changed at once than the kernel tells: the whole tree is read");
        }
        if let Some(place) = &changes.unmounted {
            return Err(Ending::Fatal(unmounted(syncing, place)));
        }
        syncing.rules.forget();
        if changes.rules {
            // What is ignored from now on is not watched any more.
            self.watch = watch(syncing).map_err(Ending::Fatal)?;
        }
        if changes.all {
            self.whole = Instant::now();
        }
        let began = SystemTime::now();
        let from = if changes.all {
            vec![RelativePath::default()]
        } else {
            changes.directories.iter().cloned().collect()
        };
        let watch = Some(&mut self.watch);
        let tree = tree::read(&self.root, from, changes.all, &syncing.rules, watch);
        let is_whole = syncing.require_whole(&self.root, &tree);
        is_whole.map_err(Ending::Fatal)?;
        self.say_the_limit();
        let done = syncing.carry(connection, &self.root, &tree, &self.unsure);
        let (plan, report) = done.map_err(|error| self.ending(&error))?;
        self.unsure = unsure(&plan, &tree, began);
        if self.is_first || !plan.is_empty() || report.failed > 0 {
            syncing.say_batch(&report).map_err(Ending::Fatal)?;
        }
        // Somebody may have removed directories in the VM, with all that lies in them.
        if !changes.all && (report.failed > 0 || has_gaps(&plan, &tree)) {
            self.watch.doubt();
        }
        Ok(())
    }

    fn ending(&self, error: &CopyError) -> Ending {
        Ending::Lost(super::super::cp::failed(&self.syncing.vm, error))
    }

    fn say_the_limit(&mut self) {
        if let Some(cause) = self.watch.limit().filter(|_| !self.is_limit_said) {
            self.is_limit_said = true;
            let seconds = INTERVAL.as_secs();
            self.syncing.session.output.warning(&format!(
                "not all directories can be watched ({cause}): the whole tree is read every {seconds} seconds; \
                 sysctl fs.inotify.max_user_watches raises the limit"
            ));
        }
    }

    /// Waits until something has changed, and then for a little quiet.
    fn wait(&mut self, connection: &Connection) -> Result<(), Ending> {
        let mut quiet_by: Option<Instant> = None;
        loop {
            let now = Instant::now();
            let patience = match quiet_by {
                Some(end) if now >= end => return Ok(()),
                Some(end) => Some(QUIET.min(end - now)),
                None => self.whole_due(now),
            };
            let (has_changes, has_ended) = self.poll(connection, patience);
            if has_ended {
                return Err(self.ending(&CopyError::Lost));
            }
            if has_changes {
                self.watch.hear();
                if self.watch.has_changes() {
                    quiet_by.get_or_insert(Instant::now() + PATIENCE);
                }
                continue;
            }
            return Ok(());
        }
    }

    /// Whether the tree has changed, and whether the connection has ended: nothing comes unasked.
    fn poll(&self, connection: &Connection, patience: Option<Duration>) -> (bool, bool) {
        let mut fds = [
            PollFd::from_borrowed_fd(self.watch.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::IN),
        ];
        let timeout = patience.and_then(|it| Timespec::try_from(it).ok());
        // An interrupted call has found nothing yet, and is made again.
        while rustix::event::poll(&mut fds, timeout.as_ref()).is_err() {}
        let has_come = |fd: &PollFd<'_>| !fd.revents().is_empty();
        (has_come(&fds[0]), has_come(&fds[1]))
    }
}

/// In how long the tree is read again that was read at `whole`; other batches put that off by nothing.
fn due(whole: Instant, now: Instant) -> Duration {
    (whole + INTERVAL).saturating_duration_since(now)
}

/// Whether a batch makes directories in the VM whose contents it has not read, as they were there before.
fn has_gaps(plan: &Plan, tree: &Tree) -> bool {
    plan.send.iter().any(|path| {
        let is_directory = entry(tree, path).is_some_and(|it| it.node == Node::Directory);
        is_directory && !tree.directories.contains_key(path)
    })
}

fn entry<'a>(tree: &'a Tree, path: &RelativePath) -> Option<&'a Entry> {
    let (parent, name) = path.split();
    tree.directories.get(parent)?.get(name)
}

/// Files that may have changed after they were read, within the time that they have.
fn unsure(plan: &Plan, tree: &Tree, began: SystemTime) -> HashSet<RelativePath> {
    let began = began.duration_since(UNIX_EPOCH).unwrap_or_default();
    let began = i128::try_from(began.as_nanos()).unwrap_or(0);
    let is_young = |path: &&RelativePath| {
        entry(tree, path).is_some_and(|entry| {
            let time = i128::from(entry.time.0) * 1_000_000_000 + i128::from(entry.time.1);
            time + SAME_TIME >= began
        })
    };
    plan.send.iter().filter(is_young).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_tree_is_due_by_the_last_time_it_was_read() {
        let whole = Instant::now();
        assert_eq!(due(whole, whole), INTERVAL);
        let second = Duration::from_secs(1);
        assert_eq!(due(whole, whole + second), INTERVAL - second);
        assert_eq!(due(whole, whole + INTERVAL * 2), Duration::ZERO);
    }
}
