//! What is copied, and the fixes of checks.

use super::Model;
use super::dialog::{Confirmation, Overlay, command_of};
use super::keys::Action;
use super::message::{Effect, Program};
use super::notices::Tone;

impl Model {
    /// Copies, and says so.
    pub(super) fn copied(&mut self, text: String, what: &str) -> Vec<Effect> {
        self.say(Tone::Good, format!("copied {what}"));
        vec![Effect::Copy(text)]
    }

    /// Copies lines of text, or all of it.
    pub(super) fn copy_lines(&mut self, all: bool) -> Vec<Effect> {
        if !self.is_in_text() {
            return Vec::new();
        }
        let lines = self.text.copied(all);
        let what = match lines.len() {
            1 => "1 line".to_owned(),
            count => format!("{count} lines"),
        };
        self.copied(lines.join("\n"), &what)
    }

    /// Copies a word about the selected VM.
    pub(super) fn copy_of_vm(&mut self, action: Action) -> Vec<Effect> {
        let Some(vm) = self.vms.selected() else {
            return Vec::new();
        };
        let text = match action {
            Action::CopyName => Some(vm.name.to_string()),
            Action::CopySsh => Some(self.for_host(&format!("banger vm ssh {}", vm.name))),
            _ => match (vm.address, &vm.ssh) {
                (Some(address), _) => Some(address.to_string()),
                (None, Some(ssh)) => Some(format!("{}:{}", ssh.host, ssh.port)),
                (None, None) => None,
            },
        };
        match text {
            Some(text) => {
                let what = text.clone();
                self.copied(text, &what)
            }
            None => {
                let line = format!("{} has no address now", vm.name);
                self.say(Tone::Warning, line);
                Vec::new()
            }
        }
    }

    /// Copies the command that fixes a check.
    pub(super) fn copy_fix(&mut self) -> Vec<Effect> {
        let Some(check) = self.checks.selected() else {
            return Vec::new();
        };
        let command = check.fix.as_ref().map(command_of);
        let text = command.or_else(|| check.hints.first().cloned());
        match text {
            Some(text) => {
                let what = text.clone();
                self.copied(text, &what)
            }
            None => {
                self.say(Tone::Warning, "there is nothing to fix");
                Vec::new()
            }
        }
    }

    /// Asks before a fix is run.
    pub(super) fn run_fix(&mut self) -> Vec<Effect> {
        let fix = self.checks.selected().and_then(|it| it.fix.clone());
        let Some(fix) = fix else {
            self.say(Tone::Warning, "no command fixes it");
            return Vec::new();
        };
        if let Some(host) = &self.host {
            // Run here, it would change this machine and mend nothing.
            let line = format!("it is to be run on `{host}`: copy it, and log in there");
            self.say(Tone::Warning, line);
            return Vec::new();
        }
        let question = Confirmation {
            title: format!("{}?", fix.what),
            lines: vec![format!("runs: {}", command_of(&fix))],
            deletes_vms: false,
            yes: "run it".to_owned(),
            effects: vec![Effect::Run(Program::Fix(fix))],
        };
        self.open(Overlay::Question(Box::new(question)))
    }
}
