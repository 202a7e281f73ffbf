//! Machines that were stopped by their hypervisor.
//!
//! A hypervisor may keep a failed write and stop its machine; no data is lost and the guest sees no
//! error. When resumed, it repeats the write. The guard (`disk_pressure.rs`) normally pauses VMs
//! before that; this thread covers file systems that fill between two looks, quotas, which the
//! guard does not see, and failing disks.
//!
//! ```text
//!   state:  failed write ──► shown as paused ──► space again? ──► resume, with a backoff ──┐
//!                ▲────────────────────── the write failed again ◄──────────────────────────┘
//!           paused       ──► shown as paused; whoever paused it resumes it
//!           broken       ──► taken down
//! ```

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use banger_api::{EndReason, PauseReason, Phase};
use banger_host::{Process, Signal};

use super::Engine;
use super::backoff::Backoff;
use super::hold::Slot;
use super::pause::Pause;
use crate::error::Result;
use crate::hypervisor::{FailedWrite, MachineState};
use crate::layout::machine;
use crate::vm::Vm;

/// The interval of queries while a machine is paused or space is short.
const TICK: Duration = Duration::from_millis(500);

/// Otherwise machines are queried once in this many ticks.
const CALM: u32 = 4;

/// The timeout of a machine's answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The interval of queries while a machine is shutting down.
const GLANCE: Duration = Duration::from_millis(200);

/// The maximum number of resumes then, if there is space and its writes still fail.
const TRIES: u32 = 10;

/// The name of a resume in the backoff.
const RESUME: &str = "resume";

/// The name of a query in the backoff.
const ASK: &str = "ask";

/// The name of the teardown of a broken machine in the backoff.
const END: &str = "end";

impl Engine {
    /// Handles machines that were stopped by their hypervisor, and writes the records that found no
    /// space, until the engine is shut down. Runs in one thread.
    pub fn watch_machines(self: &Arc<Self>) {
        let mut backoff = Backoff::default();
        let mut ticks = 0_u32;
        while !self.is_stopping() {
            if ticks.is_multiple_of(CALM) || self.any_is_paused() || self.little_room() {
                self.look_at_machines(&mut backoff);
            }
            self.write_kept();
            ticks = ticks.wrapping_add(1);
            self.host().wait_any(&[], TICK);
        }
    }

