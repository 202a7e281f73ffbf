//! The watch, a thread that notices processes that end, consoles that grow and clocks that jump.
//! Another thread (`outside.rs`) notices changes of the host, such as flushed firewall rules.
//!
//! Failing repairs have a backoff for each VM and cause (`backoff.rs`), so that neither a guest nor
//! a host that refuses makes this a busy loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use banger_api::{Phase, VmId};
use banger_host::{Clocks, FileOp, Op, Process};

use super::Engine;
use super::backoff::Backoff;
use super::hold::{PUTTING_BACK, Slot};
use super::outside::Outside;
use super::view::KEPT;
use crate::layout::machine;
use crate::vm::Vm;

/// The interval between two looks.
const TICK: Duration = Duration::from_millis(500);

/// A clock that deviates from the monotonic one by more than this has jumped.
const JUMP: Duration = Duration::from_millis(200);

/// The interval at which guests without a clock of their own get the time.
const CLOCK_INTERVAL: Duration = Duration::from_secs(300);

/// The files that a guest can make grow.
const GROWING: [&str; 5] = [
    machine::CONSOLE,
    machine::HYPERVISOR_LOG,
    machine::HYPERVISOR_ERRORS,
    machine::GATE_LOG,
    machine::METRICS,
];

/// The name of a process's end in the backoff.
const END: &str = "end";

/// A file is trimmed when it exceeds the kept length by this many bytes.
const SLACK: u64 = 1 << 20;

/// The watch's state between ticks.
#[derive(Default)]
struct WatchState {
    /// The last length of each growing file, and the end of its hole.
    files: BTreeMap<(VmId, &'static str), (u64, u64)>,
    backoff: Backoff,
    outside: Arc<Outside>,
    clocks: Option<Clocks>,
    clocks_set: Duration,
}

impl Engine {
    /// Watches until the engine is shut down. Runs in one thread.
    pub fn watch(self: &Arc<Self>) {
        let mut memory = WatchState {
            clocks: Some(self.host().clocks()),
            ..WatchState::default()
        };
        while !self.is_stopping() {
            let running = self.running();
            let now = Instant::now();
            // A process whose end could not be handled would wake this thread again and again.
            let waits = |slot: &&Arc<Slot>| !memory.backoff.waits(slot.vm().id, END, now);
            let processes: Vec<Process> = running
                .iter()
                .filter(waits)
                .filter_map(|slot| slot.vm().process().cloned())
                .collect();
            let gone = self.host().wait_any(&processes, TICK);
            if self.is_stopping() {
                return;
            }
            self.look_at_each(&running, &gone, &mut memory);
            self.look_at_files(&mut memory);
            self.look_outside(running.clone(), &memory.outside);
            self.look_at_clocks(&running, &mut memory);
            self.delete_abandoned(Instant::now());
            self.retry_forwards();
            if !gone.is_empty() {
                // Until their threads have recorded the end, these would wake this thread again.
                self.host().wait_any(&[], Duration::from_millis(20));
            }
        }
    }

    fn look_at_each(
        self: &Arc<Self>,
        running: &[Arc<Slot>],
        gone: &[Process],
        memory: &mut WatchState,
    ) {
        let now = Instant::now();
        let slots = self.slots();
        memory
            .backoff
            .keep(|id| slots.iter().any(|slot| slot.vm().id == id));
        for slot in running {
            let vm = slot.vm();
            let has_ended = vm.process().is_some_and(|it| gone.contains(it));
            if has_ended && memory.backoff.attempt(vm.id, END, now) {
                self.on_thread(slot, |engine, slot| engine.ended(slot));
            }
        }
    }

    /// The running VMs without a hold.
    fn running(&self) -> Vec<Arc<Slot>> {
        let slots = self.slots();
        let idle = |slot: &Arc<Slot>| slot.vm().phase == Phase::Running && !slot.is_held();
        slots.into_iter().filter(idle).collect()
    }

    /// Runs work for a VM in a separate thread, so that the watch is not delayed.
    pub(super) fn on_thread(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        work: impl FnOnce(&Arc<Self>, &Arc<Slot>) + Send + 'static,
    ) {
        let (engine, slot) = (self.clone(), slot.clone());
        let spawned = std::thread::Builder::new()
            .name(format!("watch {}", slot.vm().id))
            .stack_size(256 << 10)
            .spawn(move || work(&engine, &slot));
        if let Err(error) = spawned {
            tracing::error!(%error, "start a thread");
        }
    }

