//! The public verbs. Each is an operation, whose beginning, steps and end are events; its
//! implementation is in a file of its own.

use std::sync::Arc;
use std::time::Instant;

use banger_api::{
    Change, CloneVm, Code, CreateVm, DeleteVm, Error, ExportVm, ExportedVm, ImportVm, KillVm,
    Operation, OperationState, Progress, PurgeVm, RenameVm, StartVm, StopReport, StopVm,
    UndeleteVm, Verb, VerbOutcome, VmRef, VmSpecPatch, VmView,
};

use super::hold::Slot;
use super::{Engine, ProgressSink, lock};
use crate::error::Result;
use crate::vm::Vm;

/// A running operation. Dropping it means failure.
#[derive(Debug)]
pub(super) struct OpenOperation<'e> {
    engine: &'e Engine,
    id: u64,
}

impl OpenOperation<'_> {
    /// Sets the VM, if it was not known from the beginning.
    pub(super) fn is_about(&self, vm: &Vm) {
        self.engine.change_feed(|state| {
            if let Some(operation) = state.operations.get_mut(&self.id) {
                (operation.vm, operation.name) = (Some(vm.id), Some(vm.name.clone()));
            }
        });
    }

    /// The VM's name, if known.
    fn vm_name(&self) -> Option<String> {
        self.engine.change_feed(|state| {
            let operation = state.operations.get(&self.id)?;
            operation.name.as_ref().map(ToString::to_string)
        })
    }

    fn log_outcome(&self, verb: Verb, seconds: f64, error: Option<&Error>) {
        let vm = self.vm_name();
        match error {
            None => tracing::info!(%verb, vm, seconds, "done"),
            // Errors that the user can fix are not warnings in the daemon's log.
            Some(error) if is_of_the_request(error) => {
                let error = error.report();
                tracing::warn!(%verb, vm, seconds, error, "refused");
            }
            Some(error) => {
                let error = error.report();
                tracing::error!(%verb, vm, seconds, error, "failed");
            }
        }
    }

    fn reach(&self, reached: OperationState) {
        self.engine.change_feed(|state| {
            let Some(operation) = state.operations.get_mut(&self.id) else {
                return;
            };
            operation.state = reached;
            let operation = operation.clone();
            let goes_on = match &operation.state {
                OperationState::Began | OperationState::Step(_) => true,
                OperationState::Done | OperationState::Failed { .. } => false,
            };
            if !goes_on {
                state.operations.remove(&self.id);
            }
            state.push(self.engine.now(), Change::Operation(operation));
        });
    }
}

impl Drop for OpenOperation<'_> {
    fn drop(&mut self) {
        // Does nothing if the operation has ended.
        let error = Error::new(Code::Internal, "the operation broke off");
        self.reach(OperationState::Failed { error });
    }
}

impl Engine {
    /// Creates a VM, and starts it unless the request sets `no_start`.
    ///
    /// # Errors
    /// A rejected request has changed nothing. If the create fails, nothing of the VM remains. If
    /// only the start fails, the VM remains, stopped.
    pub fn create(&self, request: &CreateVm, progress: ProgressSink<'_>) -> Result<VmView> {
        self.operate(Verb::Create, None, progress, |operation, progress| {
            self.create_vm(request, operation, progress)
        })
    }

    /// Boots a VM, and waits until it accepts logins.
    ///
    /// # Errors
    /// `not-ready` with every failed check; or the failure of the start, after which the VM is
    /// stopped and nothing of the run remains.
    pub fn start(
        &self,
        wanted: &VmRef,
        request: &StartVm,
        progress: ProgressSink<'_>,
    ) -> Result<VerbOutcome> {
        self.operate_on(wanted, Verb::Start, progress, |slot, progress| {
            self.start_vm(slot, request, progress)
        })
    }

