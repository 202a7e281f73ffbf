//! `banger config edit`: edits a draft beside the file, which replaces it only if it is valid.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, IsTerminal as _, Write as _, stdin, stdout};
use std::path::{Path, PathBuf};

use banger_api::{Code, Error, Result};

use super::{ask, change};
use crate::ask::{somebody_is_there, yes_or_no};
use crate::output::say;
use crate::programs;
use crate::session::Session;

/// The content of a new file.
const TEMPLATE: &str = "\
# banger's configuration. Every key is optional.
# See them all, with their defaults: banger config show
";

/// Edits a draft until it is valid or the user gives up, and replaces the file by it.
///
/// # Errors
/// If there is no editor or no terminal, or the draft is invalid: it is kept then.
pub(super) fn run(session: &Session) -> Result<()> {
    let file = &session.places.location.config;
    let draft = draft_of(file);
    let editor = editor(session)?;
    if begin(file, &draft)? {
        session.output.note(&format!(
            "continuing with the saved draft: {}",
            draft.display()
        ));
    }
    let path = draft.to_string_lossy().into_owned();
    loop {
        let mut words = editor.clone();
        words.push(draft.clone().into());
        if !programs::attend(&words)?.success() {
            return Err(kept(&draft, Error::new(Code::Invalid, "the editor failed")));
        }
        match ask(session, &["check", "--", &path]) {
            Ok(_) => break,
            Err(error) => {
                if !somebody_is_there(session.output) {
                    return Err(kept(&draft, error));
                }
                session.output.error(&error);
                if yes_or_no("Edit it again?") != Some(true) {
                    return Err(kept(&draft, error));
                }
            }
        }
    }
    change(session, &["take", "--", &path])?;
    std::fs::remove_file(&draft).map_err(|cause| host("remove", &draft, &cause))?;
    if !session.output.quiet && !session.output.json {
        say(format_args!("saved {}", file.display()));
    }
    Ok(())
}

fn draft_of(file: &Path) -> PathBuf {
    file.with_extension("draft.toml")
}

/// Copies the file's content to the draft; returns true if a draft existed.
fn begin(file: &Path, draft: &Path) -> Result<bool> {
    if draft.exists() {
        return Ok(true);
    }
    if let Some(folder) = draft.parent() {
        std::fs::create_dir_all(folder).map_err(|cause| host("make", folder, &cause))?;
    }
    let text = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == ErrorKind::NotFound => TEMPLATE.into(),
        Err(cause) => return Err(host("read", file, &cause)),
    };
    File::create_new(draft)
        .and_then(|mut new| new.write_all(&text))
        .map_err(|cause| host("write", draft, &cause))?;
    Ok(false)
}

/// The editor and its arguments: the user's choice, which may be a script, or one that needs a terminal.
fn editor(session: &Session) -> Result<Vec<OsString>> {
    if let Some(wanted) = &session.places.editor {
        let words: Vec<OsString> = wanted
            .to_string_lossy()
            .split_whitespace()
            .map(OsString::from)
            .collect();
        if !words.is_empty() {
            return Ok(words);
        }
    }
    // Without a terminal nobody could end it.
    if !(stdin().is_terminal() && stdout().is_terminal()) {
        let text = "there is no terminal for an editor, and EDITOR is not set";
        return Err(Error::new(Code::NotReady, text)
            .hint("change one setting: banger config set KEY VALUE"));
    }
    let search = session.places.search.as_deref();
    ["sensible-editor", "editor", "nano", "vi"]
        .into_iter()
        .find_map(|name| programs::find(search, name))
        .map(|program| vec![program.into()])
        .ok_or_else(|| {
            Error::new(Code::NotReady, "there is no editor")
                .hint("set EDITOR, or change one setting: banger config set KEY VALUE")
        })
}

/// The error, with the state of the draft.
fn kept(draft: &Path, error: Error) -> Error {
    error
        .hint(format!(
            "the file is unchanged; your draft is in {}",
            draft.display()
        ))
        .hint("continue editing: banger config edit")
        .hint(format!("discard it: rm {}", draft.display()))
}

fn host(doing: &str, path: &Path, cause: &std::io::Error) -> Error {
    let shown = AsRef::<OsStr>::as_ref(path).display();
    Error::new(Code::Host, format!("{doing} `{shown}`")).cause(cause.to_string())
}
