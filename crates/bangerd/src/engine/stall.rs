//! Machines that their hypervisor has stopped.
//!
//! A hypervisor may keep a write that fails and stop its machine; nothing is lost and the guest sees
//! no error.
//! Resumed, it repeats the write. The guard (`disk_pressure.rs`) pauses VMs before that happens,
//! where it can; this is for a file system that fills faster than the guard looks, for quotas, which
//! it does not see, and for disks that fail.
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

/// How often machines are asked while one is paused or space is short.
const TICK: Duration = Duration::from_millis(500);

/// Otherwise they are asked every so many ticks.
const CALM: u32 = 4;

/// How long a machine may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a machine that is being ended is asked.
const GLANCE: Duration = Duration::from_millis(200);

/// How often it is resumed then, where there is space and its writes still fail.
const TRIES: u32 = 10;

/// The backoff of resuming a machine.
const RESUME: &str = "resume";

/// The backoff of asking a machine.
const ASK: &str = "ask";

/// The backoff of taking down a broken machine.
const END: &str = "end";

impl Engine {
    /// Looks after machines that their hypervisor stopped, and writes the records that found no
    /// space, until the engine is shut down. One thread runs this.
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
            // A process that the guard has stopped answers nobody.
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
                // It is shown as paused until a later look finds it running.
                if let Err(error) = self.resume_machine(&vm) {
                    tracing::warn!(vm = %vm.name, error = error.report(), "resume");
                }
            }
        }
    }

    /// Takes down a VM whose machine cannot run again. A start that waits for the machine sees its
    /// process end.
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

    /// Shows that a paused VM runs again, and sets the clock of its guest, which stood still.
    fn runs_again(self: &Arc<Self>, slot: &Arc<Slot>, was: Option<Pause>) {
        let vm = slot.vm();
        let Some(was) = was.filter(|_| !self.is_stopped(&vm)) else {
            return;
        };
        if self.show_goes_on(&vm, was) && vm.phase == Phase::Running {
            self.on_thread(slot, |engine, slot| engine.tell_time(slot));
        }
    }

    /// Runs `work`, which ends a VM and waits for its guest, and watches for failed writes meanwhile.
    /// Where they keep failing the process is killed, and the reason returned: what the guest has
    /// not written cannot be written, and `work` would wait in vain.
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
                            // The next glance tells whether it helped.
                            let _ = self.resume_machine(vm);
                            tries += 1;
                        }
                        Ok(MachineState::FailedWrite(why)) => {
                            let killed = self.host().signal(process, Signal::Kill);
                            tracing::warn!(vm = %vm.name, ok = killed.is_ok(), "its writes fail; killed");
                            return Some(why);
                        }
                        // Busy or gone: `work` ends by itself.
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
