//! What the daemon pushes: the events, and how jobs end.

use banger_api::{
    Change, Code, DaemonView, Error, Event, Operation, OperationState, Phase, VmId, VmView,
};

use super::message::{Act, Effect, Job, Question, Source};
use super::notices::Tone;
use super::operations::Happening;
use super::ports::Ports;
use super::{Link, Model, Tab};

impl Model {
    /// The daemon answers, and its events come.
    pub(super) fn linked(&mut self, daemon: DaemonView) -> Vec<Effect> {
        if matches!(self.link, Link::Lost { .. }) {
            self.notices.dismiss(self.now);
            self.say(Tone::Good, "the daemon is back");
        }
        self.daemon = Some(daemon);
        self.link = Link::Up;
        // A stream that ended with the daemon begins anew.
        self.source = None;
        self.disks = None;
        self.ports = Ports::default();
        self.usages.begin_anew();
        let mut effects = vec![
            Effect::Ask(Question::Images),
            Effect::Ask(Question::Volumes),
            Effect::Ask(Question::Defaults),
        ];
        if matches!(self.tab, Tab::Doctor | Tab::Trash) {
            effects.extend(self.refreshed());
        }
        effects
    }

    /// The events have ended.
    pub(super) fn lost(&mut self, error: Error) -> Vec<Effect> {
        let since = match &self.link {
            Link::Lost { since, .. } => *since,
            Link::Pending | Link::Up => self.now,
        };
        self.link = Link::Lost { error, since };
        Vec::new()
    }

    /// An event.
    pub(super) fn event(&mut self, event: Event) -> Vec<Effect> {
        match event.change {
            Change::Snapshot(snapshot) => {
                if let Some(missed) = snapshot.missed.filter(|it| *it > 0) {
                    self.say(
                        Tone::Warning,
                        format!("{missed} events were missed; what is shown is how things are now"),
                    );
                }
                self.vms.replace(snapshot.vms);
                self.operations.replace(snapshot.operations);
                let vms = &self.vms;
                self.operations.retain(|id| vms.get(id).is_some());
                let runs = |id| vms.get(id).is_some_and(|vm| vm.phase == Phase::Running);
                self.usages.retain(runs);
                self.disks = None;
                Vec::new()
            }
            Change::Vm(vm) => self.vm_changed(*vm, event.at),
            Change::Deleted { id, name } => {
                self.vms.remove(id);
                self.operations.forget(id);
                self.usages.forget(id);
                self.note(None, format!("{name} is deleted"), false, event.at);
                self.users_changed()
            }
            Change::Operation(operation) => {
                let effect = Self::build_ended(&operation);
                self.operation(operation, event.at);
                effect.into_iter().collect()
            }
        }
    }

    fn vm_changed(&mut self, vm: VmView, at: jiff::Timestamp) -> Vec<Effect> {
        let (id, name, phase) = (vm.id, vm.name.clone(), vm.phase);
        let end = vm.last_end.clone();
        let before = self.vms.put(vm);
        if phase != Phase::Running {
            self.usages.forget(id);
        }
        let was = before.as_ref().map(|it| it.phase);
        if was != Some(phase) && matches!(phase, Phase::Starting | Phase::Running) {
            self.follow_again(id);
        }
        if was != Some(phase) && self.ports.of == Some(id) {
            // Asked again by `sources`.
            self.ports = Ports::default();
        }
        if was != Some(phase) {
            let text = match was {
                Some(was) => format!("{was} → {phase}"),
                None => format!("{phase}"),
            };
            self.note(Some(id), text, false, at);
        }
        let old_end = before.as_ref().and_then(|it| it.last_end.clone());
        if let Some(end) = end.filter(|end| before.is_some() && Some(end) != old_end.as_ref()) {
            use banger_api::EndReason::{Lost, Panic, StartFailed};
            let bad = matches!(end.reason, Panic | Lost | StartFailed);
            self.note(Some(id), end.detail.clone(), bad, at);
            if matches!(end.reason, Panic | Lost) {
                self.say(Tone::Bad, format!("{name} has ended: {}", end.detail));
            }
        }
        if self.awaited.as_deref() == Some(name.as_str()) {
            self.awaited = None;
            self.vms.select(id);
        }
        let settles = matches!(phase, Phase::Running | Phase::Stopped) && was != Some(phase);
        if settles && self.disks.as_ref().is_some_and(|it| it.0 == id) {
            // Asked again by `sources`.
            self.disks = None;
        }
        if before.is_none() {
            self.users_changed()
        } else {
            Vec::new()
        }
    }

    /// The daemon ends the console and the log of a VM that does not run: they go on where it runs again.
    fn follow_again(&mut self, vm: VmId) {
        let is_of_vm =
            matches!(self.source, Some(Source::Console(of) | Source::Hypervisor(of)) if of == vm);
        if is_of_vm && self.source_end.is_some() {
            // Followed again by `sources`.
            self.source = None;
        }
    }

    /// Images and volumes tell who uses them, and a deleted VM may be in the trash.
    fn users_changed(&mut self) -> Vec<Effect> {
        if matches!(self.tab, Tab::Images | Tab::Volumes | Tab::Trash) {
            return self.refreshed();
        }
        Vec::new()
    }

    fn operation(&mut self, operation: Operation, at: jiff::Timestamp) {
        let vm = operation.vm;
        let verb = operation.verb;
        match &operation.state {
            OperationState::Began | OperationState::Step(_) => {}
            OperationState::Done => {
                let took = took(&operation, at);
                self.note(vm, format!("{verb} is done{took}"), false, at);
            }
            OperationState::Failed { error } => {
                self.note(vm, format!("{verb} failed: {error}"), true, at);
                // Nobody waits for what banger began by itself.
                if operation.request.is_none() {
                    self.fail(error);
                }
            }
        }
        self.operations.take(operation, at);
        // The end of a deletion comes after its VM is gone, and that of a build's VM, too.
        if let Some(vm) = vm.filter(|it| self.vms.get(*it).is_none()) {
            self.operations.forget(vm);
        }
    }

    fn note(&mut self, vm: Option<VmId>, text: String, bad: bool, at: jiff::Timestamp) {
        self.operations.note(Happening { at, vm, text, bad });
    }

    /// A job of ours has ended.
    pub(super) fn ended(&mut self, job: &Job, outcome: Result<(), Error>) -> Vec<Effect> {
        self.jobs = self.jobs.saturating_sub(1);
        self.drafts.end(job, outcome.is_err());
        if outcome.is_err() && matches!(job.act, Act::Create(_)) {
            self.awaited = None;
        }
        match outcome {
            Ok(()) => {
                let verb = match job.act {
                    Act::PruneImages => "images without a name are deleted".to_owned(),
                    _ => format!("{} {}", job.name, job.act.outcome()),
                };
                self.say(Tone::Good, verb);
            }
            // The VM went away before its turn came: that is what was wanted.
            Err(error) if error.code == Code::NotFound && matches!(job.act, Act::Delete { .. }) => {
            }
            Err(error) => self.fail(&error),
        }
        match job.act {
            Act::DeleteImage(_) | Act::PruneImages => vec![Effect::Ask(Question::Images)],
            // What is not pushed may be otherwise.
            Act::Command(_) if matches!(self.tab, Tab::Images | Tab::Volumes | Tab::Trash) => {
                self.refreshed()
            }
            Act::StartDaemon => vec![Effect::Connect],
            _ => Vec::new(),
        }
    }
}

fn took(operation: &Operation, at: jiff::Timestamp) -> String {
    let seconds = at.duration_since(operation.began).as_secs_f64();
    format!(" after {}", crate::age::took(seconds))
}
