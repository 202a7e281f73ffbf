//! The events of all VMs, for all readers.
//!
//! A ring keeps the newest events. A reader names the last event that it has read, and gets those
//! that follow. A slow reader delays no one: if the ring no longer has the next event, the reader
//! gets a snapshot instead. So do new readers, and those that return after a restart of the daemon.
//!
//! ```text
//!   publish, pause, findings, delete ──► tell ──► ring ──► events(since) ──► readers
//!   each verb ────────────► operate (`operations.rs`) ──┘        └─ fell behind: snapshot
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use banger_api::{Change, Event, Operation, Snapshot, VmId, VmView};
use jiff::Timestamp;

use super::{Engine, lock};

/// The number of events that are kept.
pub const KEPT_EVENTS: usize = 1024;

/// The maximum number of events per read.
const AT_ONCE: usize = 64;

/// The ring, and the state of all VMs after its newest event.
#[derive(Debug)]
pub(super) struct Feed {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Debug)]
pub(super) struct State {
    /// The number before this daemon's first event.
    origin: u64,
    /// The newest events, oldest first, with consecutive numbers.
    ring: VecDeque<Event>,
    /// The newest published view of each VM.
    vms: BTreeMap<VmId, VmView>,
    /// The running operations.
    pub(super) operations: BTreeMap<u64, Operation>,
    /// The number of operations so far.
    pub(super) operations_begun: u64,
}

impl Feed {
    /// A feed without events. Numbers begin at the time in microseconds: those of a later daemon
    /// are higher, which shows that a returning reader has missed events.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                origin: u64::try_from(now.as_micros()).unwrap_or(0),
                ring: VecDeque::new(),
                vms: BTreeMap::new(),
                operations: BTreeMap::new(),
                operations_begun: 0,
            }),
            grown: Condvar::new(),
        }
    }

    /// Wakes all readers, so that they notice the shutdown of the engine.
    pub(super) fn wake(&self) {
        // A reader between its check and its wait must not miss the wake-up.
        drop(lock(&self.state));
        self.grown.notify_all();
    }
}

impl State {
    fn last(&self) -> u64 {
        self.ring.back().map_or(self.origin, |event| event.seq)
    }

    pub(super) fn push(&mut self, at: Timestamp, change: Change) {
        let seq = self.last() + 1;
        if self.ring.len() == KEPT_EVENTS {
            self.ring.pop_front();
        }
        self.ring.push_back(Event { seq, at, change });
    }

    /// The events after `since`; `None` if one of them is no longer kept.
    fn after(&self, since: u64) -> Option<Vec<Event>> {
        let first = self.last() + 1 - self.ring.len() as u64;
        let skipped = usize::try_from(since.checked_add(1)?.checked_sub(first)?).ok()?;
        let is_known = skipped <= self.ring.len();
        is_known.then(|| self.ring.range(skipped..).take(AT_ONCE).cloned().collect())
    }

    fn snapshot(&self, since: Option<u64>, at: Timestamp) -> Event {
        let last = self.last();
        // A number out of range comes from another daemon.
        let is_ours = |seq: &u64| (self.origin..=last).contains(seq);
        let missed = since.map(|seq| last - Some(seq).filter(is_ours).unwrap_or(self.origin));
        let mut vms: Vec<VmView> = self.vms.values().cloned().collect();
        vms.sort_by(|a, b| a.name.cmp(&b.name));
        let operations = self.operations.values().cloned().collect();
        let change = Change::Snapshot(Snapshot {
            vms,
            operations,
            missed,
        });
        Event {
            seq: last,
            at,
            change,
        }
    }
}

