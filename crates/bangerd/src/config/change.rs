//! Changes one key in the text of the file, and preserves everything else: comments, order, blank
//! lines.

use std::path::Path;

use banger_api::{Code, Error, Result};
use serde_json::Value;
use toml_edit::{DocumentMut, Item};

use super::{Config, escaped, keys, read};

/// The change of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets this value, written as on a command line.
    Set(String),
    /// Removes the key, so that the default applies.
    Unset,
}

/// The text of the configuration file at `path` with this key changed. A missing file counts as
/// empty.
///
/// # Errors
/// `invalid` if the file is already invalid, the key is unknown, or it does not accept the value.
pub fn change(path: &Path, key: &str, to: &Change) -> Result<String> {
    let invalid = |what: String| Error::new(Code::Invalid, escaped(&what));
    let bytes = read(path)?.unwrap_or_default();
    Config::default().parse(path, &bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut document: DocumentMut = text
        .parse()
        .map_err(|cause: toml_edit::TomlError| invalid(format!("{}: {cause}", path.display())))?;
    let known =
        keys::known(key).map_err(|what| invalid(what).hint("see them all: banger config show"))?;
    let older = keys::older_name(known);
    // A file with an older name of the key keeps that name.
    let name = older
        .filter(|older| document.contains_key(older))
        .unwrap_or(known);
    match to {
        Change::Unset => {
            document.remove(name);
        }
        Change::Set(text) => {
            let (_, value) = keys::read(known, text).map_err(invalid)?;
            set(&mut document, name, &value);
        }
    }
    let text = document.to_string();
    // The result is validated as a daemon would.
    Config::default().parse(path, text.as_bytes())?;
    Ok(text)
}

fn set(document: &mut DocumentMut, name: &str, value: &Value) {
    let mut new = toml_value(value);
    match document.get_mut(name).and_then(Item::as_value_mut) {
        Some(old) => {
            // The comment after it is preserved.
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => {
            // In a file without keys, the comments are at the end; they stay before the new key.
            let remarks = document.trailing().as_str().unwrap_or_default().to_owned();
            let is_first = document.is_empty();
            document.insert(name, Item::Value(new));
            if is_first && let Some(mut key) = document.key_mut(name) {
                key.leaf_decor_mut().set_prefix(remarks);
                document.set_trailing("");
            }
        }
    }
}

/// A key's value as TOML: a string, a number, a boolean, or a list of these.
fn toml_value(value: &Value) -> toml_edit::Value {
    match value {
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => number.as_i64().unwrap_or(i64::MAX).into(),
        Value::Array(items) => items.iter().map(toml_value).collect(),
        Value::String(text) => text.as_str().into(),
        Value::Object(fields) => {
            let fields = fields.iter();
            let table = fields.map(|(name, value)| (name.as_str(), toml_value(value)));
            toml_edit::Value::InlineTable(table.collect())
        }
        Value::Null => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str, key: &str, to: &Change) -> Result<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        change(&path, key, to)
    }

    fn set(text: &str, key: &str, value: &str) -> String {
        changed(text, key, &Change::Set(value.to_owned())).unwrap()
    }

    #[test]
    fn what_is_not_changed_stays_as_it_stands() {
        let text = "# mine\n\nmemory   = \"4G\"  # enough\nvcpu = 0x2\n# the end\n";
        assert_eq!(
            set(text, "memory", "8G"),
            "# mine\n\nmemory   = \"8G\"  # enough\nvcpu = 0x2\n# the end\n"
        );
        let added = set(text, "nat", "true");
        assert!(added.contains("nat = true\n"), "{added}");
        assert!(
            added.starts_with("# mine\n\nmemory   = \"4G\"  # enough\n"),
            "{added}"
        );
        assert!(added.ends_with("# the end\n"), "{added}");
        assert_eq!(set(&added, "nat", "true"), added);
        assert_eq!(
            changed("nat = true\nvcpu = 3\n", "nat", &Change::Unset).unwrap(),
            "vcpu = 3\n"
        );
        assert_eq!(changed(text, "nat", &Change::Unset).unwrap(), text);
        assert_eq!(set("# mine\n", "nat", "true"), "# mine\nnat = true\n");
    }

    #[test]
    fn each_kind_of_value_is_written_as_the_file_has_it() {
        assert_eq!(
            set("", "dns", "9.9.9.9, 1.1.1.1"),
            "dns = [\"9.9.9.9\", \"1.1.1.1\"]\n"
        );
        assert_eq!(set("", "memory", "4096"), "memory = \"4G\"\n");
        assert_eq!(
            set(
                "",
                "mirrors",
                "npm=https://npm.example/,git=file:///srv/git"
            ),
            "mirrors = { git = \"file:///srv/git\", npm = \"https://npm.example/\" }\n"
        );
        assert_eq!(set("", "vcpu", "4"), "vcpu = 4\n");
        assert_eq!(set("", "qemu", "/opt/q\"x"), "qemu = '/opt/q\"x'\n");
    }

    #[test]
    fn a_value_that_the_key_does_not_take_changes_nothing() {
        let wrong = |text, key, value: &str| {
            changed(text, key, &Change::Set(value.to_owned()))
                .unwrap_err()
                .message
        };
        assert!(wrong("", "nat", "yes").contains("`nat` is \"yes\"; it takes true or false"));
        assert!(wrong("", "natt", "true").contains("did you mean `nat`?"));
        assert!(wrong("", "default_initrd", "/x").contains("is not taken: "));
        assert!(
            wrong("vcpu = 0\n", "nat", "true").contains(":1:8: "),
            "a file that is wrong"
        );
    }

    #[test]
    fn an_older_name_goes_on() {
        assert_eq!(
            set("bundle = \"/a\"\n", "runtime_dir", "/b"),
            "bundle = \"/b\"\n"
        );
    }
}
