//! Temporary VMs, such as that of `vm run --rm`. Its client holds a lifeline, a connection that stays
//! open, and the VM is deleted when its last lifeline has ended, however the client ended.
//!
//! ```text
//! created ── no lifeline for 30 s ──────┐
//!    │                                  ├─ deleted, permanently; tried again every 30 s
//!  held ──── the last lifeline ended ───┘
//! ```
//!
//! Lifelines are not recorded. A daemon that finds a temporary VM waits 30 seconds for its client.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use banger_api::{Code, DeleteVm, Error, VmId, VmRef};

use super::{Engine, lock};
use crate::error::Result;

/// The time for a client to come, and between two attempts to delete.
const GRACE: Duration = Duration::from_secs(30);

/// The lifelines of temporary VMs.
#[derive(Debug, Default)]
pub(super) struct Lifelines(Mutex<BTreeMap<VmId, State>>);

#[derive(Debug)]
struct State {
    /// The number of open lifelines.
    open: usize,
    /// The time at which the VM is deleted if no lifeline is open then.
    due: Instant,
}

/// Keeps a temporary VM from being deleted until it is dropped.
#[derive(Debug)]
pub struct Lifeline {
    all: Arc<Lifelines>,
    vm: VmId,
    /// Whether the next daemon waits for the client, because this one ends first.
    is_left: bool,
}

impl Lifeline {
    /// Leaves the VM to the next daemon, which waits for its client.
    pub fn leave_to_the_next(mut self) {
        self.is_left = true;
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        if let Some(state) = lock(&self.all.0).get_mut(&self.vm) {
            state.open = state.open.saturating_sub(1);
            state.due = Instant::now();
        }
    }
}

impl Engine {
    /// A lifeline of a temporary VM.
    ///
    /// # Errors
    /// `not-found`; `conflict` if the VM is not temporary.
    pub fn lifeline(&self, wanted: &VmRef) -> Result<Lifeline> {
        let vm = self.find(wanted)?.vm();
        if !vm.temporary {
            let what = format!("`{}` is not temporary: it needs no lifeline", vm.name);
            return Err(Error::new(Code::Conflict, what));
        }
        let mut lifelines = lock(&self.lifelines.0);
        let state = lifelines.entry(vm.id).or_insert(State {
            open: 0,
            due: Instant::now(),
        });
        state.open += 1;
        Ok(Lifeline {
            all: Arc::clone(&self.lifelines),
            vm: vm.id,
            is_left: false,
        })
    }

    /// Deletes the temporary VMs that are due at `now`, each in a thread of its own.
    pub fn delete_abandoned(self: &Arc<Self>, now: Instant) {
        let mut slots = self.slots();
        // A protected one stays until its protection is lifted.
        slots.retain(|slot| slot.vm().temporary && !slot.vm().spec.protected);
        let mut lifelines = lock(&self.lifelines.0);
        lifelines.retain(|id, _| slots.iter().any(|slot| slot.vm().id == *id));
        for slot in slots {
            let due = now + GRACE;
            let state = lifelines
                .entry(slot.vm().id)
                .or_insert(State { open: 0, due });
            // A create is under way, and its client comes afterwards.
            if slot.is_held() && state.due > now {
                state.due = due;
            }
            if state.open == 0 && state.due <= now {
                state.due = due;
                self.on_thread(&slot, |engine, slot| engine.delete_temporary(slot.vm().id));
            }
        }
    }

    fn delete_temporary(&self, id: VmId) {
        let request = DeleteVm {
            force: true,
            purge: true,
        };
        match self.delete(&id.into(), &request, &|_| {}) {
            Ok(vm) => tracing::info!(vm = %vm.name, "a temporary VM without a client is deleted"),
            Err(error) if error.code == Code::NotFound => {}
            Err(error) => tracing::warn!(%id, error = error.report(), "delete a temporary VM"),
        }
    }
}