    /// Restores all parts of a running VM, including those in the guest.
    pub(super) fn put_back(&self, slot: &Arc<Slot>) {
        let Ok(hold) = slot.hold(PUTTING_BACK) else {
            return;
        };
        let vm = hold.vm();
        if vm.phase != Phase::Running {
            return;
        }
        if let Err(error) = self.adopt(&vm) {
            tracing::error!(vm = %vm.name, error = error.report(), "put back");
        }
        if self.pause_of(vm.id).is_none()
            && let Some(Ok(mut guest)) = self.hypervisor_of(&vm).map(|it| it.guest(&vm))
            && let Err(error) = self.greet(&vm, &mut *guest, &|_| {})
        {
            tracing::warn!(vm = %vm.name, error = error.report(), "greet");
        }
    }

    /// Bounds the files that guests make grow, during the whole run.
    fn look_at_files(&self, memory: &mut WatchState) {
        let slots = self.slots();
        let is_there = |id: &VmId| slots.iter().any(|slot| slot.vm().id == *id);
        memory.files.retain(|(id, _), _| is_there(id));
        for slot in &slots {
            let vm = slot.vm();
            if matches!(vm.phase, Phase::Starting | Phase::Running | Phase::Stopping) {
                for name in GROWING {
                    self.look_at_file(&vm, name, memory);
                }
            }
        }
    }

    /// Trims the file; the end of a console may show that its machine has halted or panicked.
    fn look_at_file(&self, vm: &Vm, name: &'static str, memory: &mut WatchState) {
        let path = self.parts.layout.vm(vm.id).in_machine(name);
        let Ok(Some(stat)) = self.host().stat(&path) else {
            return;
        };
        let (length, hole) = memory.files.entry((vm.id, name)).or_default();
        if *length != stat.length {
            // A file that is shorter than before is a new file.
            if stat.length < *length {
                *hole = 0;
            }
            *length = stat.length;
            if name == machine::CONSOLE && vm.phase == Phase::Running {
                self.end_if_over(vm);
            }
        }
        let keep = stat.length.saturating_sub(KEPT);
        if keep > *hole + SLACK && !memory.backoff.waits(vm.id, name, Instant::now()) {
            match self
                .host()
                .change(&Op::File(FileOp::PunchHole { path, offset: keep }))
            {
                Ok(_) => {
                    *hole = keep;
                    memory.backoff.well(vm.id, name);
                }
                Err(error) => {
                    memory.backoff.attempt(vm.id, name, Instant::now());
                    tracing::warn!(vm = %vm.name, %error, "trim `{name}`");
                }
            }
        }
    }

    /// Sends the time to all guests after the host slept or its clock was set, and periodically.
    fn look_at_clocks(self: &Arc<Self>, running: &[Arc<Slot>], memory: &mut WatchState) {
        let now = self.host().clocks();
        let jumped = memory.clocks.is_some_and(|before| jumped(before, now));
        memory.clocks = Some(now);
        if jumped || now.boottime.saturating_sub(memory.clocks_set) > CLOCK_INTERVAL {
            memory.clocks_set = now.boottime;
            for slot in running {
                self.on_thread(slot, |engine, slot| engine.tell_time(slot));
            }
        }
    }

    pub(super) fn tell_time(&self, slot: &Arc<Slot>) {
        let vm = slot.vm();
        if self.pause_of(vm.id).is_some() {
            // It gets the time when it resumes.
            return;
        }
        let Some(Ok(mut guest)) = self.hypervisor_of(&vm).map(|it| it.guest(&vm)) else {
            return;
        };
        if let Err(error) = guest.set_clock(self.host().clocks().realtime) {
            tracing::debug!(vm = %vm.name, %error, "tell the time");
        }
    }
}

/// Whether the host slept, or its clock was set, between two readings.
fn jumped(before: Clocks, now: Clocks) -> bool {
    let slept = now
        .boottime
        .saturating_sub(before.boottime)
        .abs_diff(now.monotonic.saturating_sub(before.monotonic));
    let offset_before = before.realtime.saturating_sub(before.boottime);
    let offset_now = now.realtime.saturating_sub(now.boottime);
    slept > JUMP || offset_before.abs_diff(offset_now) > JUMP
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(realtime: u64, monotonic: u64, boottime: u64) -> Clocks {
        Clocks {
            realtime: Duration::from_secs(realtime),
            monotonic: Duration::from_secs(monotonic),
            boottime: Duration::from_secs(boottime),
        }
    }

    #[test]
    fn a_host_that_slept_or_whose_clock_was_set_has_jumped() {
        assert!(!jumped(at(1000, 10, 10), at(1001, 11, 11)));
        assert!(
            jumped(at(1000, 10, 10), at(1031, 11, 41)),
            "it slept for 30 s"
        );
        assert!(
            jumped(at(1000, 10, 10), at(900, 11, 11)),
            "its clock was set back"
        );
    }
}
