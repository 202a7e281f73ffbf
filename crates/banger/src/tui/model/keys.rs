//! The key table: which key does what. The help, the key bar and the palette are made from it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

pub(crate) use super::actions::{Action, Binding, Scope};
pub(crate) use super::bindings::bindings;

/// The parts of the help: each place with its title, in order.
pub(crate) const HELP: [(Scope, &str); 8] = [
    (Scope::Vms, "the list of VMs"),
    (Scope::Text, "console and log"),
    (Scope::Ports, "the ports of a VM"),
    (Scope::Images, "images"),
    (Scope::Volumes, "volumes"),
    (Scope::Trash, "the trash"),
    (Scope::Doctor, "doctor"),
    (Scope::Everywhere, "everywhere"),
];

/// How many lines the help has: each part has its title and an empty line after it.
pub(crate) fn help_lines() -> usize {
    bindings().count() + 2 * HELP.len()
}

/// One key with its modifiers, written `d`, `D`, `ctrl-d`, `enter`, `f5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    code: KeyCode,
    modifiers: KeyModifiers,
}

/// Keys that have names.
const NAMED: [(&str, KeyCode); 15] = [
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("space", KeyCode::Char(' ')),
    ("tab", KeyCode::Tab),
    ("backtab", KeyCode::BackTab),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
    ("delete", KeyCode::Delete),
    ("backspace", KeyCode::Backspace),
];

impl From<KeyEvent> for Key {
    /// Shift is part of the letter.
    fn from(event: KeyEvent) -> Self {
        let mut modifiers = event.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT);
        if event.code == KeyCode::Char(' ') {
            modifiers -= KeyModifiers::SHIFT;
        }
        Self {
            code: event.code,
            modifiers,
        }
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut modifiers = KeyModifiers::NONE;
        let mut rest = text;
        loop {
            if let Some(below) = rest.strip_prefix("ctrl-").filter(|it| !it.is_empty()) {
                modifiers |= KeyModifiers::CONTROL;
                rest = below;
            } else if let Some(below) = rest.strip_prefix("alt-").filter(|it| !it.is_empty()) {
                modifiers |= KeyModifiers::ALT;
                rest = below;
            } else {
                break;
            }
        }
        let named = NAMED.iter().find(|it| it.0 == rest).map(|it| it.1);
        let function = rest
            .strip_prefix('f')
            .and_then(|number| number.parse().ok())
            .filter(|number| (1..=12).contains(number))
            .map(KeyCode::F);
        let mut characters = rest.chars();
        let single = match (characters.next(), characters.next()) {
            (Some(only), None) if !only.is_whitespace() => Some(KeyCode::Char(only)),
            _ => None,
        };
        let code = named.or(function).or(single).ok_or_else(|| {
            format!(
                "{text:?} is not a key: write it as d, D, ctrl-d, alt-d, f5, enter, space or pagedown"
            )
        })?;
        Ok(Self { code, modifiers })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let control = self.modifiers.contains(KeyModifiers::CONTROL);
        let alt = self.modifiers.contains(KeyModifiers::ALT);
        let mut text = String::new();
        text += if control { "ctrl-" } else { "" };
        text += if alt { "alt-" } else { "" };
        match (NAMED.iter().find(|it| it.1 == self.code), self.code) {
            (Some((name, _)), _) => text += name,
            (None, KeyCode::Char(character)) => text.push(character),
            (None, KeyCode::F(number)) => text += &format!("f{number}"),
            (None, _) => text += "?",
        }
        f.pad(&text)
    }
}

