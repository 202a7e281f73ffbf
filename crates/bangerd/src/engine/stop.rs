//! `vm stop`, `vm restart` and `vm kill`. A stop tries steps in turn until the deadline; a kill
//! takes only the last one.
//!
//! ```text
//! sync ─► the agent powers off ─► the power button ─► SIGTERM ─► SIGKILL
//!   └─ each step has its share of the remaining time; the last always works
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use banger_api::{
    Code, EndReason, Error, KillVm, Phase, SignalName, StartVm, StopReport, StopVm, VerbOutcome,
    VmView,
};
use banger_host::{Process, Signal};

use super::hold::{Hold, Slot};
use super::{Engine, ProgressSink, protection, step};
use crate::error::{During, Result};
use crate::hypervisor::FailedWrite;
use crate::vm::Vm;
use crate::vm::phase::{Answer, Verb, may};

/// The time that a kill waits for the process, and for the failure of a start that it interrupts.
const PATIENCE: Duration = Duration::from_secs(15);

impl Engine {
    pub(super) fn stop_vm(
        &self,
        slot: &Arc<Slot>,
        request: &StopVm,
        progress: ProgressSink<'_>,
    ) -> Result<StopReport> {
        let name = slot.vm().name.clone();
        let doing = || format!("stop `{name}`");
        let deadline = self.deadline(request).during(doing())?;
        self.stop_slot(slot, deadline, "`vm stop`", progress)
            .during(doing())
    }

    /// Stops this VM; `asked` is the reason for its record.
    pub(super) fn stop_slot(
        &self,
        slot: &Arc<Slot>,
        deadline: Instant,
        asked: &str,
        progress: ProgressSink<'_>,
    ) -> Result<StopReport> {
        let hold = slot.hold("stop")?;
        if may(Verb::Stop, hold.vm().phase, &hold.vm().name)? == Answer::Already {
            let vm = self.view(&hold.vm());
            return Ok(StopReport {
                vm,
                synced: true,
                by: "gone".to_owned(),
            });
        }
        let (synced, by) = self.stop_held(&hold, deadline, asked, progress)?;
        Ok(StopReport {
            vm: self.view(&hold.vm()),
            synced,
            by,
        })
    }

    pub(super) fn restart_vm(
        &self,
        slot: &Arc<Slot>,
        request: &StopVm,
        progress: ProgressSink<'_>,
    ) -> Result<VmView> {
        let name = slot.vm().name.clone();
        let doing = || format!("restart `{name}`");
        let deadline = self.deadline(request).during(doing())?;
        let hold = slot.hold("restart").during(doing())?;
        let vm = hold.vm();
        may(Verb::Restart, vm.phase, &name).during(doing())?;
        if vm.run.is_some() {
            self.stop_held(&hold, deadline, "`vm restart`", progress)
                .during(doing())?;
        }
        self.start_held(&hold, &StartVm::default(), progress)
            .during(doing())?;
        Ok(self.view(&hold.vm()))
    }

    pub(super) fn kill_vm(
        &self,
        slot: &Arc<Slot>,
        request: &KillVm,
        progress: ProgressSink<'_>,
    ) -> Result<VerbOutcome> {
        let name = slot.vm().name.clone();
        let doing = || format!("kill `{name}`");
        protection::admit_kill(&slot.vm()).during(doing())?;
        let signal = signal(request.signal.unwrap_or(SignalName::Kill));
        if signal != Signal::Kill {
            self.signal_vm(slot, signal, progress).during(doing())?;
            return Ok(VerbOutcome {
                vm: self.view(&slot.vm()),
                already: false,
            });
        }
        let (hold, ended) = self.seize(slot, "kill", progress).during(doing())?;
        let answer = may(Verb::Kill, hold.vm().phase, &name).during(doing())?;
        if answer == Answer::Go {
            self.go_down_killed(&hold, progress).during(doing())?;
        }
        Ok(VerbOutcome {
            vm: self.view(&hold.vm()),
            already: answer == Answer::Already && ended == 0,
        })
    }

    /// Sends a signal other than `KILL`.
    fn signal_vm(&self, slot: &Slot, signal: Signal, progress: ProgressSink<'_>) -> Result<()> {
        let vm = slot.vm();
        let recorded = vm.process().filter(|it| self.host().is_alive(it));
        let processes = match recorded {
            // The signal is for the hypervisor only, not for the VM's other processes.
            Some(process) => vec![process.clone()],
            None => self.processes(&vm)?,
        };
        if processes.is_empty() {
            return Err(Error::new(
                Code::Conflict,
                "it does not run, and nothing got the signal",
            )
            .hint(format!("banger vm start {}", vm.name)));
        }
        step(progress, "kill", || self.signal_all(&processes, signal))
    }

    fn signal_all(&self, processes: &[Process], signal: Signal) -> Result<()> {
        processes.iter().try_for_each(|process| {
            let sent = self.host().signal(process, signal);
            sent.during("signal the process").map(drop)
        })
    }

    /// Kills all processes of the VM, whatever verb holds it, and takes the hold for `verb`. Also
    /// returns the number of processes.
    pub(super) fn seize(
        &self,
        slot: &Arc<Slot>,
        verb: &'static str,
        progress: ProgressSink<'_>,
    ) -> Result<(Hold, usize)> {
        let processes = self.processes(&slot.vm())?;
        slot.note_kill();
        step(progress, "kill", || {
            self.signal_all(&processes, Signal::Kill)
        })?;
        slot.wait_released(PATIENCE);
        Ok((slot.hold(verb)?, processes.len()))
    }

