//! `banger-root`: its installation, and its output.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use banger_api::{Code, Error, Result};
use serde::{Deserialize, Serialize};

use super::account::{Account, own_program};
use crate::output::Output;
use crate::programs::{self, Interaction, ProgramOutput};
use crate::session::Session;

/// The folder of the programs that root runs; only root can write to it.
pub(super) const PROGRAMS: &str = "/usr/local/libexec/banger";

/// The subnet, port and state directory that `banger-root` reserves for a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) uid: u32,
    pub(super) user: String,
    pub(super) state: PathBuf,
    pub(super) subnet: String,
    pub(super) dns_port: u16,
}

/// Whether this user has a claim.
pub(super) fn has_claim(uid: u32) -> bool {
    Path::new(&format!("/etc/banger/{uid}.json")).exists()
}

/// The unit that stops the user's VMs when the host shuts down.
pub(super) fn shutdown_unit_file(uid: u32) -> PathBuf {
    format!("/etc/systemd/system/banger-shutdown@{uid}.service").into()
}

/// Runs `banger-root status` for this user, for text or JSON.
///
/// # Errors
/// `not-ready` if the installed program is older and has no such command.
pub(super) fn status(account: &Account, output: Output) -> Result<ProgramOutput> {
    let beside = own_program()?;
    let installed = Path::new(PROGRAMS).join("banger-root");
    // The installed program describes itself. Root's own daemon needs none.
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
    let ended = programs::run(&program, &words, &[], Interaction::Silent)?;
    check_status(&program, ended)
}

/// Checks the output: an empty standard output is a failure.
fn check_status(program: &Path, ended: ProgramOutput) -> Result<ProgramOutput> {
    if !ended.stdout.is_empty() {
        return Ok(ended);
    }
    let program = program.display();
    if ended.stderr.contains("unrecognized subcommand") {
        let text = format!("`{program}` is older than `banger`, and has no `status`");
        return Err(Error::new(Code::NotReady, text).hint("banger system install"));
    }
    Err(Error::new(Code::Host, format!("`{program} status`")).cause(ended.stderr))
}

/// Runs `banger-root` as root: directly, or through sudo, which may ask for a password.
///
/// # Errors
/// `banger-root` or sudo is missing, or `banger-root` fails; it has printed the reason.
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
            Error::new(Code::NotReady, "`sudo` is not installed").hint(format!(
                "as root: banger system {verb} --user {}",
                account.name
            ))
        })?;
        let before = [OsString::from("--"), program.into()];
        (sudo, [&before, words].concat())
    };
    let ended = programs::run(&program, &words, &[], Interaction::Interactive)?;
    if ended.done {
        return Ok(ended);
    }
    Err(Error::new(
        Code::Host,
        "`banger-root` failed; see its message above",
    ))
}

/// `banger-root` beside this program, else the installed one.
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
                format!("`{}` does not exist", beside.display()),
            )
            .hint("build and install all programs: make install")
        })
}

/// Parses the last line of `banger-root install`.
///
/// # Errors
/// `internal` if it cannot be parsed, or has no claim for a user other than root.
pub(super) fn parse_installation(text: &str, account: &Account) -> Result<Installation> {
    let unreadable = || Error::new(Code::Internal, "parse the output of `banger-root`");
    let installation: Installation = serde_json::from_str(text.lines().last().unwrap_or_default())
        .map_err(|cause| unreadable().cause(cause.to_string()))?;
    if installation.claim.is_none() && !account.is_root() {
        return Err(unreadable().cause(format!("no claim for `{}`", account.name)));
    }
    Ok(installation)
}

/// The result of `banger-root install` for a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Installation {
    /// The user's claim; `None` for root.
    #[serde(flatten)]
    pub(super) claim: Option<Claim>,
    /// The programs, each with its digest.
    pub(super) programs: Vec<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_an_installation_is_parsed() {
        let text = r#"{"uid":1000,"user":"ada","state":"/home/ada/.local/state/banger","subnet":"10.215.0.0/20","dns_port":42069,"programs":[{"path":"/usr/local/libexec/banger/banger-root","sha256":"00"}]}"#;
        let account = |uid| Account {
            name: "ada".into(),
            uid,
            home: "/home/ada".into(),
            by_root: false,
        };
        let (ada, root) = (account(1000), account(0));
        let installation = parse_installation(&format!("a word\n{text}\n"), &ada).unwrap();
        assert_eq!(installation.claim.unwrap().dns_port, 42069);
        assert_eq!(installation.programs[0]["sha256"], "00");
        let nothing = r#"{"programs":[]}"#;
        assert_eq!(parse_installation(nothing, &root).unwrap().claim, None);
        assert!(parse_installation(nothing, &ada).is_err());
        assert!(parse_installation("", &ada).is_err());
    }

    #[test]
    fn an_older_program_without_status_is_distinguished_from_a_failing_one() {
        let path = Path::new("/usr/local/libexec/banger/banger-root");
        let ended = |stdout: &str, stderr: &str| ProgramOutput {
            done: false,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        };
        let error = check_status(path, ended("", "error: unrecognized subcommand 'status'"));
        let error = error.unwrap_err();
        assert_eq!(error.code, Code::NotReady);
        assert!(
            error.message.contains("is older than `banger`"),
            "{error:?}"
        );
        assert_eq!(error.hints, ["banger system install"]);
        let error = check_status(path, ended("", "error: read `/etc/banger/7.json`"));
        assert_eq!(error.unwrap_err().code, Code::Host);
        assert!(check_status(path, ended("claim       not installed", "")).is_ok());
    }

    #[test]
    fn an_unknown_user_has_no_claim() {
        assert!(!has_claim(4_000_000_000));
    }
}