/// Which key does what, after the user's own choices.
#[derive(Debug, Clone)]
pub(crate) struct KeyTable {
    keys: Vec<(Key, &'static Binding)>,
}

impl Default for KeyTable {
    fn default() -> Self {
        // The names are ours, and a test reads them.
        Self::new(&BTreeMap::new()).unwrap_or(Self { keys: Vec::new() })
    }
}

impl KeyTable {
    /// The table with the user's keys: an action's name, and the keys that do it in place of the
    /// usual ones. No keys turn the action's keys off; the palette still has it.
    ///
    /// # Errors
    /// An action or a key does not exist, or one key is to do two things.
    pub(crate) fn new(chosen: &BTreeMap<String, Vec<String>>) -> Result<Self, String> {
        for name in chosen.keys() {
            if !bindings().any(|it| it.name == name) {
                let names: Vec<_> = bindings().map(|it| it.name).collect();
                return Err(format!(
                    "there is no action `{name}`: they are {}",
                    names.join(", ")
                ));
            }
        }
        let mut keys: Vec<(Key, &'static Binding)> = Vec::new();
        for binding in bindings() {
            let own: Vec<&str> = match chosen.get(binding.name) {
                Some(own) => own.iter().map(String::as_str).collect(),
                None => binding.keys.to_vec(),
            };
            for text in own {
                let key = text.parse()?;
                let same = |it: &&(Key, &Binding)| it.0 == key && it.1.scope == binding.scope;
                if let Some((_, other)) = keys.iter().find(same) {
                    return Err(format!(
                        "the key {key} is to do two things: `{}` and `{}`",
                        other.name, binding.name
                    ));
                }
                keys.push((key, binding));
            }
        }
        Ok(Self { keys })
    }

    /// What a key does where the user is.
    pub(crate) fn action(&self, key: Key, scope: Scope) -> Option<Action> {
        let of = |scope| {
            let mut all = self.keys.iter();
            all.find(|it| it.0 == key && it.1.scope == scope)
                .map(|it| it.1.action)
        };
        of(scope).or_else(|| of(Scope::Everywhere))
    }

    /// The keys of an action, the first one first.
    pub(crate) fn keys_of(&self, action: Action) -> Vec<Key> {
        let keys = self.keys.iter();
        keys.filter(|it| it.1.action == action)
            .map(|it| it.0)
            .collect()
    }

    /// The first key of an action.
    pub(crate) fn key_of(&self, action: Action) -> Option<Key> {
        self.keys_of(action).first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(name: &str, keys: &[&str]) -> BTreeMap<String, Vec<String>> {
        let keys = keys.iter().map(|it| (*it).to_owned()).collect();
        BTreeMap::from([(name.to_owned(), keys)])
    }

    #[test]
    fn every_key_is_read_as_it_is_written() {
        for binding in bindings() {
            for text in binding.keys {
                let key: Key = text.parse().unwrap();
                assert_eq!(key.to_string(), *text, "{}", binding.name);
            }
        }
        for wrong in ["", "ctrl-", "hyper-x", "f13", "two", " "] {
            assert!(wrong.parse::<Key>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_usual_table_has_no_key_twice_and_every_action_a_name_of_its_own() {
        KeyTable::new(&BTreeMap::new()).unwrap();
        for (at, binding) in bindings().enumerate() {
            let mut others = bindings().skip(at + 1);
            assert!(others.all(|it| it.name != binding.name), "{binding:?}");
        }
    }

    #[test]
    fn keys_are_the_users_own() {
        let table = KeyTable::new(&chosen("stop", &["f9"])).unwrap();
        let key = |text: &str| text.parse::<Key>().unwrap();
        assert_eq!(table.action(key("f9"), Scope::Vms), Some(Action::Stop));
        assert_eq!(
            table.action(key("x"), Scope::Vms),
            None,
            "the usual one is off"
        );
        let none = KeyTable::new(&chosen("delete", &[])).unwrap();
        assert_eq!(none.action(key("D"), Scope::Vms), None);
        for (name, keys, words) in [
            ("stopp", &["x"][..], "there is no action `stopp`"),
            ("stop", &["hyper-x"], "is not a key"),
            ("stop", &["s"], "two things: `start` and `stop`"),
        ] {
            let wrong = KeyTable::new(&chosen(name, keys)).unwrap_err();
            assert!(wrong.contains(words), "{wrong}");
        }
    }

    #[test]
    fn what_ends_a_vm_is_a_capital_away_from_what_moves() {
        // k9s deleted with a key beside one that moves.
        for action in [Action::Delete, Action::Kill] {
            for key in KeyTable::default().keys_of(action) {
                let text = key.to_string();
                let capital = text.len() == 1 && text.chars().all(char::is_uppercase);
                assert!(capital, "{text}");
            }
        }
    }
}
