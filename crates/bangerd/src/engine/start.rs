//! `vm start`: checks, plan, record, prepare, boot, wait, record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use banger_api::{Code, EndReason, Error, Phase, StartVm, VerbOutcome};
use banger_host::{FileOp, Op, Process};

use super::hold::{Hold, Slot};
use super::pause::Pause;
use super::permits::BootPermit;
use super::{Engine, ProgressSink, disk_pressure, lock, step};
use crate::error::{During, Result};
use crate::guest::render::start_archive;
use crate::guest::{Guest, Ready};
use crate::hypervisor::Hypervisor;
use crate::layout::machine;
use crate::machine::Machine;
use crate::plan::Plan;
use crate::readiness::{self, Check};
use crate::vm::phase::{Answer, Verb, may};
use crate::vm::{LastBoot, Run, Vm};

/// The complete plan of a start, before anything is changed.
struct Launch {
    machine: Machine,
    /// Both archives of the initramfs.
    initramfs: Vec<u8>,
}

/// Rejects a start in one mode while the VM runs in the other.
fn same_sort(vm: &Vm, rescue: bool) -> Result<()> {
    let name = &vm.name;
    match (vm.is_in_rescue(), rescue) {
        (true, true) | (false, false) => Ok(()),
        (false, true) => Err(
            Error::new(Code::Conflict, "it runs, and not in rescue").hint(format!(
                "stop it first: banger vm stop {name}, then: banger vm start --rescue {name}"
            )),
        ),
        (true, false) => Err(Error::new(Code::Conflict, "it runs in rescue")
            .hint(format!("end the rescue: banger vm restart {name}"))),
    }
}

impl Engine {
    pub(super) fn start_vm(
        &self,
        slot: &Arc<Slot>,
        request: &StartVm,
        progress: ProgressSink<'_>,
    ) -> Result<VerbOutcome> {
        let doing = || format!("start `{}`", slot.vm().name);
        let hold = slot.hold("start").during(doing())?;
        let answer = self.start_held(&hold, request, progress)?;
        Ok(VerbOutcome {
            vm: self.view(&hold.vm()),
            already: answer == Answer::Already,
        })
    }

    /// Starts a VM that the caller holds, unless it is already running.
    pub(super) fn start_held(
        &self,
        hold: &Hold,
        request: &StartVm,
        progress: ProgressSink<'_>,
    ) -> Result<Answer> {
        let mut vm = hold.vm();
        let doing = format!("start `{}`", vm.name);
        if may(Verb::Start, vm.phase, &vm.name).during(&doing)? == Answer::Already {
            same_sort(&vm, request.rescue).during(&doing)?;
            return Ok(Answer::Already);
        }
        let _permit = self.boot_permit(hold, progress).during(&doing)?;
        let before = vm.clone();
        let hypervisor = self.hypervisor().during(&doing)?;
        let planned = self
            .plan_start(&mut vm, request, hypervisor, progress)
            .during(&doing)?;
        if let Err(mut error) = self.save(hold.slot(), &vm).during(&doing) {
            // Nothing was changed; the old state is still correct.
            error.also.extend(
                self.save(hold.slot(), &before)
                    .err()
                    .map(|it| it.to_string()),
            );
            return Err(error);
        }
        let started = self.run_start(hold, &mut vm, &planned, hypervisor, progress);
        let Err(mut error) = started else {
            self.forget_autostart(vm.id);
            return Ok(Answer::Go);
        };
        lock(&self.passed).clear();
        error = error.within(&doing);
        let reason = if hold.slot().was_killed() {
            EndReason::Killed
        } else {
            EndReason::StartFailed
        };
        if let Some(words) = self.words_of_end(&hold.vm(), hypervisor) {
            error = error
                .cause(words)
                .hint(format!("see its console: banger vm logs {}", vm.name));
        }
        let detail = error.causes.join(": ");
        if let Err(down) = self.go_down(hold, reason, detail) {
            error.also.push(down.to_string());
            error.also.extend(down.also);
        }
        Err(error)
    }

