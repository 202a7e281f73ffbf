//! The programs that banger starts: the daemon, ssh, and what `banger system` asks for: sudo and
//! systemd's. Nothing goes through a shell.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use banger_api::{Code, Error, Result};
use rustix::fs::MemfdFlags;

/// A daemon that was just started and has not said how it stands.
#[derive(Debug)]
pub(crate) struct Started {
    /// Its process, with a pipe from its standard output.
    pub(crate) child: Child,
    /// What it writes to standard error. In memory, not in a pipe: the daemon may write there
    /// long after we are gone.
    pub(crate) complaints: File,
}

/// Finds the daemon's program: beside our own, else in `search` (`PATH`).
///
/// # Errors
/// When it is in neither.
pub(crate) fn find_bangerd(search: Option<&OsStr>) -> Result<PathBuf> {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent);
    let elsewhere = search.into_iter().flat_map(std::env::split_paths);
    beside
        .map(Path::to_owned)
        .into_iter()
        .chain(elsewhere)
        .map(|directory| directory.join("bangerd"))
        .find(|path| path.is_absolute() && path.is_file())
        .ok_or_else(|| {
            let place = beside.map_or("banger".into(), |path| path.display().to_string());
            Error::new(
                Code::NotReady,
                format!("the daemon's program, `bangerd`, is neither in `{place}` nor in PATH"),
            )
            .hint("build and install both programs: cargo build --release -p banger -p bangerd")
        })
}

/// Starts the daemon, so that it keeps nothing of ours: it leaves our session, files and limits by
/// itself (`--detach`), and has this environment only.
///
/// # Errors
/// When no process can be had.
#[expect(
    clippy::disallowed_methods,
    reason = "the client starts the daemon; it has no host crate"
)]
pub(crate) fn start_bangerd(
    program: &Path,
    arguments: &[OsString],
    environment: &[(String, OsString)],
) -> Result<Started> {
    let trouble = |cause: &dyn std::fmt::Display| {
        Error::new(Code::Host, format!("start `{}`", program.display())).cause(cause.to_string())
    };
    let memory: OwnedFd = rustix::fs::memfd_create("bangerd-stderr", MemfdFlags::CLOEXEC)
        .map_err(|cause| trouble(&cause))?;
    let complaints = File::from(memory);
    let writing = complaints.try_clone().map_err(|cause| trouble(&cause))?;
    let child = Command::new(program)
        .args(["--detach", "--json"])
        .args(arguments)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(writing)
        .spawn()
        .map_err(|cause| trouble(&cause))?;
    Ok(Started { child, complaints })
}

/// A program that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProgramOutput {
    /// Whether its exit status was 0.
    pub(crate) done: bool,
    /// What it wrote to standard output.
    pub(crate) stdout: String,
    /// What it wrote to standard error, unless that went to the user.
    pub(crate) stderr: String,
}

/// What a program may say to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// Nothing; it asks nothing either.
    Nothing,
    /// Its standard error, and its questions: `sudo` asks for a password.
    All,
}

/// Finds a program in `search` (`PATH`), or in the system's own directories, which the `PATH` of an
/// ordinary user may lack.
pub(crate) fn find(search: Option<&OsStr>, name: &str) -> Option<PathBuf> {
    let system = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from);
    let searched = search.into_iter().flat_map(std::env::split_paths);
    searched
        .chain(system)
        .map(|directory| directory.join(name))
        .find(|path| path.is_absolute() && path.is_file())
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot be started; how it ended is in what is returned.
#[expect(
    clippy::disallowed_methods,
    reason = "the client has no host crate; it asks sudo and systemctl"
)]
pub(crate) fn run(
    program: &Path,
    arguments: &[OsString],
    environment: &[(&str, PathBuf)],
    says: Verbosity,
) -> Result<ProgramOutput> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped());
    match says {
        Verbosity::Nothing => command.stdin(Stdio::null()).stderr(Stdio::piped()),
        Verbosity::All => command.stdin(Stdio::inherit()).stderr(Stdio::inherit()),
    };
    let output = command
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .map_err(|cause| {
            Error::new(Code::Host, format!("run `{}`", program.display())).cause(cause.to_string())
        })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(ProgramOutput {
        done: output.status.success(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    })
}

/// Runs a program that has the user's terminal, to its end; whether its exit status was 0.
///
/// # Errors
/// When it cannot be started.
#[expect(
    clippy::disallowed_methods,
    reason = "the client starts the user's editor"
)]
pub(crate) fn attend(words: &[OsString]) -> Result<bool> {
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| Error::new(Code::Invalid, "there is no program to run"))?;
    Command::new(program)
        .args(arguments)
        .status()
        .map(|status| status.success())
        .map_err(|cause| cannot_run(program, &cause))
}

/// What a program that was fed came to.
#[derive(Debug)]
pub(crate) struct SshOutput {
    /// Its exit status; none where a signal ended it.
    pub(crate) status: Option<i32>,
    /// What it wrote to standard output.
    pub(crate) stdout: String,
}

/// Runs ssh to its end with these bytes to read; what it complains of goes to the user.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn feed_ssh(arguments: &[OsString], input: &[u8]) -> Result<SshOutput> {
    let program = OsStr::new("ssh");
    let mut child = ssh(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|cause| cannot_run(program, &cause))?;
    // It answers when it has read all of it, so nothing has to be read meanwhile. One that ends
    // before has said why.
    if let Some(mut pipe) = child.stdin.take() {
        let _ = pipe.write_all(input);
    }
    let output = child
        .wait_with_output()
        .map_err(|cause| cannot_run(program, &cause))?;
    Ok(SshOutput {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
    })
}

/// Becomes ssh. Returns only when that cannot be.
pub(crate) fn become_ssh(arguments: &[OsString]) -> Error {
    cannot_run(OsStr::new("ssh"), &ssh(arguments).exec())
}

/// ssh with these arguments. What it runs on this side goes through `SHELL`, which for a service's
/// user may be a program that refuses to log in.
#[expect(
    clippy::disallowed_methods,
    reason = "the client becomes ssh; it has no host crate"
)]
fn ssh(arguments: &[OsString]) -> Command {
    let mut command = Command::new("ssh");
    command.args(arguments).env("SHELL", "/bin/sh");
    command
}

/// Becomes this program. Returns only when that cannot be.
#[expect(clippy::disallowed_methods, reason = "the client becomes bangerd")]
pub(crate) fn become_program(program: &OsStr, arguments: &[OsString]) -> Error {
    let cause = Command::new(program).args(arguments).exec();
    cannot_run(program, &cause)
}

fn cannot_run(program: &OsStr, cause: &std::io::Error) -> Error {
    let error =
        Error::new(Code::NotReady, format!("run `{}`", program.display())).cause(cause.to_string());
    if cause.kind() == std::io::ErrorKind::NotFound && program.as_bytes() == b"ssh" {
        return error.hint("sudo apt-get install openssh-client");
    }
    error
}
