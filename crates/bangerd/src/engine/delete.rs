//! `vm delete`: removes everything that the VM has on the host, its record last.

use std::sync::Arc;

use banger_api::{Code, DeleteVm, Error, Phase, VmView};
use banger_host::Kind;

use super::hold::{Hold, Slot};
use super::{Engine, ProgressSink, lock, protection, step};
use crate::error::{During, Result, from_host};
use crate::vm::Vm;
use crate::vm::phase::{Answer, Verb, may};

impl Engine {
    pub(super) fn delete_vm(
        &self,
        slot: &Arc<Slot>,
        request: &DeleteVm,
        progress: ProgressSink<'_>,
    ) -> Result<VmView> {
        let name = slot.vm().name.clone();
        let doing = || format!("delete `{name}`");
        // Checked before anything is killed.
        protection::admit_delete(&slot.vm()).during(doing())?;
        let hold = if request.force {
            self.seize(slot, "delete", progress).map(|it| it.0)
        } else {
            slot.hold("delete")
        }
        .during(doing())?;
        protection::admit_delete(&hold.vm()).during(doing())?;
        if request.force && may(Verb::Kill, hold.vm().phase, &name) == Ok(Answer::Go) {
            self.go_down_killed(&hold, progress).during(doing())?;
        }
        still_there(&hold.vm()).during(doing())?;
        may(Verb::Delete, hold.vm().phase, &name).during(doing())?;
        if self.defaults().trash && !request.purge && hold.vm().phase == Phase::Stopped {
            return step(progress, "move to the trash", || self.put_in_trash(&hold))
                .during(doing());
        }
        let last = self.whole_view(&hold.vm());
        step(progress, "delete", || self.remove(&hold)).during(doing())?;
        self.prune();
        Ok(last)
    }

    /// Removes everything of the VM: run-time parts, what persists, then the record.
    pub(super) fn remove(&self, hold: &Hold) -> Result<()> {
        let mut vm = hold.vm();
        vm.phase = Phase::Deleting;
        // Without this mark a crash would leave a stopped VM with half its disks.
        match self.store.mark_deleting(self.host(), vm.id) {
            Ok(()) => self.publish(hold.slot(), &vm),
            // The record is already gone.
            Err(error) if error.kind() == Kind::Missing => self.save_or_keep(hold.slot(), &vm)?,
            Err(error) => return Err(from_host(&error).within("mark it as being removed")),
        }
        self.forget_record(vm.id);
        let mut errors = self.take_down(&vm);
        for capability in self.parts.capabilities.iter().rev() {
            errors.extend(capability.delete(&vm, self.host()).err());
        }
        if let Some(error) = super::down::joined(errors) {
            return Err(error);
        }
        self.store.remove(self.host(), vm.id)?;
        lock(&self.vms).remove(&vm.id);
        self.forget_autostart(vm.id);
        self.tell_deleted(vm.id);
        Ok(())
    }
}

/// Rejects a VM that another verb has just moved to the trash.
fn still_there(vm: &Vm) -> Result<()> {
    if !vm.is_in_trash() {
        return Ok(());
    }
    Err(Error::new(Code::NotFound, "it is in the trash already")
        .hint(format!("delete it permanently: banger vm purge {}", vm.id)))
}
