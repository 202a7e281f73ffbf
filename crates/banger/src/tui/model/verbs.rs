//! The verbs of VMs: on the one under the cursor, or on those that are marked.

use banger_api::{ImageName, Phase, VmSpecPatch, VmView};

use super::Model;
use super::dialog::{Overlay, end_question};
use super::form::Form;
use super::keys::Action;
use super::message::{Act, Defaults, Effect, Job, Program, Question};
use super::notices::Tone;

impl Model {
    /// Opens a shell in place. One over the agent works before sshd does, and without a network.
    pub(super) fn shell(&mut self, action: Action) -> Vec<Effect> {
        let Some(vm) = self.vms.selected() else {
            return Vec::new();
        };
        let (verb, may) = match action {
            Action::Ssh => ("ssh", vm.phase == Phase::Running),
            Action::Serial => ("console", vm.phase != Phase::Stopped),
            _ => ("shell", vm.phase != Phase::Stopped),
        };
        if !may {
            let line = format!("{} is {}: start it first", vm.name, vm.phase);
            self.say(Tone::Warning, line);
            return Vec::new();
        }
        let words = ["vm", verb, vm.name.as_str()].map(str::to_owned).to_vec();
        vec![Effect::Run(match action {
            Action::Serial => Program::Banger(words),
            _ => Program::Shell(words),
        })]
    }

    /// Opens the form of a verb of one VM.
    pub(super) fn vm_form(&mut self, action: Action) -> Vec<Effect> {
        let Some(vm) = self.vms.selected() else {
            return Vec::new();
        };
        let needs_stop = matches!(action, Action::Clone | Action::Export);
        if needs_stop && vm.phase != Phase::Stopped {
            let line = format!("{} is {}: stop it first", vm.name, vm.phase);
            self.say(Tone::Warning, line);
            return Vec::new();
        }
        let form = match action {
            Action::Set => Form::set(vm),
            Action::Rename => Form::rename(vm),
            Action::Clone => Form::clone_of(vm),
            _ => Form::export(vm),
        };
        self.open_form(form)
    }

    /// Opens the form of a new VM.
    pub(super) fn create(&mut self, image: Option<&ImageName>) -> Vec<Effect> {
        let unknown = Defaults {
            image: "the default image".to_owned(),
            ..Defaults::default()
        };
        let defaults = self.defaults.clone().unwrap_or(unknown);
        let form = Form::create(&defaults, image);
        self.open_form(form)
    }

    /// Has a job done on each VM that is meant, where there is one to do.
    pub(super) fn each(&mut self, act: impl Fn(&VmView) -> Option<Act>) -> Vec<Effect> {
        let job = |vm: &&VmView| {
            Some(Effect::Work(Job {
                vm: Some(vm.id),
                name: vm.name.to_string(),
                act: act(vm)?,
            }))
        };
        let meant = self.vms.meant();
        let effects: Vec<_> = meant.iter().filter_map(job).collect();
        if effects.is_empty()
            && let Some(vm) = meant.first()
        {
            let line = match meant.len() {
                1 => format!("{} is {} already", vm.name, vm.phase),
                _ => "there is nothing to do for any of them".to_owned(),
            };
            self.say(Tone::Warning, line);
        }
        self.started(effects)
    }

    /// Turns a setting the other way; of several VMs, on unless all have it.
    pub(super) fn switch(&mut self, action: Action) -> Vec<Effect> {
        let has = |vm: &VmView| match action {
            Action::Nat => vm.next().nat,
            Action::Protect => vm.next().protected,
            _ => vm.next().autostart,
        };
        let on = !self.vms.meant().iter().all(|vm| has(vm));
        self.each(|_| {
            let mut patch = VmSpecPatch::default();
            match action {
                Action::Nat => patch.nat = Some(on),
                Action::Protect => patch.protected = Some(on),
                _ => patch.autostart = Some(on),
            }
            Some(Act::Set(patch))
        })
    }

    /// Asks before VMs are killed or deleted.
    pub(super) fn ask_before_end(&mut self, delete: bool) -> Vec<Effect> {
        let meant = self.vms.meant();
        let meant: Vec<_> = meant
            .into_iter()
            .filter(|vm| delete || vm.phase != Phase::Stopped)
            .collect();
        let question = end_question(&meant, delete);
        if !question.effects.is_empty() {
            self.overlay = Some(Overlay::Question(Box::new(question)));
            // Whether there is a trash.
            return delete
                .then_some(Effect::Ask(Question::Daemon))
                .into_iter()
                .collect();
        }
        let line = match meant.first() {
            Some(vm) => format!("{} is protected: unprotect it first", vm.name),
            None if delete => "there is no VM".to_owned(),
            None => "it does not run".to_owned(),
        };
        self.say(Tone::Warning, line);
        Vec::new()
    }
}
