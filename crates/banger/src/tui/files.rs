//! Two files of the user's: the key table, which they write, and what is kept between runs.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use banger_api::{Code, Error, Result};
use serde::Deserialize;

use super::model::Preferences;
use super::model::keys::KeyTable;
use crate::paths::Paths;

/// The key table's file, beside the configuration.
const KEYS: &str = "tui.toml";
/// What is kept, beside the daemon's state.
const KEPT: &str = "tui.json";

/// The user's file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Choice {
    /// The keys of actions, by name.
    keys: BTreeMap<String, Vec<String>>,
}

/// The path of the key table.
pub(crate) fn keys_path(places: &Paths) -> PathBuf {
    places.location.config.with_file_name(KEYS)
}

/// The key table with the user's own keys.
///
/// # Errors
/// The file cannot be read, or names what there is not.
pub(crate) fn keys(places: &Paths) -> Result<KeyTable> {
    let path = keys_path(places);
    let wrong = |cause: String| {
        Error::new(
            Code::Invalid,
            format!("read the keys of `{}`", path.display()),
        )
        .cause(cause)
        .hint("see the actions and their names: press : in banger tui, or read docs/tui.md")
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(KeyTable::default());
        }
        Err(cause) => return Err(wrong(cause.to_string())),
    };
    let choice: Choice = toml::from_str(&text).map_err(|cause| wrong(cause.to_string()))?;
    KeyTable::new(&choice.keys).map_err(wrong)
}

/// What was kept; the usual where nothing was, or what another version kept is not understood.
pub(crate) fn kept(places: &Paths) -> Preferences {
    let read = std::fs::read(places.location.state.join(KEPT));
    read.ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

/// Keeps it. Where that fails, the next run begins with the usual.
pub(crate) fn keep(places: &Paths, kept: &Preferences) {
    let path = places.location.state.join(KEPT);
    if let Ok(bytes) = serde_json::to_vec(kept) {
        let _ = replace(&path, &bytes);
    }
}

/// At once, so that another run never reads half of it.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension(format!("json.{}", std::process::id()));
    let mut options = std::fs::File::options();
    let written = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_documentation_is_a_key_table() {
        let page = include_str!("../../../../docs/tui.md");
        let example = page.split("```toml\n").nth(1).unwrap();
        let example = example.split("```").next().unwrap();
        let choice: Choice = toml::from_str(example).unwrap();
        assert_eq!(choice.keys.len(), 3);
        KeyTable::new(&choice.keys).unwrap();
        assert!(
            toml::from_str::<Choice>("[key]\n").is_err(),
            "a wrong table is told"
        );
    }

    #[test]
    fn what_is_kept_is_replaced_at_once_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEPT);
        for text in ["{\"filter\": \"a\"}", "{}"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
