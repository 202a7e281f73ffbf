//! The hosts that a user has named: `hosts.toml`, beside the client's `config.toml`.
//!
//! The daemon never reads this file. It is replaced atomically, under a lock on its directory, so
//! that two commands at once keep each other's changes and a crash leaves the old file or the new
//! one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use banger_api::{Code, Error, Result};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::destination::Destination;

/// The file's name.
const FILE: &str = "hosts.toml";
/// The name of this machine, which needs no context.
pub(crate) const LOCAL: &str = "local";
/// The longest name of a host, in characters.
const LONGEST: usize = 32;

/// The first line of the file.
const HEAD: &str = "# Written by `banger host add`, `use` and `remove`.\n";

/// The named hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Contexts {
    /// The host of commands that name none; this machine if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// The hosts, by name.
    pub(crate) hosts: BTreeMap<String, Context>,
}

/// A named host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// `ssh://user@server:port`.
    pub(crate) destination: String,
    /// The path of the program `banger` there, if ssh commands do not find it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) program: Option<String>,
}

impl Context {
    /// Its destination.
    ///
    /// # Errors
    /// If the file was edited, and the text is not a destination any more.
    pub(crate) fn destination(&self) -> Result<Destination> {
        self.destination.parse()
    }
}

/// The file beside this configuration.
pub(crate) fn file(config: &Path) -> PathBuf {
    config.with_file_name(FILE)
}

impl Contexts {
    /// Reads the file; an absent one has no hosts.
    ///
    /// # Errors
    /// If it cannot be read, or is not such a file.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let trouble = |cause: String| {
            Error::new(
                Code::Invalid,
                format!("read the named hosts in `{}`", file.display()),
            )
            .cause(cause)
            .hint("correct the file, or remove it and name the hosts again: banger host add")
        };
        match fs::read_to_string(file) {
            Ok(text) => toml::from_str(&text).map_err(|cause| trouble(cause.to_string())),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(cause) => Err(trouble(cause.to_string())),
        }
    }

    /// Changes the file; returns the result of `change`.
    ///
    /// # Errors
    /// The error of `change`, after which the file is unchanged; or the file cannot be read or
    /// written.
    pub(crate) fn change<T>(file: &Path, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let folder = file.parent().unwrap_or(Path::new("/"));
        let trouble = |cause: std::io::Error| {
            Error::new(Code::Host, format!("write `{}`", file.display())).cause(cause.to_string())
        };
        fs::create_dir_all(folder).map_err(trouble)?;
        let lock = File::open(folder).map_err(trouble)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)
            .map_err(|cause| trouble(cause.into()))?;
        let mut contexts = Self::read(file)?;
        let outcome = change(&mut contexts)?;
        let text = toml::to_string(&contexts).map_err(|cause| {
            Error::new(Code::Internal, "write the named hosts").cause(cause.to_string())
        })?;
        replace(file, &format!("{HEAD}{text}")).map_err(trouble)?;
        lock.sync_all().map_err(trouble)?;
        Ok(outcome)
    }

    /// The host of this name.
    ///
    /// # Errors
    /// `not-found`.
    pub(crate) fn get(&self, name: &str) -> Result<&Context> {
        self.hosts.get(name).ok_or_else(|| {
            Error::new(Code::NotFound, format!("no host is named `{name}`"))
                .hint("see them: banger host list")
                .hint(format!("name one: banger host add {name} USER@SERVER"))
        })
    }
}

/// Rejects a name that a host cannot have.
///
/// # Errors
/// `invalid`, with the reason.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let wrong = |why: &str| {
        Err(Error::new(
            Code::Invalid,
            format!("`{}` is not a host's name: {why}", name.escape_default()),
        ))
    };
    if name == LOCAL {
        return wrong("it is this machine's own");
    }
    // It becomes a part of names such as `web.lab`, in which ssh_config(5) has patterns.
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > LONGEST || !name.bytes().all(legal) {
        return wrong("use up to 32 lower-case letters, digits and hyphens");
    }
    if name.starts_with('-') || name.ends_with('-') {
        return wrong("it begins or ends with a hyphen");
    }
    if name == "vm" {
        return wrong("NAME.vm is a VM of this machine");
    }
    Ok(())
}

/// Replaces a file atomically.
pub(super) fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let new = file.with_extension(format!("{}.new", std::process::id()));
    let mut written = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    let outcome = written
        .write_all(text.as_bytes())
        .and_then(|()| written.sync_all())
        .and_then(|()| fs::rename(&new, file));
    if outcome.is_err() {
        let _ = fs::remove_file(&new);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_back_and_a_failed_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder.path().join("banger/config.toml"));
        assert_eq!(Contexts::read(&file), Ok(Contexts::default()));
        let lab = Context {
            destination: "ssh://ada@lab:2222".to_owned(),
            program: None,
        };
        Contexts::change(&file, |contexts| {
            contexts.hosts.insert("lab".to_owned(), lab.clone());
            contexts.current = Some("lab".to_owned());
            Ok(())
        })
        .unwrap();
        let refused = Contexts::change(&file, |contexts| {
            contexts.hosts.clear();
            contexts.get("lab").map(drop)
        });
        assert_eq!(refused.unwrap_err().code, Code::NotFound);
        let read = Contexts::read(&file).unwrap();
        assert_eq!(read.get("lab"), Ok(&lab));
        assert_eq!(read.current.as_deref(), Some("lab"));
        let names = fs::read_dir(file.parent().unwrap()).unwrap();
        assert_eq!(names.count(), 1, "no draft is left");
    }

    #[test]
    fn many_at_once_keep_each_others_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder.path().join("config.toml"));
        std::thread::scope(|scope| {
            for number in 0..8 {
                let file = &file;
                scope.spawn(move || {
                    Contexts::change(file, |contexts| {
                        let context = Context {
                            destination: format!("h{number}"),
                            program: None,
                        };
                        contexts.hosts.insert(format!("h{number}"), context);
                        Ok(())
                    })
                    .unwrap();
                });
            }
        });
        assert_eq!(Contexts::read(&file).unwrap().hosts.len(), 8);
    }

    #[test]
    fn a_file_that_is_none_is_told_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder.path().join("config.toml"));
        fs::write(&file, "hosts = 3").unwrap();
        let error = Contexts::read(&file).unwrap_err();
        assert!(error.message.contains("hosts.toml"), "{error}");
    }

    #[test]
    fn names_are_words_and_local_is_this_machine() {
        for name in ["lab", "a", "lab-2"] {
            check_name(name).unwrap();
        }
        for name in [
            "",
            "local",
            "vm",
            "Lab",
            "a.b",
            "-a",
            "a-",
            "a b",
            &"a".repeat(33),
        ] {
            check_name(name).unwrap_err();
        }
    }
}
