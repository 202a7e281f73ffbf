//! What listens now, and how it comes to be what the record says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use banger_api::listener::Listener;
use banger_api::{Endpoint, Forward, ForwardState, ForwardView, VmId};

use super::super::hold::Slot;
use super::super::{Engine, lock};
use super::inward::OpenPort;
use super::listens;
use super::outward::{GuestListener, GuestPort};
use crate::error::Result;
use crate::vm::Vm;

/// The pause before a forward that failed is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// The forwards of all VMs that listen, or that should.
#[derive(Debug, Default)]
pub(in super::super) struct HeldForwards {
    /// The engine that their connections go through; without it, nothing listens.
    engine: OnceLock<Weak<Engine>>,
    held: Mutex<BTreeMap<VmId, Vec<Held>>>,
    /// Held by the verb that adds some, from the look at all records to its own.
    pub(super) adding: Mutex<()>,
    /// The Unix sockets that the last daemon listened at. One that was killed left their files.
    before: Mutex<Vec<Endpoint>>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) forward: Forward,
    state: HeldState,
}

#[derive(Debug)]
enum HeldState {
    Inward(#[expect(dead_code, reason = "dropping it closes the port")] OpenPort),
    Outward(GuestPort),
    Failed { reason: String, at: Instant },
}

impl Held {
    fn state(&self) -> (ForwardState, Option<String>) {
        match &self.state {
            HeldState::Inward(_) => (ForwardState::Listening, None),
            HeldState::Outward(port) => port.state(),
            HeldState::Failed { reason, .. } => (ForwardState::Failed, Some(reason.clone())),
        }
    }
}

impl HeldForwards {
    /// Listens, with the port that was given for 0; `None` without an engine. A guest is waited for
    /// if its answer is wanted.
    pub(super) fn open(&self, vm: &Vm, forward: &Forward, waits: bool) -> Result<Option<Held>> {
        let Some(engine) = self.engine.get() else {
            return Ok(None);
        };
        let mut forward = forward.clone();
        let state = if forward.reverse {
            let begun = match engine.upgrade().filter(|_| waits) {
                Some(engine) => Some(GuestListener::begin(&engine, vm, &forward.listen)?),
                None => None,
            };
            if let Some(listening) = &begun {
                forward.listen.clone_from(&listening.at);
            }
            HeldState::Outward(GuestPort::start(engine, vm.id, &forward, begun)?)
        } else {
            let (port, listen) = OpenPort::open(engine, vm.id, &forward)?;
            forward.listen = listen;
            HeldState::Inward(port)
        };
        Ok(Some(Held { forward, state }))
    }

    /// Notes where the last daemon listened for this VM, before recovery changes its record.
    pub(in super::super) fn note_last(&self, vm: &Vm) {
        let listening = vm.all_forwards().filter(|it| !it.reverse);
        let places = listening.map(|it| it.listen.clone());
        let sockets = places.filter(|it| matches!(it, Endpoint::Unix(_)));
        lock(&self.before).extend(sockets);
    }

    /// Removes the sockets of the last daemon at which nothing listens. Only such a file is removed:
    /// one of another kind, owner, or listener refuses to be listened at.
    fn remove_stale(&self) {
        for place in std::mem::take(&mut *lock(&self.before)) {
            if let Endpoint::Unix(path) = &place
                && std::fs::symlink_metadata(path).is_ok()
                && Listener::open(&place).is_ok()
            {
                tracing::info!(
                    path,
                    "removed the socket of a forward that nothing listens at"
                );
            }
        }
    }

    /// Takes what listens already. What the record does not have is closed by the next look at it.
    pub(super) fn take(&self, vm: VmId, opened: Vec<Held>) {
        if !opened.is_empty() {
            lock(&self.held).entry(vm).or_default().extend(opened);
        }
    }

    fn open_or_note(&self, vm: &Vm, forward: &Forward) -> Option<Held> {
        match self.open(vm, forward, false) {
            Ok(held) => held,
            Err(error) => {
                let reason = error.to_string();
                tracing::warn!(vm = %vm.name, %forward, reason, "not forwarded");
                let at = Instant::now();
                let state = HeldState::Failed { reason, at };
                let forward = forward.clone();
                Some(Held { forward, state })
            }
        }
    }
}

impl Engine {
    /// Begins to listen for the forwards of running VMs, now and whenever that changes.
    pub fn hold_forwards(self: &Arc<Self>) {
        if self.forwards.engine.set(Arc::downgrade(self)).is_ok() {
            for slot in self.slots() {
                self.follow_forwards(&slot);
                self.tell(slot.vm().id);
            }
            self.forwards.remove_stale();
        }
    }