    fn look_at_machines(self: &Arc<Self>, backoff: &mut Backoff) {
        let slots: Vec<Arc<Slot>> = self
            .slots()
            .into_iter()
            .filter(|slot| matches!(slot.vm().phase, Phase::Starting | Phase::Running))
            .collect();
        backoff.keep(|id| slots.iter().any(|slot| slot.vm().id == id));
        for slot in &slots {
            let vm = slot.vm();
            let was = self.pause_of(vm.id);
            // A process that the guard has stopped does not answer.
            if self.is_stopped(&vm) || backoff.waits(vm.id, ASK, Instant::now()) {
                continue;
            }
            match self.machine_state(&vm) {
                Ok(state) => {
                    backoff.well(vm.id, ASK);
                    self.follow_state(slot, was, state, backoff);
                }
                Err(error) => {
                    backoff.attempt(vm.id, ASK, Instant::now());
                    tracing::debug!(vm = %vm.name, %error, "ask the machine's state");
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

    fn machine_state(&self, vm: &Vm) -> Result<MachineState> {
        match self.hypervisor_of(vm) {
            Some(hypervisor) if hypervisor.features().reports_state => {
                hypervisor.state(vm, PATIENCE)
            }
            Some(_) | None => Ok(MachineState::Running),
        }
    }

    /// Resumes a machine that stopped on a failed write, which repeats the write.
    fn resume_machine(&self, vm: &Vm) -> Result<()> {
        match self.hypervisor_of(vm) {
            Some(hypervisor) => hypervisor.resume(vm, PATIENCE),
            None => Ok(()),
        }
    }

    fn follow_state(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        was: Option<Pause>,
        state: MachineState,
        backoff: &mut Backoff,
    ) {
        let vm = slot.vm();
        match state {
            MachineState::Running => {
                backoff.well(vm.id, RESUME);
                self.runs_again(slot, was);
            }
            MachineState::Paused => self.show_paused(&vm, PauseReason::Hypervisor),
            MachineState::Broken => {
                if backoff.attempt(vm.id, END, Instant::now()) {
                    self.on_thread(slot, |engine, slot| engine.end_broken(slot));
                }
            }
            MachineState::FailedWrite(why) => {
                self.show_paused(
                    &vm,
                    match why {
                        FailedWrite::NoSpace => PauseReason::HostFull,
                        FailedWrite::Other => PauseReason::DiskError,
                    },
                );
                if !self.has_room_for(&vm) || !backoff.attempt(vm.id, RESUME, Instant::now()) {
                    return;
                }
                // It stays marked as paused until a later query finds it running.
                if let Err(error) = self.resume_machine(&vm) {
                    tracing::warn!(vm = %vm.name, error = error.report(), "resume");
                }
            }
        }
    }

    /// Takes down a VM whose machine cannot continue. A start that waits for the machine notices
    /// the end of its process.
    fn end_broken(&self, slot: &Arc<Slot>) {
        let Ok(hold) = slot.hold("the end of a broken machine") else {
            let vm = slot.vm();
            if let Some(process) = vm.process().filter(|_| vm.phase == Phase::Starting) {
                let killed = self.host().signal(process, Signal::Kill);
                tracing::error!(vm = %vm.name, ok = killed.is_ok(), "its machine is broken; killed");
            }
            return;
        };
        let vm = hold.vm();
        let is_broken = matches!(self.machine_state(&vm), Ok(MachineState::Broken));
        if vm.phase != Phase::Running || !is_broken {
            return;
        }
        let log = self.parts.layout.vm(vm.id);
        let log = log.in_machine(machine::HYPERVISOR_LOG);
        let detail = format!(
            "the hypervisor stopped the machine on an internal error; see `{}`",
            log.display()
        );
        tracing::error!(vm = %vm.name, detail, "the machine is broken");
        if let Err(error) = self.go_down(&hold, EndReason::Lost, detail) {
            tracing::error!(vm = %vm.name, error = error.report(), "take down");
        }
    }

    /// Marks a paused VM as running, and sets its guest's clock, which had stopped.
    fn runs_again(self: &Arc<Self>, slot: &Arc<Slot>, was: Option<Pause>) {
        let vm = slot.vm();
        let Some(was) = was.filter(|_| !self.is_stopped(&vm)) else {
            return;
        };
        if self.show_goes_on(&vm, was) && vm.phase == Phase::Running {
            self.on_thread(slot, |engine, slot| engine.tell_time(slot));
        }
    }

    /// Runs `work`, which stops a VM and waits for its guest, and watches for failed writes
    /// meanwhile. If they keep failing, kills the process and returns the reason: the guest cannot
    /// write its data, and `work` would never end.
    pub(super) fn unless_writes_fail<T>(
        &self,
        vm: &Vm,
        process: &Process,
        work: impl FnOnce() -> T,
    ) -> (T, Option<FailedWrite>) {
        let reports = self
            .hypervisor_of(vm)
            .is_some_and(|it| it.features().reports_state);
        if !reports {
            return (work(), None);
        }
        let (done, ended) = channel::<()>();
        std::thread::scope(|scope| {
            let glances = scope.spawn(move || {
                let mut tries = 0;
                while ended.recv_timeout(GLANCE) == Err(RecvTimeoutError::Timeout) {
                    match self.machine_state(vm) {
                        Ok(MachineState::FailedWrite(_))
                            if tries < TRIES && self.has_room_for(vm) =>
                        {
                            // The next query shows whether it helped.
                            let _ = self.resume_machine(vm);
                            tries += 1;
                        }
                        Ok(MachineState::FailedWrite(why)) => {
                            let killed = self.host().signal(process, Signal::Kill);
                            tracing::warn!(vm = %vm.name, ok = killed.is_ok(), "its writes fail; killed");
                            return Some(why);
                        }
                        // If the machine is busy or gone, `work` ends by itself.
                        Ok(_) | Err(_) => {}
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
