//! The programs that banger runs: the daemon, ssh, and for `banger system` sudo and systemctl.
//! None of them goes through a shell.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use banger_api::{Code, Error, Result};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags};

use crate::connect::is_readable;

/// How long an ssh may take to end after its stream has ended.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// A daemon that is starting.
#[derive(Debug)]
pub(crate) struct StartingDaemon {
    /// Its process; its standard output is a pipe.
    pub(crate) child: Child,
    /// Its standard error: a memory file, because the daemon may write to it after this process
    /// has exited.
    pub(crate) stderr: File,
}

/// Finds the daemon's program: beside this one, else in `search` (`PATH`).
///
/// # Errors
/// It is in neither.
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

/// Starts the daemon, detached: it leaves this session and closes inherited files (`--detach`), and
/// its environment is `environment` only.
///
/// # Errors
/// The process cannot be started.
#[expect(
    clippy::disallowed_methods,
    reason = "the client starts the daemon; it has no host crate"
)]
pub(crate) fn start_bangerd(
    program: &Path,
    arguments: &[OsString],
    environment: &[(String, OsString)],
) -> Result<StartingDaemon> {
    let error = |cause: &dyn std::fmt::Display| {
        Error::new(Code::Host, format!("start `{}`", program.display())).cause(cause.to_string())
    };
    let memory: OwnedFd = rustix::fs::memfd_create("bangerd-stderr", MemfdFlags::CLOEXEC)
        .map_err(|cause| error(&cause))?;
    let stderr = File::from(memory);
    let child_stderr = stderr.try_clone().map_err(|cause| error(&cause))?;
    let child = Command::new(program)
        .args(["--detach", "--json"])
        .args(arguments)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(child_stderr)
        .spawn()
        .map_err(|cause| error(&cause))?;
    Ok(StartingDaemon { child, stderr })
}

/// The result of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProgramOutput {
    /// Whether its exit status was 0.
    pub(crate) done: bool,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error, unless that went to the user.
    pub(crate) stderr: String,
}

/// Whether a program may talk to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interaction {
    /// No: its standard error is captured, and its standard input is empty.
    Silent,
    /// Yes: `sudo` asks for a password.
    Interactive,
    /// No, and a ^C of the terminal is not for it either.
    Aside,
}

/// Finds a program in `search` (`PATH`), else in the system's directories, which an ordinary user's
/// `PATH` may lack.
pub(crate) fn find(search: Option<&OsStr>, name: &str) -> Option<PathBuf> {
    let system = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from);
    let searched = search.into_iter().flat_map(std::env::split_paths);
    searched
        .chain(system)
        .map(|directory| directory.join(name))
        .find(|path| path.is_absolute() && path.is_file())
}

/// Runs a program to its end. A failing exit status is not an error.
///
/// # Errors
/// The program cannot be started.
#[expect(
    clippy::disallowed_methods,
    reason = "the client has no host crate; it runs sudo and systemctl"
)]
pub(crate) fn run(
    program: &Path,
    arguments: &[OsString],
    environment: &[(&str, PathBuf)],
    interaction: Interaction,
) -> Result<ProgramOutput> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped());
    match interaction {
        Interaction::Silent => command.stdin(Stdio::null()).stderr(Stdio::piped()),
        Interaction::Aside => command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0),
        Interaction::Interactive => command.stdin(Stdio::inherit()).stderr(Stdio::inherit()),
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

/// Runs a program on the user's terminal to its end, and returns how it ended.
///
/// # Errors
/// The program cannot be started.
#[expect(
    clippy::disallowed_methods,
    reason = "the client starts the user's editor"
)]
pub(crate) fn attend(words: &[OsString]) -> Result<ExitStatus> {
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| Error::new(Code::Invalid, "there is no program to run"))?;
    Command::new(program)
        .args(arguments)
        .status()
        .map_err(|cause| cannot_run(program, &cause))
}

/// Starts a program that runs independently, such as a browser. Its output is dropped, and a ^C in
/// the terminal does not reach it.
///
/// # Errors
/// The program cannot be started.
#[expect(
    clippy::disallowed_methods,
    reason = "the client starts the user's browser"
)]
pub(crate) fn launch(program: &Path, arguments: &[OsString]) -> Result<()> {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map(drop)
        .map_err(|cause| cannot_run(program.as_os_str(), &cause))
}

/// The result of an ssh command.
#[derive(Debug)]
pub(crate) struct SshOutput {
    /// Its exit status; `None` if a signal ended it.
    pub(crate) status: Option<i32>,
    /// Its standard output.
    pub(crate) stdout: String,
}

