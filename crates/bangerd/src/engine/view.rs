//! The views of VMs for clients.

use std::time::{Duration, Instant};

use banger_api::{LogSource, PauseReason, Phase, VmRef, VmView};

use super::Engine;
use crate::error::{During, Result};
use crate::layout::machine;
use crate::vm::Vm;

/// The maximum length of a chunk of the console, in bytes. A shorter chunk is the end.
pub const CHUNK: usize = 64 << 10;

/// The length of the console that is kept, in bytes.
pub(super) const KEPT: u64 = 4 << 20;

/// A chunk of a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleChunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The position of the next chunk.
    pub next: u64,
    /// Whether more may come.
    pub live: bool,
}

impl Engine {
    pub(super) fn view(&self, vm: &Vm) -> VmView {
        let given = vm.given();
        let pause_reason = self.shown_pause(vm);
        let mut view = VmView {
            id: vm.id,
            name: vm.name.clone(),
            phase: vm.phase,
            paused: pause_reason.is_some(),
            pause_reason,
            rescue: vm.is_in_rescue(),
            image: vm.images.name.clone(),
            spec: given.clone(),
            pending: (vm.spec != *given).then(|| vm.spec.clone()),
            network: vm.network,
            address: vm.reachable_address(),
            dns_name: vm.dns_name(),
            ssh: None,
            forwards: self.forward_views(vm),
            hypervisor: vm.hypervisor().map(str::to_owned),
            root_disk: vm.root_disk.clone(),
            disks: Vec::new(),
            pid: vm.process().map(|process| process.pid),
            created: vm.created,
            started: vm.run.as_ref().and_then(|run| run.started),
            last_end: vm.last_end.clone(),
            notes: self.notes(vm, pause_reason),
            deleted: vm.deleted,
        };
        for capability in &self.parts.capabilities {
            capability.view(vm, &mut view);
        }
        view
    }

    /// The same, with what its disks take.
    pub(super) fn whole_view(&self, vm: &Vm) -> VmView {
        let mut view = self.view(vm);
        let disks = self.parts.capabilities.iter();
        view.disks = disks.flat_map(|it| it.disks(vm, self.host())).collect();
        view
    }

    fn notes(&self, vm: &Vm, pause: Option<PauseReason>) -> Vec<String> {
        let run = vm.run.as_ref();
        let mut notes = run.map_or_else(Vec::new, |run| run.notes.clone());
        notes.extend(self.findings(vm));
        for note in self
            .parts
            .capabilities
            .iter()
            .flat_map(|it| it.notes(vm, self.host()))
        {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        notes.extend(pause.map(|reason| self.pause_note(vm, reason)));
        if pause.is_none() && vm.phase == Phase::Running && self.is_stopped(vm) {
            notes.push(format!(
                "its hypervisor was stopped by a signal, and nothing answers; resume it: banger vm kill --signal CONT {}",
                vm.name
            ));
        }
        notes.extend(self.autostart_note(vm));
        notes.extend(self.forward_notes(vm));
        if vm.spec != *vm.given() {
            notes.push(format!(
                "settings changed since its start take effect at the next start: banger vm restart {}",
                vm.name
            ));
        }
        if vm.temporary {
            notes.push("it is temporary: it is deleted when its `banger vm run` ends".to_owned());
        }
        if self.parts.simulated {
            notes.push("it is simulated: there is nothing to log in to".to_owned());
        }
        if vm.is_in_rescue() && vm.phase == Phase::Running {
            notes.push(format!(
                "it is in rescue: it has no SSH; get a shell: banger vm shell {}",
                vm.name
            ));
        }
        notes
    }

    /// A chunk of the console of the VM's last boot or of its hypervisor's log, from the beginning or from
    /// position `from`.
    ///
    /// Waits up to a second if there is none yet.
    ///
    /// # Errors
    /// `not-found`, or if the log cannot be read.
    pub fn logs(
        &self,
        wanted: &VmRef,
        source: LogSource,
        from: Option<u64>,
    ) -> Result<ConsoleChunk> {
        let slot = self.find(wanted)?;
        let deadline = Instant::now() + Duration::from_secs(1);
        loop {
            let vm = slot.vm();
            let (file, what, offset) = match source {
                LogSource::Console => (machine::CONSOLE, "read the console", vm.console_offset()),
                LogSource::Hypervisor => (machine::HYPERVISOR_LOG, "read the hypervisor's log", 0),
            };
            let path = self.parts.layout.vm(vm.id).in_machine(file);
            let live = matches!(vm.phase, Phase::Starting | Phase::Running | Phase::Stopping);
            let length = self
                .host()
                .stat(&path)
                .during(what)?
                .map_or(0, |stat| stat.length);
            let begin = from.unwrap_or_else(|| offset.max(length.saturating_sub(KEPT)));
            let bytes = self.host().read_at(&path, begin, CHUNK).during(what)?;
            if !bytes.is_empty() || !live || Instant::now() >= deadline || self.is_stopping() {
                let next = begin + bytes.len() as u64;
                return Ok(ConsoleChunk {
                    bytes,
                    next,
                    live: live && !self.is_stopping(),
                });
            }
            let process: Vec<_> = vm.process().into_iter().cloned().collect();
            self.host().wait_any(&process, Duration::from_millis(100));
        }
    }

    /// The address of a name below `.vm`; `None` if no VM has it.
    #[must_use]
    pub fn address_of(&self, name: &str) -> Option<Option<std::net::Ipv4Addr>> {
        let slots = self.slots();
        let vm = slots
            .iter()
            .map(|slot| slot.vm())
            .find(|vm| vm.name.as_str() == name)?;
        Some(vm.reachable_address())
    }
}
