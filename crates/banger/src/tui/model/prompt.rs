//! A command line of banger, typed on the screen.

use super::Model;
use super::dialog::Overlay;
use super::form::Form;
use super::message::{Effect, Program};

/// What stands for the selected VM's name.
const SELECTED: &str = "{}";

impl Model {
    /// Opens the line.
    pub(super) fn prompt(&mut self) -> Vec<Effect> {
        self.open(Overlay::Form(Box::new(Form::prompt())))
    }

    /// Runs the command, with the selected VM's name where `{}` stands.
    pub(super) fn run_typed(&self, mut words: Vec<String>) -> Vec<Effect> {
        if words.first().is_some_and(|it| it == "banger") {
            words.remove(0);
        }
        if let Some(vm) = self.vms.selected() {
            for word in &mut words {
                *word = word.replace(SELECTED, vm.name.as_str());
            }
        }
        vec![Effect::Run(Program::Shown(words))]
    }
}
