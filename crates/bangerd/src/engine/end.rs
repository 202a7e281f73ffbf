//! How a run ended, read from the console of its last boot and never guessed.

use std::time::Duration;

use banger_api::{EndReason, Phase, StartVm, Verb};
use banger_guest::end::{self, End};
use banger_host::{Exit, Signal};

use super::Engine;
use super::hold::{Hold, Slot};
use crate::error::Result;
use crate::hypervisor::Hypervisor;
use crate::layout::machine;
use crate::vm::Vm;

/// The length of the console's end that is read, in bytes.
const TAIL: u64 = 64 << 10;

/// A guest that reboots within this time of its start is not started again, to avoid an endless
/// loop.
const TOO_SOON: Duration = Duration::from_secs(20);

impl Engine {
    /// The end of the console's output from the VM's last boot.
    pub(super) fn console_tail(&self, vm: &Vm) -> Result<String> {
        use crate::error::During as _;
        let path = self.parts.layout.vm(vm.id).in_machine(machine::CONSOLE);
        let what = "read the console";
        let length = self
            .host()
            .stat(&path)
            .during(what)?
            .map_or(0, |stat| stat.length);
        let begin = vm.console_offset().max(length.saturating_sub(TAIL));
        let limit = usize::try_from(length.saturating_sub(begin)).unwrap_or(usize::MAX);
        let bytes = self.host().read_at(&path, begin, limit).during(what)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether the guest shut down cleanly, with everything unmounted.
    pub(super) fn said_good_bye(&self, vm: &Vm) -> bool {
        let end = self.console_tail(vm).map(|tail| end::read_end(&tail));
        matches!(end, Ok(End::Poweroff | End::Reboot | End::Halt))
    }

    /// The reason why a start failed, as far as the console or the hypervisor tells it.
    pub(super) fn words_of_end(&self, vm: &Vm, hypervisor: &dyn Hypervisor) -> Option<String> {
        let tail = self.console_tail(vm).unwrap_or_default();
        match end::read_end(&tail) {
            End::Panic(line) => Some(format!("the guest's kernel: {line}")),
            End::CannotBoot(why) => Some(format!("the guest cannot boot: {why}")),
            End::Poweroff => Some("the guest powered off".to_owned()),
            End::Reboot => Some("the guest rebooted".to_owned()),
            End::Halt => Some("the guest halted".to_owned()),
            End::Unknown => self.words_without_console(vm, hypervisor, tail.is_empty()),
        }
    }

    fn words_without_console(
        &self,
        vm: &Vm,
        hypervisor: &dyn Hypervisor,
        silent: bool,
    ) -> Option<String> {
        // A boot that left no process has an error with the reason already.
        let process = vm.process()?;
        match self.host().exit_of(process) {
            Some(Exit::Status(0)) | None if silent => hypervisor.last_words(vm, self.host()),
            Some(Exit::Status(0)) | None => None,
            Some(_) => Some(self.words_of_loss(vm)),
        }
    }

    /// Takes down a VM whose process has ended by itself, and starts it again if its guest
    /// rebooted.
    pub(super) fn ended(&self, slot: &std::sync::Arc<Slot>) {
        let Ok(hold) = slot.hold("the guest's own end") else {
            return;
        };
        let vm = hold.vm();
        let over = vm
            .process()
            .is_none_or(|process| !self.host().is_alive(process));
        if vm.phase != Phase::Running || !over {
            return;
        }
        let (reason, detail) = self.reason_of_end(&vm);
        tracing::info!(vm = %vm.name, ?reason, detail, "the guest has ended");
        let again = reason == EndReason::Reboot && !self.too_soon(&vm);
        let detail = if reason == EndReason::Reboot && !again {
            "`reboot` in the guest, repeatedly, within seconds of its start".to_owned()
        } else {
            detail
        };
        if let Err(error) = self.go_down(&hold, reason, detail) {
            tracing::error!(vm = %vm.name, error = error.report(), "take down");
            return;
        }
        if again && !self.is_stopping() {
            self.start_again(&hold);
        }
    }

    fn start_again(&self, hold: &Hold) {
        if let Err(error) = self.operate(Verb::Start, Some(hold.slot()), &|_| {}, |_, progress| {
            self.start_held(hold, &StartVm::default(), progress)
        }) {
            tracing::error!(vm = %hold.vm().name, error = error.report(), "start again");
        }
    }

    fn too_soon(&self, vm: &Vm) -> bool {
        let Some(started) = vm.run.as_ref().and_then(|run| run.started) else {
            return false;
        };
        let ran = self.now().duration_since(started).unsigned_abs();
        let before = vm.last_end.as_ref().is_some_and(|end| {
            end.reason == EndReason::Reboot
                && started.duration_since(end.at).unsigned_abs() < TOO_SOON * 6
        });
        ran < TOO_SOON && before
    }

    /// The reason, and further details for a person.
    pub(super) fn reason_of_end(&self, vm: &Vm) -> (EndReason, String) {
        let tail = self.console_tail(vm).unwrap_or_default();
        match end::read_end(&tail) {
            End::Poweroff => (EndReason::Poweroff, "`poweroff` in the guest".to_owned()),
            End::Reboot => (EndReason::Reboot, "`reboot` in the guest".to_owned()),
            End::Halt => (EndReason::Halt, "`halt` in the guest".to_owned()),
            End::Panic(line) => (EndReason::Panic, line),
            End::CannotBoot(why) => (
                EndReason::StartFailed,
                format!("the guest cannot boot: {why}"),
            ),
            End::Unknown => (EndReason::Lost, self.words_of_loss(vm)),
        }
    }

    fn words_of_loss(&self, vm: &Vm) -> String {
        let exit = vm
            .process()
            .and_then(|process| self.host().exit_of(process));
        let mut words = match exit {
            Some(Exit::Signal(number)) => format!("the hypervisor was ended by signal {number}"),
            Some(Exit::Status(0)) => "reset without notice".to_owned(),
            Some(Exit::Status(status)) => self.words_of_status(vm, status),
            None if self.host_was_down(vm) => {
                return "the host shut down while it was running".to_owned();
            }
            None => "reset without notice".to_owned(),
        };
        if !matches!(exit, Some(Exit::Status(0))) {
            let last = self
                .hypervisor_of(vm)
                .and_then(|it| it.last_words(vm, self.host()));
            if let Some(last) = last {
                words += &format!(": {last}");
            }
        }
        words
    }

    fn words_of_status(&self, vm: &Vm, status: i32) -> String {
        let meaning = self
            .hypervisor_of(vm)
            .and_then(|it| it.words_of_exit(status));
        match meaning {
            Some(meaning) => format!("the hypervisor exited with status {status}: {meaning}"),
            None => format!("the hypervisor exited with status {status}"),
        }
    }

    /// Whether the host has booted since this VM did.
    fn host_was_down(&self, vm: &Vm) -> bool {
        let boot_id = self.host().boot_id().ok();
        let booted_under = vm.run.as_ref().map(|run| &run.host_boot_id);
        boot_id.is_some() && boot_id.as_ref() != booted_under
    }

    /// Kills a process whose guest has halted or hangs for good.
    pub(super) fn end_if_over(&self, vm: &Vm) {
        let Some(process) = vm.process() else { return };
        if self.console_tail(vm).is_ok_and(|tail| end::is_over(&tail)) {
            let ended = self.host().signal(process, Signal::Kill);
            tracing::info!(vm = %vm.name, ok = ended.is_ok(), "ended a halted machine");
        }
    }
}