    /// Closes all of them; the sockets' files are gone then.
    pub(in super::super) fn close_forwards(&self) {
        let all = std::mem::take(&mut *lock(&self.forwards.held));
        drop(all);
    }

    /// Has exactly that listen which the VM's record says.
    pub(in super::super) fn follow_forwards(&self, slot: &Slot) {
        if self.forwards.engine.get().is_none() {
            return;
        }
        let mut held = lock(&self.forwards.held);
        // Read under the lock: what closes all of them at the end finds every one.
        if self.is_stopping() {
            return;
        }
        // Read under the lock, so that the last one to look saw the last record.
        let vm = slot.vm();
        let wanted: Vec<Forward> = match listens(slot) {
            true => vm.all_forwards().cloned().collect(),
            false => Vec::new(),
        };
        let before = held.remove(&vm.id).unwrap_or_default();
        let (mut stay, gone): (Vec<Held>, Vec<Held>) = before
            .into_iter()
            .partition(|it| wanted.contains(&it.forward));
        for forward in &wanted {
            if !stay.iter().any(|it| it.forward == *forward) {
                stay.extend(self.forwards.open_or_note(&vm, forward));
            }
        }
        if !stay.is_empty() {
            held.insert(vm.id, stay);
        }
        drop(held);
        // Closing waits for threads.
        drop(gone);
    }

    /// Tries those again that failed, such as on a port that was taken.
    pub(in super::super) fn retry_forwards(&self) {
        for id in self.due_forwards() {
            let slot = lock(&self.vms).get(&id).cloned();
            let Some(slot) = slot.filter(|slot| !slot.is_held()) else {
                continue;
            };
            let mut held = lock(&self.forwards.held);
            let due = held.get_mut(&id).into_iter().flatten();
            let changed: Vec<bool> = due
                .filter(|it| it.is_due())
                .map(|it| it.retry(&self.forwards, &slot.vm()))
                .collect();
            drop(held);
            if changed.contains(&true) {
                self.tell(id);
            }
        }
    }

    fn due_forwards(&self) -> Vec<VmId> {
        let held = lock(&self.forwards.held);
        let due = held.iter().filter(|(_, all)| all.iter().any(Held::is_due));
        due.map(|(id, _)| *id).collect()
    }

    /// The views of a VM's forwards: those that are kept, then those of its run.
    pub(in super::super) fn forward_views(&self, vm: &Vm) -> Vec<ForwardView> {
        let held = lock(&self.forwards.held);
        let held = held.get(&vm.id).map_or(&[][..], Vec::as_slice);
        let view = |forward: &Forward| {
            let found = held.iter().find(|it| it.forward == *forward);
            let (state, reason) = found.map_or((ForwardState::Waiting, None), Held::state);
            ForwardView {
                listen: forward.listen.clone(),
                target: forward.target.clone(),
                reverse: forward.reverse,
                kept: vm.forwards.contains(forward),
                state,
                reason,
            }
        };
        vm.all_forwards().map(view).collect()
    }

    /// What a person should know of them.
    pub(in super::super) fn forward_notes(&self, vm: &Vm) -> Vec<String> {
        let failed = |view: ForwardView| {
            let (forward, reason) = (view.forward(), view.reason?);
            Some(format!(
                "{forward} is not forwarded: {reason}; it is tried again"
            ))
        };
        let views = self.forward_views(vm).into_iter();
        views
            .filter_map(failed)
            .chain(self.shared_notes(vm))
            .collect()
    }
}

impl Held {
    /// Listens, if that is possible by now; whether it is otherwise than before.
    fn retry(&mut self, forwards: &HeldForwards, vm: &Vm) -> bool {
        match forwards.open(vm, &self.forward, false) {
            Ok(Some(listening)) => {
                tracing::info!(vm = %vm.name, forward = %self.forward, "forwarded");
                *self = listening;
                true
            }
            Ok(None) => false,
            Err(error) => {
                let (reason, at) = (error.to_string(), Instant::now());
                let is_other = !matches!(&self.state, HeldState::Failed { reason: before, .. } if *before == reason);
                self.state = HeldState::Failed { reason, at };
                is_other
            }
        }
    }

    fn is_due(&self) -> bool {
        matches!(&self.state, HeldState::Failed { at, .. } if at.elapsed() >= PAUSE)
    }
}
