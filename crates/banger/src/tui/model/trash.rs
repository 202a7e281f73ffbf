//! What is done with the VMs in the trash.

use super::Model;
use super::form::Form;
use super::message::{Act, Effect};
use super::notices::Tone;
use super::words::{count, first};

impl Model {
    /// Opens the form that restores a VM.
    pub(super) fn undelete(&mut self) -> Vec<Effect> {
        let Some(vm) = self.trash.selected() else {
            return Vec::new();
        };
        let form = Form::undelete(vm);
        self.open_form(form)
    }

    /// Asks before a VM in the trash goes for good, or all of them.
    pub(super) fn ask_before_purge(&mut self, all: bool) -> Vec<Effect> {
        let items = self.trash.items.as_deref().unwrap_or_default();
        let command = |word: &str| {
            let words = ["vm", "purge", word, "--yes"].map(str::to_owned);
            Act::Command(words.to_vec())
        };
        let (what, name, lines, act) = match (all, self.trash.selected()) {
            (_, None) => {
                self.say(Tone::Warning, "the trash is empty");
                return Vec::new();
            }
            (true, Some(_)) => {
                let lines = first(items.iter().map(|vm| vm.name.to_string()));
                let what = format!("{} in the trash", count(items.len(), "VM"));
                (what.clone(), what, lines, command("--all"))
            }
            (false, Some(vm)) => {
                let name = vm.name.to_string();
                let lines = vec![format!("{name}, with every file, permanently")];
                (name.clone(), name, lines, command(&vm.id.to_string()))
            }
        };
        self.ask_before(lines, &what, name, act)
    }
}
