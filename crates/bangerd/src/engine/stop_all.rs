//! `vm stop --all`: stops all running VMs in parallel, within one deadline.
//!
//! A host uses it when it shuts down, so no VM may delay the others: each has a thread, and the
//! wait for a VM that another verb holds leaves enough time for its stop.

use std::collections::VecDeque;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use banger_api::{
    Code, EndReason, Error, KillVm, Phase, Progress, StopAllReport, StopAllVms, StopOutcome,
    StopReport, Verb,
};

use super::hold::Slot;
use super::stop::{deadline_in, left};
use super::{Engine, ProgressSink, lock};
use crate::config::LONGEST_SHUTDOWN;
use crate::error::{During, Result};
use crate::log;
use crate::vm::phase::{self, Answer, may};

/// The default number of parallel stops. A stop mostly waits for its guest.
const AT_ONCE: u32 = 64;

/// The share of the remaining time for which a stop waits for another verb on the VM.
const PATIENCE: f64 = 0.4;

impl Engine {
    /// Stops all running VMs within the deadline.
    ///
    /// # Errors
    /// `invalid` for a deadline or a number out of range. The failure of one VM is in its outcome.
    pub fn stop_all(
        &self,
        request: &StopAllVms,
        progress: ProgressSink<'_>,
    ) -> Result<StopAllReport> {
        let seconds = request
            .timeout_seconds
            .unwrap_or(self.defaults().shutdown_timeout_seconds);
        let seconds = match request.host_shutdown {
            // systemd does not wait for longer.
            true => seconds.min(LONGEST_SHUTDOWN),
            false => seconds,
        };
        let deadline = deadline_in(seconds).during("stop all VMs")?;
        let at_once = request.parallel.unwrap_or(AT_ONCE);
        if !(1..=AT_ONCE).contains(&at_once) {
            let words = format!("`parallel` must be 1 to {AT_ONCE}, not {at_once}");
            return Err(Error::new(Code::Invalid, words)).during("stop all VMs");
        }
        let asked = if request.host_shutdown {
            "the host shut down"
        } else {
            "`vm stop --all`"
        };
        let running = |slot: &Arc<Slot>| {
            let vm = slot.vm();
            may(phase::Verb::Stop, vm.phase, &vm.name) == Ok(Answer::Go)
        };
        let slots: VecDeque<Arc<Slot>> = self.slots().into_iter().filter(running).collect();
        let threads = slots
            .len()
            .min(usize::try_from(at_once).unwrap_or(usize::MAX));
        let queue = Mutex::new(slots);
        let (sender, receiver) = channel();
        let outcomes = Mutex::new(Vec::new());
        let id = log::request();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let sender = sender.clone();
                let id = id.clone();
                scope.spawn(|| {
                    let sender = sender;
                    log::within(id, || {
                        while let Some(slot) = next(&queue) {
                            let outcome = self.stop_one(&slot, deadline, asked, &sender);
                            lock(&outcomes).push(outcome);
                        }
                    });
                });
            }
            drop(sender);
            receiver.into_iter().for_each(progress);
        });
        let mut vms = std::mem::take(&mut *lock(&outcomes));
        vms.sort_by(|a: &StopOutcome, b| a.name.cmp(&b.name));
        Ok(StopAllReport { vms })
    }

    fn stop_one(
        &self,
        slot: &Arc<Slot>,
        deadline: Instant,
        asked: &str,
        sender: &Sender<Progress>,
    ) -> StopOutcome {
        let name = slot.vm().name.clone();
        let began = Instant::now();
        let step = |seconds| Progress {
            step: format!("stop {name}"),
            seconds,
            bytes: None,
        };
        // The client may be gone.
        let _ = sender.send(step(None));
        let outcome = self
            .operate(Verb::Stop, Some(slot), &|_| {}, |_, progress| {
                self.end_one(slot, deadline, asked, progress)
            })
            .during(format!("stop `{name}`"));
        if outcome.is_ok() {
            let _ = sender.send(step(Some(began.elapsed().as_secs_f64())));
        }
        let (stopped, error) = match outcome {
            Ok(stopped) => (Some(stopped), None),
            Err(error) => (None, Some(error)),
        };
        StopOutcome {
            name,
            stopped,
            error,
        }
    }

    /// A guest that is not ready yet has nothing to write. If another verb holds the VM, the stop
    /// follows it.
    fn end_one(
        &self,
        slot: &Arc<Slot>,
        deadline: Instant,
        asked: &str,
        progress: ProgressSink<'_>,
    ) -> Result<StopReport> {
        if slot.vm().phase == Phase::Starting && slot.is_held() {
            let vm = self.kill_vm(slot, &KillVm::default(), progress)?.vm;
            let killed = vm.last_end.as_ref().map(|it| it.reason) == Some(EndReason::Killed);
            if vm.phase == Phase::Stopped {
                return Ok(StopReport {
                    vm,
                    synced: false,
                    by: if killed { "kill" } else { "gone" }.to_owned(),
                });
            }
        }
        slot.wait_released(left(deadline).mul_f64(PATIENCE));
        self.stop_slot(slot, deadline, asked, progress)
    }
}

fn next(queue: &Mutex<VecDeque<Arc<Slot>>>) -> Option<Arc<Slot>> {
    lock(queue).pop_front()
}