impl Engine {
    /// The events after number `since`, in order; or a snapshot, if there is no number or some of
    /// the events are no longer kept. Waits for the next event if there is none yet; returns none
    /// after `patience`, or when the engine is shut down.
    #[must_use]
    pub fn events(&self, since: Option<u64>, patience: Duration) -> Vec<Event> {
        let mut state = lock(&self.feed.state);
        let Some(seq) = since.filter(|seq| state.after(*seq).is_some()) else {
            // Unpublished changes are published first, so that the snapshot is as current as a
            // list.
            for slot in self.slots() {
                self.tell_in(&mut state, slot.vm().id);
            }
            return vec![state.snapshot(since, self.now())];
        };
        let nothing_new = |state: &mut State| state.last() == seq && !self.is_stopping();
        state = self
            .feed
            .grown
            .wait_timeout_while(state, patience, nothing_new)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        match state.after(seq) {
            Some(events) => events,
            None => vec![state.snapshot(since, self.now())],
        }
    }

    /// Publishes the state of a VM, if it differs from the last published one.
    pub(super) fn tell(&self, id: VmId) {
        self.change_feed(|state| self.tell_in(state, id));
    }

    /// Publishes that a VM was deleted.
    pub(super) fn tell_deleted(&self, id: VmId) {
        self.change_feed(|state| self.tell_deleted_in(state, id));
    }

    fn tell_deleted_in(&self, state: &mut State, id: VmId) {
        if let Some(VmView { name, .. }) = state.vms.remove(&id) {
            state.push(self.now(), Change::Deleted { id, name });
        }
    }

    pub(super) fn change_feed<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        let outcome = with(&mut lock(&self.feed.state));
        self.feed.grown.notify_all();
        outcome
    }

    /// The VM is read under the lock, so that the newest event has its newest state, and a deleted
    /// VM does not reappear. For readers a VM in the trash is deleted.
    fn tell_in(&self, state: &mut State, id: VmId) {
        let Some(slot) = lock(&self.vms).get(&id).cloned() else {
            return;
        };
        let vm = slot.vm();
        if vm.is_in_trash() {
            self.tell_deleted_in(state, id);
            return;
        }
        let view = self.view(&vm);
        if state.vms.get(&id) != Some(&view) {
            state.vms.insert(id, view.clone());
            state.push(self.now(), Change::Vm(Box::new(view)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed_with(count: u64) -> Feed {
        let feed = Feed::new(Duration::from_secs(1));
        let mut state = lock(&feed.state);
        for _ in 0..count {
            let id = VmId::from_bits(1);
            let name = "web".parse().unwrap();
            state.push(Timestamp::UNIX_EPOCH, Change::Deleted { id, name });
        }
        drop(state);
        feed
    }

    #[test]
    fn a_reader_goes_on_where_it_was_as_long_as_nothing_was_dropped() {
        let kept = KEPT_EVENTS as u64;
        let feed = feed_with(kept + 10);
        let state = lock(&feed.state);
        let last = state.last();
        let numbers = |since| {
            let events = state.after(since)?;
            Some(events.iter().map(|it| it.seq).collect::<Vec<_>>())
        };
        assert_eq!(numbers(last), Some(vec![]));
        assert_eq!(numbers(last - 2), Some(vec![last - 1, last]));
        assert_eq!(numbers(last - kept).unwrap()[0], last - kept + 1);
        assert_eq!(numbers(last - kept).unwrap().len(), AT_ONCE);
        assert_eq!(numbers(last - kept - 1), None, "one of them was dropped");
        assert_eq!(numbers(last + 1), None, "another daemon's number");
        assert_eq!(numbers(0), None);
        assert_eq!(numbers(u64::MAX - 1), None);
    }

    #[test]
    fn a_snapshot_counts_what_its_reader_has_missed() {
        let feed = feed_with(10);
        let state = lock(&feed.state);
        let (last, origin) = (state.last(), state.origin);
        let missed = |since| match state.snapshot(since, Timestamp::UNIX_EPOCH).change {
            Change::Snapshot(snapshot) => snapshot.missed,
            other => panic!("{other:?}"),
        };
        assert_eq!(missed(None), None);
        assert_eq!(missed(Some(last - 3)), Some(3));
        for of_another in [0, origin - 1, last + 1, u64::MAX] {
            assert_eq!(missed(Some(of_another)), Some(10), "{of_another}");
        }
    }
}
