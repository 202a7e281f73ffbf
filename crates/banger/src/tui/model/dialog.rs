//! What lies over the screen: questions, forms, the palette, the help, the messages.

use std::ffi::OsString;

use banger_api::{Fix, Phase, VmId, VmView};
use crossterm::event::{Event, KeyEvent};
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler as _;

use super::form::Form;
use super::keys::{Binding, bindings};
use super::message::{Act, Effect, Job};
use super::words::{count, first};
use crate::quote;

/// What lies over the screen, and has the keys.
#[derive(Debug, Clone)]
pub(crate) enum Overlay {
    /// A question, which only its own key says yes to.
    Question(Box<Confirmation>),
    /// A form.
    Form(Box<Form>),
    /// Any action by its name.
    Palette(Palette),
    /// The key table; so many lines are scrolled away.
    Help(u16),
    /// All messages; so many lines are scrolled away.
    Messages(u16),
}

/// A question before what cannot be undone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Confirmation {
    pub(crate) title: String,
    /// What goes.
    pub(crate) lines: Vec<String>,
    /// Whether it is to be told if there is a trash, which the configuration may change meanwhile.
    pub(crate) deletes_vms: bool,
    /// What the key does, such as `delete 2 VMs`.
    pub(crate) yes: String,
    /// What is done then.
    pub(crate) effects: Vec<Effect>,
}

/// A command as it is typed: root's with sudo.
pub(crate) fn command_of(fix: &Fix) -> String {
    let sudo = fix.root.then_some("sudo").into_iter();
    let words = sudo.chain(fix.command.iter().map(String::as_str));
    let words: Vec<OsString> = words.map(OsString::from).collect();
    quote::readable(&words)
}

/// The question before VMs are deleted or killed. Protected ones stay out of it.
pub(crate) fn end_question(meant: &[&VmView], delete: bool) -> Confirmation {
    let (protected, may): (Vec<&VmView>, Vec<&VmView>) =
        meant.iter().partition(|vm| vm.spec.protected);
    let verb = if delete { "delete" } else { "kill" };
    let what = match may.as_slice() {
        [one] => one.name.to_string(),
        several => count(several.len(), "VM"),
    };
    let mut lines = first(may.iter().map(|vm| goes(vm, delete)));
    for vm in &protected {
        lines.push(format!("{} is protected, and stays", vm.name));
    }
    let act = |vm: &VmView| {
        if delete {
            let force = vm.phase != Phase::Stopped;
            Act::Delete { force }
        } else {
            Act::Kill
        }
    };
    let effects = may.iter().map(|vm| {
        Effect::Work(Job {
            vm: Some(vm.id),
            name: vm.name.to_string(),
            act: act(vm),
        })
    });
    Confirmation {
        title: format!("{verb} {what}?"),
        yes: format!("{verb} {what}"),
        effects: effects.collect(),
        lines,
        deletes_vms: delete,
    }
}

fn goes(vm: &VmView, delete: bool) -> String {
    let mut text = format!("{}, {}", vm.name, vm.phase);
    if delete {
        text += &format!(", {} of work disk", vm.spec.disk_size);
        if vm.phase != Phase::Stopped {
            text += ": is killed first";
        }
    }
    text
}

/// The palette: an action by what is typed of its name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Palette {
    pub(crate) input: Input,
    /// The line of the list that is chosen.
    pub(crate) at: usize,
    /// The VMs that a verb was for when it was opened.
    pub(super) meant: Vec<VmId>,
}

impl Palette {
    /// A palette whose verbs are for these VMs.
    pub(super) fn new(meant: Vec<VmId>) -> Self {
        Self {
            meant,
            ..Self::default()
        }
    }

    /// The actions that have each word in their name or their help; those whose name begins with
    /// the first word before the others.
    pub(crate) fn found(&self) -> Vec<&'static Binding> {
        let text = self.input.value().to_lowercase();
        let words: Vec<&str> = text.split_whitespace().collect();
        let has = |binding: &&Binding| {
            words.iter().all(|word| {
                binding.name.contains(word) || binding.help.to_lowercase().contains(word)
            })
        };
        let mut found: Vec<_> = bindings().filter(has).collect();
        if let Some(first) = words.first() {
            found.sort_by_key(|it| {
                (
                    it.name != *first,
                    !it.name.starts_with(first),
                    !it.name.contains(first),
                )
            });
        }
        found
    }

    /// The chosen action.
    pub(crate) fn chosen(&self) -> Option<&'static Binding> {
        self.found().get(self.at).copied()
    }

    /// Types.
    pub(crate) fn type_key(&mut self, key: KeyEvent) {
        self.input.handle_event(&Event::Key(key));
        self.at = 0;
    }

    /// Chooses another line.
    pub(crate) fn move_by(&mut self, lines: isize) {
        let last = self.found().len().saturating_sub(1);
        self.at = self.at.saturating_add_signed(lines).min(last);
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Action;
    use super::*;

    #[test]
    fn the_palette_finds_an_action_by_words_in_any_order() {
        let found = |text: &str| {
            let palette = Palette {
                input: Input::new(text.to_owned()),
                ..Palette::default()
            };
            palette.chosen().map(|it| it.action)
        };
        assert_eq!(
            found("stop"),
            Some(Action::Stop),
            "the name itself comes first"
        );
        assert_eq!(found("shell open"), Some(Action::Shell));
        assert_eq!(found("NAT off"), Some(Action::Nat));
        assert_eq!(found("no such thing"), None);
    }
}