    /// Stops a VM cleanly, within the deadline.
    ///
    /// # Errors
    /// `invalid` for a deadline out of range, or the failure of the teardown.
    pub fn stop(
        &self,
        wanted: &VmRef,
        request: &StopVm,
        progress: ProgressSink<'_>,
    ) -> Result<StopReport> {
        self.operate_on(wanted, Verb::Stop, progress, |slot, progress| {
            self.stop_vm(slot, request, progress)
        })
    }

    /// Stops a VM if it is running, and starts it.
    ///
    /// # Errors
    /// Those of [`Engine::stop`] and [`Engine::start`].
    pub fn restart(
        &self,
        wanted: &VmRef,
        request: &StopVm,
        progress: ProgressSink<'_>,
    ) -> Result<VmView> {
        self.operate_on(wanted, Verb::Restart, progress, |slot, progress| {
            self.restart_vm(slot, request, progress)
        })
    }

    /// Sends a signal to the VM's process; one that ends it takes the VM down.
    ///
    /// Needs no hold, so that it ends a start that hangs.
    ///
    /// # Errors
    /// If the process does not end, or the teardown fails.
    pub fn kill(
        &self,
        wanted: &VmRef,
        request: &KillVm,
        progress: ProgressSink<'_>,
    ) -> Result<VerbOutcome> {
        self.operate_on(wanted, Verb::Kill, progress, |slot, progress| {
            self.kill_vm(slot, request, progress)
        })
    }

    /// Changes a VM's settings.
    ///
    /// # Errors
    /// `invalid` for a value out of range, or a smaller disk; nothing is changed then.
    pub fn set(
        &self,
        wanted: &VmRef,
        request: &VmSpecPatch,
        progress: ProgressSink<'_>,
    ) -> Result<VmView> {
        self.operate_on(wanted, Verb::Set, progress, |slot, progress| {
            self.set_vm(slot, request, progress)
        })
    }

    /// Renames a VM.
    ///
    /// # Errors
    /// `invalid` for an invalid name, `conflict` if it is taken; nothing is changed then.
    pub fn rename(
        &self,
        wanted: &VmRef,
        request: &RenameVm,
        progress: ProgressSink<'_>,
    ) -> Result<VmView> {
        self.operate_on(wanted, Verb::Rename, progress, |slot, progress| {
            self.rename_vm(slot, request, progress)
        })
    }

    /// Creates a VM with the content of a stopped one, and an identity of its own.
    ///
    /// # Errors
    /// `conflict` if the VM is not stopped, or the new name is taken; `invalid` for settings that
    /// no VM can have, or that would shrink a disk. Nothing of the new VM remains then.
    pub fn clone_of(
        &self,
        wanted: &VmRef,
        request: &CloneVm,
        progress: ProgressSink<'_>,
    ) -> Result<VmView> {
        self.operate_on(wanted, Verb::Clone, progress, |slot, progress| {
            self.clone_vm(slot, request, progress)
        })
    }

    /// Writes a stopped VM into one file.
    ///
    /// # Errors
    /// `conflict` if the VM is not stopped, or the file exists; `invalid` for a relative path; or
    /// the failure of writing, after which there is no new file.
    pub fn export(
        &self,
        wanted: &VmRef,
        request: &ExportVm,
        progress: ProgressSink<'_>,
    ) -> Result<ExportedVm> {
        self.operate_on(wanted, Verb::Export, progress, |slot, progress| {
            self.export_vm(slot, request, progress)
        })
    }

    /// Makes a new VM from such a file.
    ///
    /// # Errors
    /// `invalid` for a file that is not an archive, or is damaged; `conflict` for a name that is
    /// taken, or settings that this host cannot provide. Nothing of the new VM remains then.
    pub fn import(&self, request: &ImportVm, progress: ProgressSink<'_>) -> Result<VmView> {
        self.operate(Verb::Import, None, progress, |operation, progress| {
            self.import_vm(request, operation, progress)
        })
    }