/// Runs ssh to its end with `input` as standard input; its standard error goes to the user.
///
/// # Errors
/// ssh cannot be started.
pub(crate) fn feed_ssh(arguments: &[OsString], input: &[u8]) -> Result<SshOutput> {
    let program = OsStr::new("ssh");
    let mut child = ssh(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|cause| cannot_run(program, &cause))?;
    // The command prints only after reading everything, so writing first cannot deadlock. If ssh
    // exits early, it has printed the reason.
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

/// An ssh whose standard input and output are a stream of this process.
#[derive(Debug)]
pub(crate) struct SshProcess {
    child: Child,
    /// A memory file, because ssh's master would keep a pipe open in the background.
    stderr: File,
}

/// The end of an ssh.
#[derive(Debug)]
pub(crate) struct SshEnd {
    /// Its exit status; `None` if a signal ended it.
    pub(crate) status: Option<i32>,
    /// Its standard error, at most 64 KiB.
    pub(crate) stderr: String,
}

impl SshProcess {
    /// Waits for its end, and kills it after a time-out.
    pub(crate) fn end(mut self) -> SshEnd {
        if !ends_until(&self.child, Instant::now() + END_PATIENCE) {
            let _ = self.child.kill();
        }
        let status = self.child.wait().ok().and_then(|it| it.code());
        let mut text = vec![0; 64 << 10];
        let read = self.stderr.read_at(&mut text, 0).unwrap_or(0);
        SshEnd {
            status,
            stderr: String::from_utf8_lossy(&text[..read]).into_owned(),
        }
    }
}

/// Waits for a child; false at the deadline.
fn ends_until(child: &Child, deadline: Instant) -> bool {
    let id = Pid::from_child(child);
    let Ok(process) = rustix::process::pidfd_open(id, PidfdFlags::empty()) else {
        return false;
    };
    is_readable(&process, deadline.saturating_duration_since(Instant::now()))
}

/// Starts ssh with a new stream as its standard input and output.
///
/// # Errors
/// ssh cannot be started.
pub(crate) fn open_ssh(arguments: &[OsString]) -> Result<(SshProcess, UnixStream)> {
    let program = OsStr::new("ssh");
    let trouble = |cause: std::io::Error| cannot_run(program, &cause);
    let memory = rustix::fs::memfd_create("ssh-stderr", MemfdFlags::CLOEXEC);
    let stderr = File::from(memory.map_err(|cause| trouble(cause.into()))?);
    let (ours, theirs) = UnixStream::pair().map_err(trouble)?;
    let input = OwnedFd::from(theirs);
    let output = input.try_clone().map_err(trouble)?;
    let child = ssh(arguments)
        .stdin(input)
        .stdout(output)
        .stderr(stderr.try_clone().map_err(trouble)?)
        .spawn()
        .map_err(trouble)?;
    Ok((SshProcess { child, stderr }, ours))
}

/// Runs ssh without input and output; returns whether it exited with 0 before the deadline.
pub(crate) fn ask_ssh(arguments: &[OsString], deadline: Instant) -> bool {
    let child = ssh(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    if !ends_until(&child, deadline) {
        let _ = child.kill();
    }
    child.wait().is_ok_and(|status| status.success())
}

/// Makes an SSH key without a passphrase in `file`, and its public half in `file.pub`.
///
/// # Errors
/// ssh-keygen cannot be started, or fails.
pub(crate) fn make_ssh_key(file: &Path, comment: &str) -> Result<()> {
    let arguments: [OsString; 9] = [
        "-q".into(),
        "-t".into(),
        "ed25519".into(),
        "-N".into(),
        "".into(),
        "-C".into(),
        comment.into(),
        "-f".into(),
        file.into(),
    ];
    let ended = run(
        Path::new("ssh-keygen"),
        &arguments,
        &[],
        Interaction::Silent,
    )?;
    if ended.done {
        return Ok(());
    }
    Err(Error::new(
        Code::Host,
        format!("make an SSH key in `{}`", file.display()),
    )
    .cause(ended.stderr))
}

/// Replaces this process by ssh. Returns only on failure.
pub(crate) fn become_ssh(arguments: &[OsString]) -> Error {
    cannot_run(OsStr::new("ssh"), &ssh(arguments).exec())
}

/// ssh with these arguments. It runs local commands with `SHELL`, which is `nologin` for some
/// service users.
#[expect(
    clippy::disallowed_methods,
    reason = "the client becomes ssh; it has no host crate"
)]
fn ssh(arguments: &[OsString]) -> Command {
    let mut command = Command::new("ssh");
    command.args(arguments).env("SHELL", "/bin/sh");
    command
}

/// Replaces this process by `program`. Returns only on failure.
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
