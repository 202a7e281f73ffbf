//! Who holds a VM changes it, and nobody else.
//!
//! A verb that finds a VM held is refused at once, and told by what; nothing waits in a queue that
//! a user cannot see. Looking at a VM never needs a hold. `kill` does not either: it must be able to
//! end a start that hangs.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use banger_api::{Code, Error};

use super::lock;
use crate::error::Result;
use crate::vm::Vm;

/// One VM in memory: its record, and who holds it.
#[derive(Debug)]
pub struct Slot {
    vm: Mutex<Arc<Vm>>,
    holder: Mutex<Option<(&'static str, Instant)>>,
    released: Condvar,
    /// Somebody wants the VM's process dead, whoever holds it.
    killed: Mutex<bool>,
}

impl Slot {
    /// A VM that nobody holds.
    #[must_use]
    pub fn new(vm: Vm) -> Self {
        Self {
            vm: Mutex::new(Arc::new(vm)),
            holder: Mutex::new(None),
            released: Condvar::new(),
            killed: Mutex::new(false),
        }
    }

    /// The VM as it is now.
    #[must_use]
    pub fn vm(&self) -> Arc<Vm> {
        lock(&self.vm).clone()
    }

    /// Shows another state to everybody, and returns the one before.
    pub(super) fn replace(&self, vm: Vm) -> Arc<Vm> {
        std::mem::replace(&mut lock(&self.vm), Arc::new(vm))
    }

    /// Takes the VM for a verb, until the hold is dropped.
    ///
    /// # Errors
    /// `busy`, with the verb that has it and for how long.
    pub fn hold(self: &Arc<Self>, verb: &'static str) -> Result<Hold> {
        let mut holder = lock(&self.holder);
        if let Some((other, since)) = *holder {
            let name = self.vm().name.clone();
            let seconds = since.elapsed().as_secs();
            return Err(Error::new(
                Code::Busy,
                format!("`{name}` is busy: {other} has been at work for {seconds} s"),
            )
            .hint(format!(
                "wait for it: banger vm show {name}   (or end it: banger vm kill {name})"
            )));
        }
        *holder = Some((verb, Instant::now()));
        *lock(&self.killed) = false;
        Ok(Hold { slot: self.clone() })
    }

    /// Whether somebody holds it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        lock(&self.holder).is_some()
    }

    /// Waits until nobody holds it, or the time is up.
    pub(super) fn wait_released(&self, timeout: Duration) -> bool {
        let holder = lock(&self.holder);
        let waited = self
            .released
            .wait_timeout_while(holder, timeout, |holder| holder.is_some());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_none()
    }

    /// Remembers that the process was killed on purpose.
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
    /// What is held.
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
