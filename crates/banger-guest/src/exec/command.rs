//! Starts the command.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use banger_guest::streams::ExecStart;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::account::Account;
use super::kills::KillCounts;
use crate::session::make_room;
use crate::system::enter::program;
use crate::system::raw;

/// A shell's status for a command that it cannot run, and for one that it cannot find.
pub(crate) const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// The search path for programs, as in a login of Debian's root.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The command to run.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) variables: Vec<Vec<u8>>,
    pub(crate) start: ExecStart,
}

/// The reason why a command was not started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u8,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(status: u8, reason: &str) -> Self {
        let reason = reason.to_owned();
        Self { status, reason }
    }
}

/// A running command, with our ends of its streams.
#[derive(Debug)]
pub(crate) struct RunningCommand {
    pub(crate) child: Child,
    pub(crate) stdin: Option<File>,
    pub(crate) stdout: Option<File>,
    pub(crate) stderr: Option<File>,
    /// The other side of its terminal, which is its standard input and output.
    pub(crate) terminal: Option<File>,
    /// What the kernel has killed up to its start.
    pub(crate) counts: KillCounts,
}

/// Starts the command; with `bound` it gets `SIGTERM` when this process is killed.
pub(crate) fn start(
    request: &Request,
    bound: bool,
    counts: KillCounts,
) -> Result<RunningCommand, Refusal> {
    let user = request.start.user.as_deref().unwrap_or("root");
    let account = Account::find(user).map_err(|reason| Refusal::new(CANNOT_RUN, &reason))?;
    let size: usize = request.words.iter().map(|word| word.len() + 8).sum();
    make_room(size as u64);
    let mut command = command(request, &account)?;
    let map_io_error =
        |cause: std::io::Error| Refusal::new(CANNOT_RUN, &format!("prepare the command: {cause}"));
    let terminal = match request.start.terminal {
        Some((columns, rows)) => {
            let (ours, theirs) =
                terminal(columns, rows).map_err(|cause| map_io_error(cause.into()))?;
            // The user owns the terminal, as after a login.
            let _ = rustix::fs::fchown(&theirs, Some(account.user), None);
            let copy = || theirs.try_clone().map(Stdio::from).map_err(map_io_error);
            command.stdin(copy()?).stdout(copy()?).stderr(copy()?);
            Some(File::from(ours))
        }
        None => {
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            None
        }
    };
    if let Some(door) = counts.door() {
        raw::enter_group(&mut command, door);
    }
    let groups = account.groups.clone();
    raw::run_as(
        &mut command,
        account.user,
        account.group,
        groups,
        raw::Ties {
            terminal: terminal.is_some(),
            bound,
        },
    );
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .spawn()
        .map_err(|cause| refusal(&name, &request.start, &account.home, &cause))?;
    // Dropping the command closes our copies of the terminal's other side.
    drop(command);
    let file = |fd: Option<OwnedFd>| fd.map(File::from);
    Ok(RunningCommand {
        stdin: file(child.stdin.take().map(OwnedFd::from)),
        stdout: file(child.stdout.take().map(OwnedFd::from)),
        stderr: file(child.stderr.take().map(OwnedFd::from)),
        child,
        terminal,
        counts,
    })
}

/// The working directory: the home, or one that is wanted, from there if it is relative.
fn directory(wanted: Option<&str>, home: &str) -> PathBuf {
    let home = Path::new(home);
    let home = if home.is_dir() { home } else { Path::new("/") };
    wanted.map_or_else(|| home.to_owned(), |wanted| home.join(wanted))
}

fn refusal(name: &str, start: &ExecStart, home: &str, cause: &std::io::Error) -> Refusal {
    if let Some(wanted) = start.directory.as_deref()
        && let directory = directory(Some(wanted), home)
        && !directory.is_dir()
    {
        let directory = directory.display();
        let reason = format!("the VM has no directory `{directory}`");
        return Refusal::new(CANNOT_RUN, &reason);
    }
    if cause.kind() == ErrorKind::NotFound {
        return Refusal::new(NOT_FOUND, &format!("{name}: command not found"));
    }
    Refusal::new(CANNOT_RUN, &format!("{name}: {cause}"))
}

/// A terminal of this size: our side, and the command's.
fn terminal(columns: u16, rows: u16) -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = rustix::fs::open(&*name, flags, Mode::empty())?;
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&ours, size)?;
    Ok((ours, theirs))
}

fn command(request: &Request, account: &Account) -> Result<Command, Refusal> {
    let mut command = match request.words.split_first() {
        Some((name, rest)) => {
            let mut command = program(Path::new(OsStr::from_bytes(name)));
            command.args(rest.iter().map(|word| OsStr::from_bytes(word)));
            command
        }
        None => {
            let mut command = program(&account.shell);
            let name = Path::new(&account.shell).file_name().unwrap_or_default();
            // A shell whose name begins with a hyphen is a login shell.
            let mut login = OsString::from("-");
            login.push(name);
            command.arg0(login);
            command
        }
    };
    command.env_clear();
    command
        .env("PATH", PATH)
        .env("HOME", &account.home)
        .env("SHELL", &account.shell);
    command
        .env("USER", &account.name)
        .env("LOGNAME", &account.name);
    for variable in &request.variables {
        let (name, value) = split(variable).ok_or_else(|| {
            let text = String::from_utf8_lossy(variable);
            Refusal::new(CANNOT_RUN, &format!("`{text}` is not NAME=VALUE"))
        })?;
        command.env(name, value);
    }
    command.current_dir(directory(request.start.directory.as_deref(), &account.home));
    Ok(command)
}

fn split(variable: &[u8]) -> Option<(OsString, OsString)> {
    let at = variable.iter().position(|byte| *byte == b'=')?;
    let own = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    (at > 0 && !variable.contains(&0)).then(|| (own(&variable[..at]), own(&variable[at + 1..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_directory_is_one_of_the_home() {
        for (wanted, home, expected) in [
            (None, "/etc", "/etc"),
            (None, "/no/such", "/"),
            (Some("src"), "/etc", "/etc/src"),
            (Some("src"), "/no/such", "/src"),
            (Some("/srv"), "/etc", "/srv"),
        ] {
            assert_eq!(
                directory(wanted, home),
                Path::new(expected),
                "{wanted:?} {home}"
            );
        }
    }
}