    /// The teardown of a killed VM.
    pub(super) fn go_down_killed(&self, hold: &Hold, progress: ProgressSink<'_>) -> Result<()> {
        step(progress, "take down", || {
            self.go_down(hold, EndReason::Killed, "`vm kill`".to_owned())
        })
    }

    fn deadline(&self, request: &StopVm) -> Result<Instant> {
        deadline_in(
            request
                .timeout_seconds
                .unwrap_or(self.defaults().stop_timeout_seconds),
        )
    }

    /// The result of the steps: whether the guest wrote its data, and which step ended it.
    pub(super) fn stop_held(
        &self,
        hold: &Hold,
        deadline: Instant,
        asked: &str,
        progress: ProgressSink<'_>,
    ) -> Result<(bool, String)> {
        let before = hold.vm();
        let vm = Vm {
            phase: Phase::Stopping,
            ..before.clone()
        };
        // From here on the guard does not pause it.
        self.publish(hold.slot(), &vm);
        let begun = self
            .wake(hold.slot(), &vm)
            .and_then(|()| self.save_or_keep(hold.slot(), &vm));
        if let Err(error) = begun {
            self.publish(hold.slot(), &before);
            return Err(error);
        }
        let mut synced = false;
        let mut failed = None;
        let by = match vm.process() {
            Some(process) if self.host().is_alive(process) => {
                let by;
                (by, failed) = self.unless_writes_fail(&vm, process, || {
                    synced = step(progress, "sync", || Ok(self.sync(&vm, deadline)))?;
                    step(progress, "power off", || {
                        Ok(self.descend(&vm, process, deadline))
                    })
                });
                if failed.is_some() { "kill" } else { by? }
            }
            Some(_) | None => "gone",
        };
        // A guest that reported its shutdown has unmounted everything, whether it answered before
        // or not.
        synced |= self.said_good_bye(&vm);
        let detail = match (by, synced) {
            (_, true) => asked.to_owned(),
            _ if failed == Some(FailedWrite::NoSpace) => format!(
                "{asked}; the host's file system was full, and the guest could not write its disks"
            ),
            _ if failed.is_some() => {
                format!("{asked}; the host could not write all data of the guest's disks")
            }
            (by, false) => format!("{asked} by {by}; the guest did not finish writing its disks"),
        };
        let reason = if by == "kill" {
            EndReason::Killed
        } else {
            EndReason::Stopped
        };
        step(progress, "take down", || self.go_down(hold, reason, detail))?;
        Ok((synced, by.to_owned()))
    }

    fn sync(&self, vm: &Vm, deadline: Instant) -> bool {
        let timeout = left(deadline).mul_f64(0.4).min(Duration::from_secs(20));
        let guest = self
            .hypervisor_of(vm)
            .map(|hypervisor| hypervisor.guest(vm));
        match guest {
            Some(Ok(mut guest)) => guest.sync(timeout).is_ok(),
            Some(Err(_)) | None => false,
        }
    }

    /// Takes the steps in turn until the process has ended.
    fn descend(&self, vm: &Vm, process: &Process, deadline: Instant) -> &'static str {
        let gone = |wait: Duration| {
            !self
                .host()
                .wait_any(std::slice::from_ref(process), wait)
                .is_empty()
        };
        if let Some(hypervisor) = self.hypervisor_of(vm) {
            let asked = hypervisor
                .guest(vm)
                .and_then(|mut guest| guest.power_off(left(deadline).mul_f64(0.2)));
            match asked {
                Ok(()) if gone(left(deadline).mul_f64(0.7)) => return "agent",
                Ok(()) => {}
                Err(error) => tracing::debug!(%error, vm = %vm.name, "the agent is not asked"),
            }
            let pressed = hypervisor.features().power_button
                && hypervisor
                    .press_power_button(vm, Instant::now() + left(deadline).mul_f64(0.2))
                    .is_ok();
            if pressed && gone(left(deadline).mul_f64(0.8)) {
                return "power-button";
            }
        }
        for (signal, by, share) in [
            (Signal::Terminate, "terminate", 0.8),
            (Signal::Kill, "kill", 1.0),
        ] {
            let sent = self.host().signal(process, signal);
            if sent.is_ok()
                && gone(
                    left(deadline)
                        .mul_f64(share)
                        .max(Duration::from_millis(200)),
                )
            {
                return by;
            }
        }
        "kill"
    }
}

/// The deadline this many seconds from now.
pub(super) fn deadline_in(seconds: u64) -> Result<Instant> {
    if !(1..=3600).contains(&seconds) {
        return Err(Error::new(
            Code::Invalid,
            format!("a deadline of {seconds} s is out of range: 1 to 3600"),
        ));
    }
    Ok(Instant::now() + Duration::from_secs(seconds))
}

pub(super) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn signal(name: SignalName) -> Signal {
    match name {
        SignalName::Kill => Signal::Kill,
        SignalName::Term => Signal::Terminate,
        SignalName::Int => Signal::Interrupt,
        SignalName::Hup => Signal::HangUp,
        SignalName::Quit => Signal::Quit,
        SignalName::Usr1 => Signal::User1,
        SignalName::Usr2 => Signal::User2,
        SignalName::Stop => Signal::Stop,
        SignalName::Cont => Signal::Continue,
    }
}