    /// Deletes a VM permanently, or moves it to the trash if the configuration has one.
    ///
    /// # Errors
    /// `conflict` if it is running and `force` is not set; or the failure of the removal: the
    /// record then stays, and another delete continues from there.
    pub fn delete(
        &self,
        wanted: &VmRef,
        request: &DeleteVm,
        progress: ProgressSink<'_>,
    ) -> Result<VmView> {
        self.operate_on(wanted, Verb::Delete, progress, |slot, progress| {
            self.delete_vm(slot, request, progress)
        })
    }

    /// Takes a VM out of the trash, stopped, under its own name or another.
    ///
    /// # Errors
    /// `not-found`; `conflict` if the name is taken meanwhile, or the reference matches several
    /// VMs. Nothing is changed then.
    pub fn undelete(
        &self,
        wanted: &VmRef,
        request: &UndeleteVm,
        progress: ProgressSink<'_>,
    ) -> Result<VmView> {
        let slot = self.find_deleted(wanted)?;
        self.operate(Verb::Undelete, Some(&slot), progress, |_, _| {
            self.undelete_vm(&slot, request)
        })
    }

    /// Deletes a VM in the trash permanently.
    ///
    /// # Errors
    /// `not-found`; or the failure of the removal, after which another purge continues from there.
    pub fn purge(
        &self,
        wanted: &VmRef,
        _request: &PurgeVm,
        progress: ProgressSink<'_>,
    ) -> Result<VmView> {
        let slot = self.find_deleted(wanted)?;
        self.operate(Verb::Purge, Some(&slot), progress, |_, progress| {
            self.purge_vm(&slot, progress)
        })
    }

    fn operate_on<T>(
        &self,
        wanted: &VmRef,
        verb: Verb,
        progress: ProgressSink<'_>,
        work: impl FnOnce(&Arc<Slot>, ProgressSink<'_>) -> Result<T>,
    ) -> Result<T> {
        let slot = self.find(wanted)?;
        self.operate(verb, Some(&slot), progress, |_, progress| {
            work(&slot, progress)
        })
    }

    /// Runs `work` as an operation.
    pub(super) fn operate<T>(
        &self,
        verb: Verb,
        slot: Option<&Slot>,
        progress: ProgressSink<'_>,
        work: impl FnOnce(&OpenOperation<'_>, ProgressSink<'_>) -> Result<T>,
    ) -> Result<T> {
        let vm = slot.map(Slot::vm);
        let operation = self.begin_operation(verb, vm.as_deref());
        let began = Instant::now();
        let outcome = work(&operation, &|step: Progress| {
            if let Some(seconds) = step.seconds {
                tracing::debug!(%verb, vm = operation.vm_name(), step = step.step, seconds, "step");
            }
            operation.reach(OperationState::Step(step.clone()));
            progress(step);
        });
        let seconds = began.elapsed().as_secs_f64();
        lock(&self.counts).add(&verb.to_string(), seconds, outcome.is_ok());
        operation.log_outcome(verb, seconds, outcome.as_ref().err());
        self.advertise();
        operation.reach(match &outcome {
            Ok(_) => OperationState::Done,
            Err(error) => OperationState::Failed {
                error: error.clone(),
            },
        });
        outcome
    }

    fn begin_operation(&self, verb: Verb, vm: Option<&Vm>) -> OpenOperation<'_> {
        let began = self.now();
        let id = self.change_feed(|state| {
            state.operations_begun += 1;
            let operation = Operation {
                id: state.operations_begun,
                verb,
                vm: vm.map(|vm| vm.id),
                name: vm.map(|vm| vm.name.clone()),
                request: crate::log::request(),
                began,
                state: OperationState::Began,
            };
            state.operations.insert(operation.id, operation.clone());
            state.push(began, Change::Operation(operation));
            state.operations_begun
        });
        OpenOperation { engine: self, id }
    }
}

/// Whether the request is at fault, and not the host, a guest or banger.
fn is_of_the_request(error: &Error) -> bool {
    match error.code {
        Code::NotFound | Code::Invalid | Code::Conflict | Code::Busy => true,
        Code::NotReady | Code::Host | Code::Guest | Code::Internal => false,
    }
}
