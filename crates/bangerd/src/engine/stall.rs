//! Machines that stand still because a write to one of their disks failed.
//!
//! QEMU keeps such a write and stops its machine; nothing is lost and the guest sees no error. It
//! goes on when it is told to, and does the write again. The guard (`disk_pressure.rs`) stops VMs before
//! that happens, where it can; this is for a file system that filled up faster than it looked, for
//! quotas, which it does not see, and for disks that fail.
//!
//! ```text
//!   the machine says: a write failed ──► shown as paused ──► room again? ──► told to go on
//!        ▲                                                                        │
//!        └──────────────── it failed again: ever more seldom ◄────────────────────┘
//! ```

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use banger_api::{PauseReason, Phase};
use banger_host::{Process, Signal};

use super::Engine;
use super::backoff::Backoff;
use super::hold::Slot;
use super::pause::Pause;
use crate::error::Result;
use crate::hypervisor::FailedWrite;
use crate::vm::Vm;

/// How often machines are asked where something is amiss, or little room is left.
const TICK: Duration = Duration::from_millis(500);

/// Of so many ticks one asks all machines, while all is well.
const CALM: u32 = 4;

/// How long a machine may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a machine that is being ended is asked.
const GLANCE: Duration = Duration::from_millis(200);

/// How often one is told to go on then, where there is room and its writes fail all the same.
const TRIES: u32 = 10;

/// What telling a machine to go on is called in the backoff.
const GO_ON: &str = "go on";

/// What asking a machine is called there.
const ASK: &str = "ask";

impl Engine {
    /// Looks after machines whose writes fail, and after records that found no space, until the
    /// engine is shut down. One thread runs this.
    pub fn watch_disks(self: &Arc<Self>) {
        let mut backoff = Backoff::default();
        let mut ticks = 0_u32;
        while !self.is_stopping() {
            if ticks.is_multiple_of(CALM) || self.any_is_paused() || self.little_room() {
                self.look_for_failed_writes(&mut backoff);
            }
            self.write_kept();
            ticks = ticks.wrapping_add(1);
            self.host().wait_any(&[], TICK);
        }
    }

    fn look_for_failed_writes(self: &Arc<Self>, backoff: &mut Backoff) {
        let slots: Vec<Arc<Slot>> = self
            .slots()
            .into_iter()
            .filter(|slot| matches!(slot.vm().phase, Phase::Starting | Phase::Running))
            .collect();
        backoff.keep(|id| slots.iter().any(|slot| slot.vm().id == id));
        for slot in &slots {
            let vm = slot.vm();
            let was = self.pause_of(vm.id);
            // One that the guard has stopped answers nobody.
            if self.is_stopped(&vm) || backoff.waits(vm.id, ASK, Instant::now()) {
                continue;
            }
            match self.failed_write(&vm) {
                Ok(failed) => {
                    backoff.well(vm.id, ASK);
                    self.follow_write(slot, was, failed, backoff);
                }
                Err(error) => {
                    backoff.attempt(vm.id, ASK, Instant::now());
                    tracing::debug!(vm = %vm.name, %error, "ask whether its writes fail");
                    if was.is_some_and(|it| it.reason == PauseReason::HostAlmostFull) {
                        self.runs_again(slot, was);
                    }
                }
            }
            if self.is_stopping() {
                return;
            }
        }
    }

    /// What made this machine stop itself, if it has.
    pub(super) fn failed_write(&self, vm: &Vm) -> Result<Option<FailedWrite>> {
        match self.hypervisor_of(vm) {
            Some(hypervisor) if hypervisor.features().keeps_failed_writes => {
                hypervisor.failed_write(vm, PATIENCE)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Tells a machine that stopped itself to go on, and so to do its write again.
    pub(super) fn write_again(&self, vm: &Vm) -> Result<()> {
        match self.hypervisor_of(vm) {
            Some(hypervisor) => hypervisor.write_again(vm, PATIENCE),
            None => Ok(()),
        }
    }

    fn follow_write(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        was: Option<Pause>,
        failed: Option<FailedWrite>,
        backoff: &mut Backoff,
    ) {
        let vm = slot.vm();
        let Some(failed) = failed else {
            backoff.well(vm.id, GO_ON);
            self.runs_again(slot, was);
            return;
        };
        let reason = match failed {
            FailedWrite::NoSpace => PauseReason::HostFull,
            FailedWrite::Other => PauseReason::DiskError,
        };
        self.show_paused(&vm, reason);
        if !self.has_room_for(&vm) || !backoff.attempt(vm.id, GO_ON, Instant::now()) {
            return;
        }
        // It is shown as paused until it is seen that this helped.
        if let Err(error) = self.write_again(&vm) {
            tracing::warn!(vm = %vm.name, error = error.report(), "tell it to go on");
        }
    }

    /// Shows that a VM goes on that stood still before, and tells its guest the time, as its clock
    /// stood still, too.
    fn runs_again(self: &Arc<Self>, slot: &Arc<Slot>, was: Option<Pause>) {
        let vm = slot.vm();
        let Some(was) = was.filter(|_| !self.is_stopped(&vm)) else {
            return;
        };
        if self.show_goes_on(&vm, was) && vm.phase == Phase::Running {
            self.on_thread(slot, |engine, slot| engine.tell_time(slot));
        }
    }

    /// Does something for a VM that is being ended, `work`, which waits for its guest; and why its
    /// writes failed still, where the process was killed for that meanwhile: what the guest has not
    /// written can be written nowhere, and it would be waited for in vain.
    pub(super) fn unless_writes_fail<T>(
        &self,
        vm: &Vm,
        process: &Process,
        work: impl FnOnce() -> T,
    ) -> (T, Option<FailedWrite>) {
        let keeps = self
            .hypervisor_of(vm)
            .is_some_and(|it| it.features().keeps_failed_writes);
        if !keeps {
            return (work(), None);
        }
        let (done, ended) = channel::<()>();
        std::thread::scope(|scope| {
            let glances = scope.spawn(move || {
                let mut tries = 0;
                while ended.recv_timeout(GLANCE) == Err(RecvTimeoutError::Timeout) {
                    match self.failed_write(vm) {
                        Ok(Some(_)) if tries < TRIES && self.has_room_for(vm) => {
                            // The next glance tells whether it helped.
                            let _ = self.write_again(vm);
                            tries += 1;
                        }
                        Ok(Some(failed)) => {
                            let killed = self.host().signal(process, Signal::Kill);
                            tracing::warn!(vm = %vm.name, ok = killed.is_ok(), "its writes fail still; killed");
                            return Some(failed);
                        }
                        // Busy with somebody else, or gone: `work` comes to its end by itself.
                        Ok(None) | Err(_) => {}
                    }
                }
                None
            });
            let outcome = work();
            drop(done);
            (outcome, glances.join().unwrap_or(None))
        })
    }
}
