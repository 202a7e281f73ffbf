//! `banger-root`: where it is, and what it says.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use banger_api::{Code, Error, Result};
use serde::{Deserialize, Serialize};

use super::account::{Account, own_program};
use crate::output::Output;
use crate::programs::{self, ProgramOutput, Verbosity};
use crate::session::Session;

/// Where what root runs is kept; only root can write there.
pub(super) const PROGRAMS: &str = "/usr/local/libexec/banger";

/// What `banger-root` keeps for a user, which nobody else has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) uid: u32,
    pub(super) user: String,
    pub(super) state: PathBuf,
    pub(super) subnet: String,
    pub(super) dns_port: u16,
}

/// Whether something was claimed for this user.
pub(super) fn has_claim(uid: u32) -> bool {
    Path::new(&format!("/etc/banger/{uid}.json")).exists()
}

/// The unit that stops the user's VMs when the host goes down.
pub(super) fn shutdown_unit_file(uid: u32) -> PathBuf {
    format!("/etc/systemd/system/banger-shutdown@{uid}.service").into()
}

/// What `banger-root status` says of this user, in text or in JSON.
///
/// # Errors
/// `not-ready` where the installed program is older and has no such command.
pub(super) fn status(account: &Account, output: Output) -> Result<ProgramOutput> {
    let beside = own_program()?;
    let installed = Path::new(PROGRAMS).join("banger-root");
    // What root runs tells what it is. Root's own daemon needs none of it.
    let program = if account.is_root() || !installed.is_file() {
        find()?
    } else {
        installed
    };
    let mut words = vec![
        "status".into(),
        "--uid".into(),
        account.uid.to_string().into(),
    ];
    if let Some(folder) = beside.parent() {
        words.extend(["--beside".into(), folder.into()]);
    }
    words.extend(output.json.then(|| "--json".into()));
    words.extend((output.colour && !output.json).then(|| "--colour".into()));
    let ended = programs::run(&program, &words, &[], Verbosity::Nothing)?;
    read_status(&program, ended)
}

/// What came of it: nothing on the standard output is a failure.
fn read_status(program: &Path, ended: ProgramOutput) -> Result<ProgramOutput> {
    if !ended.stdout.is_empty() {
        return Ok(ended);
    }
    let shown = program.display();
    if ended.stderr.contains("unrecognized subcommand") {
        let text = format!("`{shown}` is older than `banger`, and has no `status`");
        return Err(Error::new(Code::NotReady, text).hint("banger system install"));
    }
    Err(Error::new(Code::Host, format!("`{shown} status`")).cause(ended.stderr))
}

/// Runs `banger-root`, by sudo where we are not root, which may ask for a password.
///
/// # Errors
/// Where there is no such program or no sudo, or it does not end well; it has said why itself.
pub(super) fn run(
    words: &[OsString],
    account: &Account,
    session: &Session,
) -> Result<ProgramOutput> {
    let program = find()?;
    let (program, words) = if account.by_root || account.is_root() {
        (program, words.to_vec())
    } else {
        let sudo = programs::find(session.places.search.as_deref(), "sudo").ok_or_else(|| {
            let verb = words
                .first()
                .map_or_else(Default::default, |it| it.display().to_string());
            Error::new(Code::NotReady, "there is no program `sudo`").hint(format!(
                "as root: banger system {verb} --user {}",
                account.name
            ))
        })?;
        let before = [OsString::from("--"), program.into()];
        (sudo, [&before, words].concat())
    };
    let ended = programs::run(&program, &words, &[], Verbosity::All)?;
    if ended.done {
        return Ok(ended);
    }
    Err(Error::new(
        Code::Host,
        "root's part did not succeed; it said why above",
    ))
}

/// Beside our own program, else where it is installed.
fn find() -> Result<PathBuf> {
    let beside = own_program()?.with_file_name("banger-root");
    let installed = Path::new(PROGRAMS).join("banger-root");
    [&beside, &installed]
        .into_iter()
        .find(|it| it.is_file())
        .cloned()
        .ok_or_else(|| {
            Error::new(
                Code::NotReady,
                format!("`{}` is not there", beside.display()),
            )
            .hint("build and install all programs: make install")
        })
}

/// What `banger-root install` says at its end.
///
/// # Errors
/// `internal` where that cannot be read, or nothing was claimed for a user.
pub(super) fn read_placed(text: &str, account: &Account) -> Result<Installation> {
    let unreadable = || Error::new(Code::Internal, "read what `banger-root` says");
    let placed: Installation = serde_json::from_str(text.lines().last().unwrap_or_default())
        .map_err(|cause| unreadable().cause(cause.to_string()))?;
    if placed.claim.is_none() && !account.is_root() {
        return Err(unreadable().cause(format!("nothing for `{}`", account.name)));
    }
    Ok(placed)
}

/// What is in place for a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Installation {
    /// What the user was granted; nothing where that is root.
    #[serde(flatten)]
    pub(super) claim: Option<Claim>,
    /// The programs, each with its digest.
    pub(super) programs: Vec<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_says_is_read() {
        let text = r#"{"uid":1000,"user":"ada","state":"/home/ada/.local/state/banger","subnet":"10.215.0.0/20","dns_port":42069,"programs":[{"path":"/usr/local/libexec/banger/banger-root","sha256":"00"}]}"#;
        let account = |uid| Account {
            name: "ada".into(),
            uid,
            home: "/home/ada".into(),
            by_root: false,
        };
        let (ada, root) = (account(1000), account(0));
        let placed = read_placed(&format!("a word\n{text}\n"), &ada).unwrap();
        assert_eq!(placed.claim.unwrap().dns_port, 42069);
        assert_eq!(placed.programs[0]["sha256"], "00");
        let nothing = r#"{"programs":[]}"#;
        assert_eq!(read_placed(nothing, &root).unwrap().claim, None);
        assert!(read_placed(nothing, &ada).is_err());
        assert!(read_placed("", &ada).is_err());
    }

    #[test]
    fn an_older_program_without_a_status_is_told_from_one_that_fails() {
        let path = Path::new("/usr/local/libexec/banger/banger-root");
        let ended = |stdout: &str, stderr: &str| ProgramOutput {
            done: false,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        };
        let error = read_status(path, ended("", "error: unrecognized subcommand 'status'"));
        let error = error.unwrap_err();
        assert_eq!(error.code, Code::NotReady);
        assert!(
            error.message.contains("is older than `banger`"),
            "{error:?}"
        );
        assert_eq!(error.hints, ["banger system install"]);
        let error = read_status(path, ended("", "error: read `/etc/banger/7.json`"));
        assert_eq!(error.unwrap_err().code, Code::Host);
        assert!(read_status(path, ended("claim       not installed", "")).is_ok());
    }

    #[test]
    fn nothing_is_claimed_for_a_user_who_is_not_served() {
        assert!(!has_claim(4_000_000_000));
    }
}
