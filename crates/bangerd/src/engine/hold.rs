//! Holds: only the verb that holds a VM may change it.
//!
//! A verb fails at once if another verb holds the VM, and its error names that verb; there is no
//! hidden queue. Reading a VM needs no hold. `kill` needs none either: it must be able to end a
//! start that hangs.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use banger_api::{Code, Error, VmName};

use super::lock;
use crate::error::Result;
use crate::vm::Vm;

/// The name of the watch's hold while it restores parts of a running VM. It is short and not a
/// user's, so a verb waits for it instead of failing.
pub(super) const PUTTING_BACK: &str = "putting back";

/// The time that a verb waits for it.
const PATIENCE: Duration = Duration::from_secs(15);

/// One VM in memory: its record and its hold.
#[derive(Debug)]
pub struct Slot {
    vm: Mutex<Arc<Vm>>,
    holder: Mutex<Option<(&'static str, Instant)>>,
    released: Condvar,
    /// Set when a kill is requested, whatever verb holds the VM.
    killed: Mutex<bool>,
    /// The reserved name that it is about to get.
    next_name: Mutex<Option<VmName>>,
    /// Held while its process is stopped or resumed, so that the two never overlap.
    turn: Mutex<()>,
}

impl Slot {
    /// A slot without a hold.
    #[must_use]
    pub fn new(vm: Vm) -> Self {
        Self {
            vm: Mutex::new(Arc::new(vm)),
            holder: Mutex::new(None),
            released: Condvar::new(),
            killed: Mutex::new(false),
            next_name: Mutex::new(None),
            turn: Mutex::new(()),
        }
    }

    /// The VM as it is now.
    #[must_use]
    pub fn vm(&self) -> Arc<Vm> {
        lock(&self.vm).clone()
    }

    /// Replaces the visible state.
    pub(super) fn replace(&self, vm: Vm) {
        *lock(&self.vm) = Arc::new(vm);
    }

    /// Takes the VM for a verb, until the hold is dropped.
    ///
    /// # Errors
    /// `busy`, with the verb that holds it and since when.
    pub fn hold(self: &Arc<Self>, verb: &'static str) -> Result<Hold> {
        let holder = lock(&self.holder);
        let putting_back =
            |holder: &mut Option<(&str, Instant)>| holder.is_some_and(|it| it.0 == PUTTING_BACK);
        let mut holder = self
            .released
            .wait_timeout_while(holder, PATIENCE, putting_back)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        if let Some((other, since)) = *holder {
            let name = self.vm().name.clone();
            let seconds = since.elapsed().as_secs();
            return Err(Error::new(
                Code::Busy,
                format!("`{name}` is busy: {other} is in progress ({seconds} s)"),
            )
            .hint(format!(
                "check on it: banger vm show {name}   (or end it: banger vm kill {name})"
            )));
        }
        *holder = Some((verb, Instant::now()));
        *lock(&self.killed) = false;
        Ok(Hold { slot: self.clone() })
    }

    /// The reserved name that it is about to get.
    pub(super) fn next_name(&self) -> Option<VmName> {
        lock(&self.next_name).clone()
    }

    /// Reserves a name for it, until the claim is dropped.
    pub(super) fn claim_name(self: &Arc<Self>, name: VmName) -> NameClaim {
        *lock(&self.next_name) = Some(name);
        NameClaim { slot: self.clone() }
    }

    /// Whether a verb holds it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        lock(&self.holder).is_some()
    }

    /// Waits until no verb holds it, or until the deadline.
    pub(super) fn wait_released(&self, timeout: Duration) -> bool {
        let holder = lock(&self.holder);
        let waited = self
            .released
            .wait_timeout_while(holder, timeout, |holder| holder.is_some());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_none()
    }

    /// The right to stop or resume its process.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        lock(&self.turn)
    }

    /// Records that the process was killed on purpose.
    pub(super) fn note_kill(&self) {
        *lock(&self.killed) = true;
    }

    /// Whether the process was killed on purpose since the hold began.
    pub(super) fn was_killed(&self) -> bool {
        *lock(&self.killed)
    }
}

/// The right to change a VM; it ends when dropped.
#[derive(Debug)]
pub struct Hold {
    slot: Arc<Slot>,
}

impl Hold {
    /// The held VM.
    #[must_use]
    pub fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// A copy of the VM to change and save.
    #[must_use]
    pub fn vm(&self) -> Vm {
        (*self.slot.vm()).clone()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        *lock(&self.slot.holder) = None;
        self.slot.released.notify_all();
    }
}

/// A name that is reserved for a VM until its record has it.
#[derive(Debug)]
pub(super) struct NameClaim {
    slot: Arc<Slot>,
}

impl Drop for NameClaim {
    fn drop(&mut self) {
        *lock(&self.slot.next_name) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble::tests::made;

    #[test]
    fn a_verb_waits_for_the_watch_and_is_refused_while_another_verb_is_at_work() {
        let slot = Arc::new(Slot::new(made().1));
        let watch = slot.hold(PUTTING_BACK).unwrap();
        let waiting = {
            let slot = slot.clone();
            std::thread::spawn(move || slot.hold("stop").map(drop))
        };
        while !waiting.is_finished() && Arc::strong_count(&slot) < 3 {
            std::thread::yield_now();
        }
        assert!(!waiting.is_finished(), "it did not wait");
        drop(watch);
        waiting.join().unwrap().unwrap();
        let _start = slot.hold("start").unwrap();
        let error = slot.hold("stop").unwrap_err();
        assert_eq!(error.code, Code::Busy);
        assert!(error.message.contains("start"), "{error}");
    }
}
