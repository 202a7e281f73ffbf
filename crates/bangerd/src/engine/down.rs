//! The one way down. A failed start, stop, kill, delete and recovery all come here; nobody keeps
//! count of how far a start got.

use std::time::Duration;

use banger_api::{End, EndReason, Error, Phase};
use banger_host::{Process, Signal};

use super::Engine;
use super::hold::Hold;
use crate::error::{During, Result};
use crate::vm::Vm;

/// How long a killed process may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often what a VM has left running is looked for and killed.
const ROUNDS: usize = 8;

impl Engine {
    /// Ends the VM's process, if there is one, and makes the host side of every capability absent,
    /// in reverse. Everything is tried; what did not succeed is told.
    pub(super) fn take_down(&self, vm: &Vm) -> Vec<Error> {
        let mut errors = Vec::new();
        match self.end_processes(vm) {
            Ok(()) => self.forget_pause(vm.id),
            Err(error) => errors.push(error),
        }
        for capability in self.parts.capabilities.iter().rev() {
            errors.extend(capability.teardown(vm, self.host()).err());
        }
        errors
    }

    /// Takes the VM down and records it as stopped.
    ///
    /// A VM of which something is left keeps the phase `Stopping`, so that the next verb, or the
    /// next daemon, takes it down again.
    pub(super) fn go_down(&self, hold: &Hold, reason: EndReason, detail: String) -> Result<()> {
        let mut vm = hold.vm();
        let errors = self.take_down(&vm);
        vm.last_end = Some(End {
            reason,
            detail,
            at: self.now(),
        });
        let failed = joined(errors);
        vm.phase = Phase::Stopping;
        if failed.is_none() {
            vm.phase = Phase::Stopped;
            vm.run = None;
        }
        let saved = self.save_or_keep(hold.slot(), &vm);
        if saved.is_err() {
            // The record on disk still tells of a run; whoever looks is told what is true.
            vm.phase = Phase::Stopping;
            self.publish(hold.slot(), &vm);
        }
        match (failed, saved) {
            (None, saved) => saved,
            (Some(mut error), saved) => {
                error
                    .also
                    .extend(saved.err().map(|saved| saved.to_string()));
                Err(error.hint(format!("try again: banger vm kill {}", vm.name)))
            }
        }
    }

    /// Every process of this VM: the recorded one, and all that only this VM's can be.
    pub(super) fn processes(&self, vm: &Vm) -> Result<Vec<Process>> {
        let programs = self.parts.hypervisors.iter();
        let programs = programs.flat_map(|it| it.programs()).collect();
        let mark = self.parts.instance.mark(vm.id, vm.index, programs);
        let mut found = self
            .host()
            .find_processes(&mark)
            .during("look for the VM's process")?;
        if let Some(process) = vm.process()
            && !found.contains(process)
            && self.host().is_alive(process)
        {
            found.push(process.clone());
        }
        Ok(found)
    }

    fn end_processes(&self, vm: &Vm) -> Result<()> {
        // One that was taken over may start others while it is killed.
        for _ in 0..ROUNDS {
            let processes = self.processes(vm)?;
            if processes.is_empty() {
                return Ok(());
            }
            for process in &processes {
                let what = || format!("kill process {}", process.pid);
                self.host().signal(process, Signal::Kill).during(what())?;
            }
            for process in &processes {
                if self
                    .host()
                    .wait_any(std::slice::from_ref(process), PATIENCE)
                    .is_empty()
                {
                    return Err(Error::new(
                        banger_api::Code::Host,
                        format!("process {} does not end", process.pid),
                    ));
                }
            }
        }
        Err(Error::new(
            banger_api::Code::Host,
            "its processes start others as fast as they are killed",
        ))
    }
}

/// Several errors as one: the first, and the others beside it.
pub(super) fn joined(errors: Vec<Error>) -> Option<Error> {
    let mut errors = errors.into_iter();
    let mut first = errors.next()?;
    first.also.extend(errors.map(|other| other.to_string()));
    Some(first)
}
