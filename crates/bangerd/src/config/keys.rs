//! The keys, their values, and the fields that they set.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::Config;
use super::table::KEYS;

/// A fault of the file.
#[derive(Debug)]
pub(super) struct Fault {
    /// Its position, in bytes.
    pub(super) offset: usize,
    /// The fault, and what is accepted.
    pub(super) what: String,
    /// The hint.
    pub(super) hints: Vec<String>,
}

/// A predicate that describes a rejected value, such as `is a string`.
pub(super) type Assignment = Result<(), String>;

/// The form of a key's value as plain text: in a variable, or on a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The string itself, without quotes.
    Text,
    /// As in the file: a number, true or false.
    Plain,
    /// Items between commas.
    List,
}

/// A key of the file.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What it accepts, in words.
    pub(super) takes: &'static str,
    pub(super) form: Form,
    /// Sets its field.
    pub(super) set: fn(&mut Config, &DeValue<'_>) -> Assignment,
    /// The value as in the file; null if there is none.
    pub(super) get: fn(&Config) -> Value,
}

impl Key {
    fn fault(&self, found: &str) -> String {
        format!("`{}` {found}; it takes {}", self.name, self.takes)
    }

    /// Parses the value from text.
    fn read<'t>(&self, text: &'t str) -> DeValue<'t> {
        let text = text.trim();
        let string = |text: &'t str| DeValue::String(text.into());
        match self.form {
            Form::Text => string(text),
            Form::Plain => DeValue::parse(text).map_or_else(|_| string(text), Spanned::into_inner),
            Form::List => {
                let items = text.split(',').map(str::trim).filter(|it| !it.is_empty());
                let mut list = DeArray::new();
                for item in items {
                    list.push(Spanned::new(0..0, string(item)));
                }
                DeValue::Array(list)
            }
        }
    }
}

/// Older names of keys. They still work, with a warning.
const RENAMED: [(&str, &str); 3] = [
    ("bundle", "runtime_dir"),
    ("firecracker", "firecracker_bin"),
    ("image", "default_rootfs"),
];

/// Keys of other tools' configurations that have no meaning here, and why.
const REFUSED: [(&str, &str); 1] = [(
    "default_initrd",
    "each start of a VM makes its own initramfs, from the guest program of its daemon and the \
     modules of the VM's kernel",
)];

/// Applies the table's values to `config`, calls `set` with each key and its position, and returns
/// the faults.
pub(super) fn apply(
    config: &mut Config,
    table: &DeTable<'_>,
    mut set: impl FnMut(&'static str, usize),
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, value) in table {
        let renamed = RENAMED.iter().find(|(old, _)| old == name.get_ref());
        let known = renamed.map_or(name.get_ref().as_ref(), |(_, new)| new);
        let Some(key) = KEYS.iter().find(|key| key.name == known) else {
            faults.push(unknown(name.get_ref(), name.span().start));
            continue;
        };
        if let Some((old, new)) = renamed {
            if table.contains_key(*new) {
                faults.push(Fault {
                    offset: name.span().start,
                    what: format!("`{old}` is the older name of `{new}`, and both are set"),
                    hints: vec![format!("remove `{old}`")],
                });
                continue;
            }
            let warning = format!("the key `{old}` of the configuration is called `{new}` now");
            config.renamed.push(warning);
        }
        match (key.set)(config, value.get_ref()) {
            Ok(()) => set(key.name, value.span().start),
            Err(found) => faults.push(Fault {
                offset: value.span().start,
                what: key.fault(&found),
                hints: Vec::new(),
            }),
        }
    }
    faults
}

/// Applies a value in text form to `config`.
///
/// # Errors
/// The fault, and what is accepted.
pub(super) fn apply_text(config: &mut Config, name: &str, text: &str) -> Result<(), String> {
    let key = find(name)?;
    (key.set)(config, &key.read(text)).map_err(|found| key.fault(&found))
}

/// Parses the value of a key from `text`, as in the file.
///
/// # Errors
/// As [`apply_text`], or if the key is unknown.
pub(super) fn read(name: &str, text: &str) -> Result<(&'static str, Value), String> {
    let key = find(name)?;
    let mut config = Config::default();
    (key.set)(&mut config, &key.read(text)).map_err(|found| key.fault(&found))?;
    Ok((key.name, (key.get)(&config)))
}

/// The key with this name or older name.
pub(super) fn known(name: &str) -> Result<&'static str, String> {
    find(name).map(|key| key.name)
}

fn find(name: &str) -> Result<&'static Key, String> {
    KEYS.iter()
        .find(|key| key.name == name)
        .ok_or_else(|| unknown(name, 0).what)
}

/// Every key with its value, in the order of the documentation.
pub(super) fn values(config: &Config) -> impl Iterator<Item = (&'static str, Value)> {
    KEYS.iter().map(|key| (key.name, (key.get)(config)))
}

/// The older name of a key, if it had one.
pub(super) fn older_name(name: &str) -> Option<&'static str> {
    let renamed = RENAMED.iter().find(|(_, new)| *new == name);
    renamed.map(|(old, _)| *old)
}

fn unknown(name: &str, offset: usize) -> Fault {
    if let Some((name, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Fault {
            offset,
            what: format!("`{name}` is not taken: {why}"),
            hints: vec![format!("remove `{name}`")],
        };
    }
    let shown: String = name.chars().take(60).collect();
    let mut what = format!("there is no key `{shown}`");
    if let Some(near) = nearest(name) {
        what += &format!("; did you mean `{near}`?");
    }
    let all: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    Fault {
        offset,
        what,
        hints: vec![format!("the keys are {}", all.join(", "))],
    }
}

/// The key that the user probably meant.
fn nearest(name: &str) -> Option<&'static str> {
    // A long name is not a typing error, and the comparison is quadratic.
    if name.len() > 40 {
        return None;
    }
    let plain = name.to_lowercase().replace('-', "_");
    KEYS.iter()
        .map(|key| (distance(&plain, key.name), key.name))
        .filter(|(far, key)| *far <= 1 + key.len() / 4)
        .min()
        .map(|(_, key)| key)
}

/// The edit distance: the number of characters to insert, remove or replace.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