    /// The permit to boot, after waiting for other boots if necessary.
    fn boot_permit(&self, hold: &Hold, progress: ProgressSink<'_>) -> Result<BootPermit<'_>> {
        if let Some(permit) = self.boots.try_take() {
            return Ok(permit);
        }
        step(progress, "wait for its turn", || {
            self.boots
                .wait(|| hold.slot().was_killed())
                .ok_or_else(|| Error::new(Code::Conflict, "it was killed before its turn"))
        })
    }

    /// The hypervisor of new starts.
    fn hypervisor(&self) -> Result<&dyn Hypervisor> {
        self.parts
            .hypervisors
            .first()
            .map(|it| &**it)
            .ok_or_else(|| {
                Error::new(Code::NotReady, "there is no hypervisor").hint("banger doctor")
            })
    }

    /// The hypervisor that runs a VM.
    pub(super) fn hypervisor_of(&self, vm: &Vm) -> Option<&dyn Hypervisor> {
        let name = vm.hypervisor()?;
        self.parts
            .hypervisors
            .iter()
            .map(|it| &**it)
            .find(|it| it.name() == name)
    }

    /// The checks of a start, without lasting ones that have passed; without a VM, those of every
    /// start.
    pub(super) fn start_checks(&self, vm: Option<&Vm>) -> Vec<Check> {
        let mut checks = Vec::new();
        if let Some(hypervisor) = self.parts.hypervisors.first() {
            checks.extend(hypervisor.checks());
        }
        checks.push(self.parts.guest_program.check());
        if let Some(vm) = vm {
            let breaks = self.breaks_when_full(vm);
            checks.push(disk_pressure::check(&self.parts.layout, breaks));
            checks.extend(
                self.parts
                    .capabilities
                    .iter()
                    .flat_map(|it| it.checks(Some(vm))),
            );
        }
        let passed = lock(&self.passed);
        checks.retain(|check| !passed.contains(check.name()));
        checks
    }

    fn plan_start(
        &self,
        vm: &mut Vm,
        request: &StartVm,
        hypervisor: &dyn Hypervisor,
        progress: ProgressSink<'_>,
    ) -> Result<Launch> {
        let boot_id = self.host().boot_id().during("read the boot id")?;
        vm.run = Some(Run {
            rescue: request.rescue,
            ..Run::begin(vm.spec.clone(), self.now(), boot_id)
        });
        self.choose(vm)?;
        for note in vm.run.iter().flat_map(|run| &run.notes) {
            tracing::warn!(vm = %vm.name, note);
        }
        let checks = self.start_checks(Some(vm));
        let report = step(progress, "check", || {
            readiness::require(self.host(), &checks)
        })?;
        self.remember_findings(&checks, &report);
        let lasting = checks.iter().filter(|it| it.is_lasting());
        lock(&self.passed).extend(lasting.map(|it| it.name().to_owned()));
        let console = self.parts.layout.vm(vm.id).in_machine(machine::CONSOLE);
        let console = self.host().stat(&console).during("examine the console")?;
        vm.last_boot = Some(LastBoot {
            number: vm.last_boot.as_ref().map_or(0, |boot| boot.number) + 1,
            console_offset: console.map_or(0, |stat| stat.length),
            hypervisor: hypervisor.name().to_owned(),
        });
        let plan = step(progress, "plan", || {
            let plan = self.plan(vm)?;
            hypervisor.accepts(&plan.machine)?;
            Ok(plan)
        })?;
        vm.phase = Phase::Starting;
        Ok(plan)
    }

    /// Runs `choose` of every capability.
    pub(super) fn choose(&self, vm: &mut Vm) -> Result<()> {
        let mut capabilities = self.parts.capabilities.iter();
        capabilities.try_for_each(|it| it.choose(vm, self.host()))
    }

    /// Builds the plan from all capabilities; pure.
    fn plan(&self, vm: &Vm) -> Result<Launch> {
        let name = self.parts.instance.process(vm.id);
        let folder = self.parts.layout.vm(vm.id).machine();
        let mut plan = Plan::new(Machine::new(vm, name, folder));
        for capability in &self.parts.capabilities {
            let what = || format!("plan {}", capability.name());
            capability.plan(vm, &mut plan).during(what())?;
        }
        let Plan { machine, guest } = plan;
        let kernel = self.parts.catalog.kernel(&vm.images.kernel, self.host())?;
        let now = self.host().clocks().realtime;
        let config = guest.finish(kernel.modules, now, vm.is_in_rescue())?;
        let mut initramfs = self
            .parts
            .catalog
            .base_archive(&vm.images.kernel, self.host())?;
        let program = self.parts.guest_program.bytes()?;
        initramfs.extend(start_archive((*program).as_ref(), &config)?);
        Ok(Launch { machine, initramfs })
    }

    /// The part of a start after the record `Starting`.
    fn run_start(
        &self,
        hold: &Hold,
        vm: &mut Vm,
        plan: &Launch,
        hypervisor: &dyn Hypervisor,
        progress: ProgressSink<'_>,
    ) -> Result<()> {
        for capability in &self.parts.capabilities {
            step(progress, &format!("prepare {}", capability.name()), || {
                capability.grow(vm, self.host())?;
                capability.prepare(vm, self.host())
            })?;
        }
        let killed = || hold.slot().was_killed();
        if killed() {
            return Err(Error::new(Code::Conflict, "it was killed"));
        }
        let layout = self.parts.layout.vm(vm.id);
        let process = step(progress, "boot", || {
            let op = Op::File(FileOp::WriteScratch {
                path: layout.in_machine(&plan.machine.initramfs),
                contents: plan.initramfs.clone(),
                mode: 0o600,
                owner: vm.owner,
            });
            self.host().change(&op).during("write the initramfs")?;
            hypervisor.boot(vm, &plan.machine, self.host())
        })?;
        let log = layout.in_machine(machine::HYPERVISOR_LOG);
        tracing::info!(
            vm = %vm.name,
            pid = process.pid,
            hypervisor = hypervisor.name(),
            log = %log.display(),
            "the hypervisor runs"
        );
        vm.note_run(|run| run.process = Some(process.clone()));
        self.save_or_keep(hold.slot(), vm)?;
        if !vm.is_in_rescue() {
            let mut guest = hypervisor.guest(vm)?;
            let alive = || self.host().is_alive(&process) && !killed();
            let Ready { warnings } = step(progress, "wait for the guest", || {
                self.wait_for_guest(vm, &mut *guest, &process, &alive)
            })?;
            vm.note_run(|run| run.notes.extend(warnings));
            self.greet(vm, &mut *guest, progress)?;
            vm.former_names.clear();
            vm.former_machine_ids.clear();
        }
        vm.note_run(|run| run.started = Some(self.now()));
        vm.phase = Phase::Running;
        self.save_or_keep(hold.slot(), vm)
    }

    /// Waits until the guest is ready, within the configured time.
    fn wait_for_guest(
        &self,
        vm: &Vm,
        guest: &mut dyn Guest,
        process: &Process,
        alive: &dyn Fn() -> bool,
    ) -> Result<Ready> {
        let seconds = self.defaults().start_timeout_seconds;
        let deadline = Instant::now() + Duration::from_secs(seconds);
        guest.wait_ready(deadline, alive).map_err(|error| {
            if !self.host().is_alive(process) || Instant::now() < deadline {
                return error;
            }
            let late = format!("the guest was not ready within {seconds} s");
            if let Some(Pause { reason, .. }) = self.pause_of(vm.id) {
                return Error::new(Code::NotReady, late).cause(self.pause_note(vm, reason));
            }
            Error::new(Code::Guest, late)
                .hint("to wait longer, set `start_timeout_seconds` in the configuration")
        })
    }

    /// Sends the first messages to a guest that is ready.
    pub(super) fn greet(
        &self,
        vm: &Vm,
        guest: &mut dyn Guest,
        progress: ProgressSink<'_>,
    ) -> Result<()> {
        step(progress, "greet the guest", || {
            guest.set_clock(self.host().clocks().realtime)?;
            for capability in &self.parts.capabilities {
                capability
                    .on_ready(vm, self.host(), guest)
                    .during(capability.name())?;
            }
            Ok(())
        })
    }
}
