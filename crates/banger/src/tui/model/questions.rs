//! What is asked and not pushed: when, and what is done with the answers.

use banger_api::Report;

use super::dialog::Overlay;
use super::form::Form;
use super::message::{Answer, Effect, Question, Source};
use super::text::Text;
use super::{Link, Model, Pane, Tab};

impl Model {
    /// Takes an answer in.
    pub(super) fn answer(&mut self, answer: Answer) -> Vec<Effect> {
        match answer {
            Answer::Vm(id, Ok(vm)) => self.disks = Some((id, vm.disks)),
            // It may have gone meanwhile, which its event tells.
            Answer::Vm(_, Err(_)) => {}
            Answer::Ports(id, ports) => self.ports_answered(id, ports),
            Answer::Images(images) => self.images.take(images),
            Answer::Volumes(volumes) => self.volumes.take(volumes),
            Answer::Trash(vms) => self.trash.take(vms),
            Answer::Daemon(Ok(daemon)) => self.daemon = Some(*daemon),
            Answer::Daemon(Err(error)) => self.fail(&error),
            Answer::Doctor(report) => self.checks.take(report.map(|it: Report| it.checks)),
            Answer::Defaults(defaults) => self.defaults = Some(defaults),
        }
        self.renew_form();
        Vec::new()
    }

    /// Opens a form, and asks for what it is judged by: what is known of it may be old.
    pub(super) fn open_form(&mut self, mut form: Form) -> Vec<Effect> {
        let questions = if self.link == Link::Up {
            form.questions()
        } else {
            Vec::new()
        };
        if self.drafts.resume(&mut form) {
            form.judge(&self.surroundings());
        }
        self.overlay = Some(Overlay::Form(Box::new(form)));
        questions.into_iter().map(Effect::Ask).collect()
    }

    /// Judges an open form by what is known now.
    fn renew_form(&mut self) {
        let Some(Overlay::Form(mut form)) = self.overlay.take_if(is_form) else {
            return;
        };
        if let Some(defaults) = &self.defaults {
            form.renew(defaults);
        }
        form.judge(&self.surroundings());
        self.overlay = Some(Overlay::Form(form));
    }

    /// What is asked when a tab is opened, or again.
    pub(super) fn refreshed(&mut self) -> Vec<Effect> {
        if self.link != Link::Up {
            return Vec::new();
        }
        let question = match self.tab {
            Tab::Vms => {
                // Asked again by `sources`, where they are seen.
                self.ports.of = None;
                self.disks = None;
                return Vec::new();
            }
            Tab::Images => {
                self.images.asked = true;
                Question::Images
            }
            Tab::Volumes => {
                self.volumes.asked = true;
                Question::Volumes
            }
            Tab::Trash => {
                self.trash.asked = true;
                Question::Trash
            }
            Tab::Daemon => Question::Daemon,
            Tab::Doctor => {
                self.checks.asked = true;
                Question::Doctor
            }
        };
        vec![Effect::Ask(question)]
    }

    /// Follows what the screen shows, and asks for the disks of the VM that it shows.
    pub(super) fn sources(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let selected = self.vms.selected().map(|vm| vm.id);
        let wanted = match (self.tab, self.pane) {
            (Tab::Vms, Pane::Console) => selected.map(Source::Console),
            (Tab::Vms, Pane::Hypervisor) => selected.map(Source::Hypervisor),
            (Tab::Daemon, _) => Some(Source::Daemon),
            _ => None,
        };
        if wanted != self.source {
            self.source = wanted;
            self.source_end = None;
            self.text = Text::new();
            effects.push(Effect::Follow(wanted));
        }
        let shows_disks = self.tab == Tab::Vms && self.pane == Pane::Details;
        if shows_disks
            && self.link == Link::Up
            && let Some(id) = selected
            && self.disks.as_ref().is_none_or(|it| it.0 != id)
        {
            let before = self.disks.replace((id, Vec::new()));
            if before.is_some() {
                // Another VM is shown.
                self.pane_scroll = 0;
            }
            effects.push(Effect::Ask(Question::Vm(id)));
        }
        effects.extend(self.ask_for_ports());
        effects
    }
}

fn is_form(overlay: &mut Overlay) -> bool {
    matches!(overlay, Overlay::Form(_))
}
