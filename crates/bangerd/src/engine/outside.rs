//! Checks that the host side of running VMs is intact.
//!
//! Some of it is visible only to the root helper, which may be slow or gone. So the looks have a
//! thread of their own, and the watch still notices processes that end and space that runs out. A
//! failed look means "unknown": it is logged once for each cause, and nothing is repaired.
//!
//! Each capability looks at all running VMs at once. A slow capability ends its round; the next
//! round begins with the capability after it and with another VM, so that none is always skipped.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use banger_api::VmId;

use super::backoff::Backoff;
use super::findings::AGAIN;
use super::hold::Slot;
use super::{Engine, lock};
use crate::error::Result;
use crate::vm::Vm;

/// A capability that takes longer than this ends its round.
const SLOW: Duration = Duration::from_secs(2);

/// The state between rounds.
#[derive(Debug, Default)]
pub(super) struct Outside {
    /// Whether a round is running.
    looking: AtomicBool,
    memory: Mutex<LookState>,
}

#[derive(Debug, Default)]
struct LookState {
    /// Why the state of a VM's host side is unknown.
    unknown: BTreeMap<VmId, String>,
    backoff: Backoff,
    /// The number of rounds so far.
    rounds: usize,
    /// The capability that the next round begins with.
    first: usize,
    /// The time of the last run of the checks of running VMs.
    looked: Option<Instant>,
}

/// The result of one round for a VM.
#[derive(Debug, Default)]
struct Finding {
    /// The capabilities whose part is damaged and due for repair.
    due: Vec<&'static str>,
    /// Why the state of a capability is unknown; it then counts neither as intact nor as damaged.
    unknown: Option<String>,
}

/// Marks the round as ended when dropped.
struct Round(Arc<Outside>);

impl Drop for Round {
    fn drop(&mut self) {
        self.0.looking.store(false, Ordering::Release);
    }
}

impl Engine {
    /// Begins a round for these VMs, unless one is running.
    pub(super) fn look_outside(self: &Arc<Self>, running: Vec<Arc<Slot>>, outside: &Arc<Outside>) {
        if outside.looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let round = Round(outside.clone());
        let engine = self.clone();
        let spawned = std::thread::Builder::new()
            .name("look".to_owned())
            .stack_size(256 << 10)
            .spawn(move || engine.look_at_all(running, &round.0));
        if let Err(error) = spawned {
            tracing::error!(%error, "start a thread");
        }
    }

    fn look_at_all(self: &Arc<Self>, mut running: Vec<Arc<Slot>>, outside: &Outside) {
        // Only one round runs at a time, so no other thread waits for this.
        let mut memory = lock(&outside.memory);
        let slots = self.slots();
        let is_there = |id: VmId| slots.iter().any(|slot| slot.vm().id == id);
        memory.unknown.retain(|id, _| is_there(*id));
        memory.backoff.keep(is_there);
        let begin = memory.rounds % running.len().max(1);
        running.rotate_left(begin);
        memory.rounds = memory.rounds.wrapping_add(1);
        let vms: Vec<Arc<Vm>> = running.iter().map(|slot| slot.vm()).collect();
        let mut findings: Vec<Finding> = vms.iter().map(|_| Finding::default()).collect();
        let is_whole = self.look_round(&running, &vms, &mut findings, &mut memory);
        if self.is_stopping() {
            return;
        }
        for (slot, Finding { due, unknown }) in running.iter().zip(findings) {
            let vm = slot.vm();
            // A round that ended early cannot tell that everything is known again.
            if is_whole || unknown.is_some() {
                memory.note(&vm, unknown);
            }
            if !due.is_empty() {
                let what = due.join(", ");
                tracing::warn!(vm = %vm.name, what, "something of it was changed from outside; putting it back");
                self.on_thread(slot, |engine, slot| engine.put_back(slot));
            }
        }
        if is_whole && memory.looked.is_none_or(|it| it.elapsed() > AGAIN) {
            memory.looked = Some(Instant::now());
            self.look_at_findings(&running);
        }
    }

    /// Lets every capability look, within the time of a round. Returns whether all have.
    fn look_round(
        &self,
        slots: &[Arc<Slot>],
        vms: &[Arc<Vm>],
        findings: &mut [Finding],
        memory: &mut LookState,
    ) -> bool {
        let running: Vec<&Vm> = vms.iter().map(|vm| &**vm).collect();
        let count = self.parts.capabilities.len();
        let first = memory.first;
        for position in (first..first + count).map(|it| it % count) {
            let capability = &self.parts.capabilities[position];
            let began = Instant::now();
            let answers = capability.holds(&running, self.host());
            let looked_at = slots.iter().zip(vms).zip(&mut *findings);
            for (((slot, vm), finding), holds) in looked_at.zip(answers) {
                // A VM that a verb has changed meanwhile is not damaged: the next round looks
                // again.
                let is_steady = !slot.is_held() && Arc::ptr_eq(&slot.vm(), vm);
                if is_steady || holds != Ok(false) {
                    memory.take(vm.id, capability.name(), holds, finding);
                }
            }
            if self.is_stopping() || began.elapsed() > SLOW {
                memory.first = (position + 1) % count;
                return false;
            }
        }
        true
    }
}

impl LookState {
    /// Records a capability's answer for a VM.
    fn take(&mut self, id: VmId, name: &'static str, holds: Result<bool>, finding: &mut Finding) {
        match holds {
            Ok(true) => self.backoff.well(id, name),
            Ok(false) if self.backoff.attempt(id, name, Instant::now()) => finding.due.push(name),
            Ok(false) => {}
            Err(error) => {
                let words = format!("{name}: {}", error.report());
                finding.unknown.get_or_insert(words);
            }
        }
    }

    /// Logs why the state of a VM's host side is unknown, once for each cause.
    fn note(&mut self, vm: &Vm, unknown: Option<String>) {
        let Some(cause) = unknown else {
            if self.unknown.remove(&vm.id).is_some() {
                tracing::info!(vm = %vm.name, "the state of its host side is known again");
            }
            return;
        };
        if self.unknown.get(&vm.id) != Some(&cause) {
            tracing::warn!(vm = %vm.name, error = cause, "it is unknown how its things on the host are");
            self.unknown.insert(vm.id, cause);
        }
    }
}
