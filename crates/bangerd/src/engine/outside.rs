//! Whether what running VMs have on the host is still as it was made.
//!
//! Some of it only root can see, and root may be slow or gone. So the looks have a thread of their
//! own: whatever becomes of one, the watch goes on seeing processes that end and room that runs out.
//! A look that fails tells nothing. It is written down, once for each cause, and nothing is put back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use banger_api::VmId;

use super::backoff::Backoff;
use super::findings::AGAIN;
use super::hold::Slot;
use super::{Engine, lock};
use crate::vm::Vm;

/// A look that takes longer ends its round: the next would take as long.
const SLOW: Duration = Duration::from_secs(2);

/// What the looks remember.
#[derive(Debug, Default)]
pub(super) struct Outside {
    /// Whether a round of looks is under way.
    looking: AtomicBool,
    memory: Mutex<LookState>,
}

#[derive(Debug, Default)]
struct LookState {
    /// Why it is unknown how a VM's things are.
    unknown: BTreeMap<VmId, String>,
    backoff: Backoff,
    /// When running VMs' checks were looked at last.
    looked: Option<Instant>,
}

/// Ends a round, however it ends.
struct Round(Arc<Outside>);

impl Drop for Round {
    fn drop(&mut self) {
        self.0.looking.store(false, Ordering::Release);
    }
}

impl Engine {
    /// Begins a round of looks at these VMs, unless the last one is still under way.
    pub(super) fn look_outside(self: &Arc<Self>, running: Vec<Arc<Slot>>, outside: &Arc<Outside>) {
        if outside.looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let round = Round(outside.clone());
        let engine = self.clone();
        let spawned = std::thread::Builder::new()
            .name("look".to_owned())
            .stack_size(256 << 10)
            .spawn(move || engine.look_at_all(&running, &round.0));
        if let Err(error) = spawned {
            tracing::error!(%error, "start a thread");
        }
    }

    fn look_at_all(self: &Arc<Self>, running: &[Arc<Slot>], outside: &Outside) {
        // One round at a time: nobody else waits for this.
        let mut memory = lock(&outside.memory);
        let slots = self.slots();
        let is_there = |id: VmId| slots.iter().any(|slot| slot.vm().id == id);
        memory.unknown.retain(|id, _| is_there(*id));
        memory.backoff.keep(is_there);
        for slot in running {
            let vm = slot.vm();
            let began = Instant::now();
            let due = self.look_at_one(&vm, &mut memory);
            if !due.is_empty() {
                let what = due.join(", ");
                tracing::warn!(vm = %vm.name, what, "something of it was changed from outside; putting it back");
                self.on_thread(slot, |engine, slot| engine.put_back(slot));
            }
            if self.is_stopping() || began.elapsed() > SLOW {
                return;
            }
        }
        if memory.looked.is_none_or(|it| it.elapsed() > AGAIN) {
            memory.looked = Some(Instant::now());
            self.look_at_findings(running);
        }
    }

    /// What is not as it was made, and is due to be put back. What is unknown is neither.
    fn look_at_one(&self, vm: &Vm, memory: &mut LookState) -> Vec<&'static str> {
        let (mut due, mut unknown) = (Vec::new(), None);
        for capability in &self.parts.capabilities {
            let name = capability.name();
            match capability.holds(vm, self.host()) {
                Ok(true) => memory.backoff.well(vm.id, name),
                Ok(false) if memory.backoff.attempt(vm.id, name, Instant::now()) => due.push(name),
                Ok(false) => {}
                Err(error) => {
                    unknown.get_or_insert(format!("{name}: {}", error.report()));
                }
            }
        }
        memory.note(vm, unknown);
        due
    }
}

impl LookState {
    /// Writes down why it is unknown how a VM's things are, once for each cause.
    fn note(&mut self, vm: &Vm, unknown: Option<String>) {
        let Some(cause) = unknown else {
            if self.unknown.remove(&vm.id).is_some() {
                tracing::info!(vm = %vm.name, "it is known again how its things on the host are");
            }
            return;
        };
        if self.unknown.get(&vm.id) != Some(&cause) {
            tracing::warn!(vm = %vm.name, error = cause, "it is unknown how its things on the host are");
            self.unknown.insert(vm.id, cause);
        }
    }
}
