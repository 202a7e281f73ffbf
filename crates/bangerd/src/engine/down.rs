//! The one path down. A failed start, stop, kill, delete and recovery all take it; nothing tracks
//! how far a start got.

use std::path::PathBuf;
use std::time::Duration;

use banger_api::{End, EndReason, Error, Phase};
use banger_host::{Process, Signal};

use super::Engine;
use super::hold::Hold;
use crate::error::{During, Result};
use crate::vm::Vm;

/// The time for a killed process to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The maximum number of rounds in which leftover processes are searched and killed.
const ROUNDS: usize = 8;

impl Engine {
    /// Ends the VM's process, if there is one, and runs the teardown of every capability in
    /// reverse. Continues after errors, and returns all of them.
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
    /// If something remains, the VM keeps the phase `Stopping`, so that the next verb or the next
    /// daemon takes it down again.
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
            // The record on disk still has a run; clients see the true state.
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

    /// The programs that a VM's process may run.
    pub(super) fn programs(&self) -> Vec<PathBuf> {
        let hypervisors = self.parts.hypervisors.iter();
        hypervisors.flat_map(|it| it.programs()).collect()
    }

    /// All processes of this VM: the recorded one, and those that can only belong to this VM.
    pub(super) fn processes(&self, vm: &Vm) -> Result<Vec<Process>> {
        let instance = self.parts.instance;
        let mark = instance.mark(vm.id, vm.index, self.programs());
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
        // A process under a guest's control may start others while it is being killed.
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

/// Combines errors: the first, with the others in `also`.
pub(super) fn joined(errors: Vec<Error>) -> Option<Error> {
    let mut errors = errors.into_iter();
    let mut first = errors.next()?;
    first.also.extend(errors.map(|other| other.to_string()));
    Some(first)
}
