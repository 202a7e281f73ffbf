//! One command of `banger vm ssh`, between sshd and the command itself.
//!
//! sshd starts a command without a terminal and does not supervise it. Two properties are missing
//! that users expect from a terminal: a command whose connection is lost gets a hangup, and a
//! command that a signal ended reports the signal. This process stays beside the command and adds
//! both.
//!
//! When sshd's process for the connection ends, the command's process group gets `SIGCONT` and
//! `SIGHUP`, as from the kernel when a terminal is closed. A command that ignores `SIGHUP`
//! (`nohup`) or has a session of its own (`setsid`, a unit) keeps running.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getppid, getrlimit, pidfd_open, setrlimit,
};

use crate::system::enter::program;
use crate::system::raw::block_endings;

/// The name that selects this role of the program.
pub(crate) const NAME: &str = "banger-session";

/// The variable with the command's line. As an argument of this process, a `pgrep -f` for the
/// command would find it here as well.
const LINE: &str = "BANGER_COMMAND";

/// A shell's status for a command that it cannot run, and for one that it cannot find.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// The number that a shell adds to that of the signal that ended a command.
const SIGNALLED: i32 = 128;

/// The divisor of the stack limit that yields the kernel's limit for arguments and environment.
const STACK_SHARE: u64 = 4;
/// The size beside the arguments themselves: a pointer for each, and the environment.
const BESIDE_ARGUMENTS: u64 = 256 << 10;
const POINTER: u64 = 8;

/// Runs the line in `BANGER_COMMAND` with the user's shell, or the command in `-f FILE`, and
/// returns its status.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    let command = match (arguments, variable(LINE)) {
        ([option, file], _) if option == "-f" => from_file(Path::new(file)),
        ([], Some(line)) => Ok(shell(&line)),
        _ => Err(format!("usage: {LINE}=LINE {NAME}, or {NAME} -f FILE")),
    };
    match command {
        Ok(command) => ExitCode::from(watch(command)),
        Err(text) => {
            complain(&text);
            ExitCode::from(CANNOT_RUN)
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "sshd hands the shell over in the environment, and the client the command"
)]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The line's command, built as sshd itself would do it.
fn shell(line: &OsStr) -> Command {
    let shell = variable("SHELL").filter(|it| Path::new(it).is_absolute());
    let shell = shell.unwrap_or_else(|| "/bin/sh".into());
    let mut command = program(Path::new(&shell));
    if let Some(name) = Path::new(&shell).file_name() {
        command.arg0(name);
    }
    command.arg("-c").arg(line).env_remove(LINE);
    command
}

/// A command too long for a line, from its words in a file, each with a terminating zero. The file
/// is removed at once.
fn from_file(path: &Path) -> Result<Command, String> {
    let map_io_error =
        |cause: std::io::Error| format!("read the command in `{}`: {cause}", path.display());
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(map_io_error)?;
    std::fs::remove_file(path).map_err(map_io_error)?;
    file.read_to_end(&mut bytes).map_err(map_io_error)?;
    let words = words(&bytes).ok_or("the command arrived incomplete")?;
    let (name, rest) = words.split_first().ok_or("there is no command")?;
    make_room(bytes.len() as u64 + POINTER * words.len() as u64);
    let mut command = program(Path::new(name));
    command.args(rest);
    Ok(command)
}

/// The words in a file; `None` if the last one is incomplete.
fn words(bytes: &[u8]) -> Option<Vec<&OsStr>> {
    let rest = bytes.strip_suffix(b"\0")?;
    Some(
        rest.split(|byte| *byte == 0)
            .map(OsStr::from_bytes)
            .collect(),
    )
}

/// Raises the stack limit if the arguments would not fit otherwise; they did fit where they were
/// typed.
pub(crate) fn make_room(size: u64) {
    let wanted = STACK_SHARE * (size + BESIDE_ARGUMENTS);
    let limit = getrlimit(Resource::Stack);
    if limit.current.is_some_and(|current| current < wanted) {
        let current = limit.maximum.map_or(wanted, |most| most.min(wanted));
        // If the limit stays, the command fails with a reason.
        let _ = setrlimit(
            Resource::Stack,
            Rlimit {
                current: Some(current),
                maximum: limit.maximum,
            },
        );
    }
}

/// Runs the command until it ends, or the connection does.
fn watch(mut command: Command) -> u8 {
    let parent = getppid();
    // The pidfd is opened before the command starts, so that a connection that ends meanwhile is
    // noticed below.
    let connection = parent.and_then(|it| pidfd_open(it, PidfdFlags::empty()).ok());
    // The keys of a terminal, and its hangup, are for the command only.
    block_endings(&mut command);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(cause) => return refused(&command, &cause),
    };
    leave_streams();
    let is_gone = parent == Some(Pid::INIT) || getppid() != parent;
    let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
    let is_cut = match (connection, ended) {
        (Some(connection), Ok(ended)) if !is_gone => !ends_first(&ended, &connection),
        _ => is_gone,
    };
    if is_cut {
        hang_up();
        return status(ExitStatus::from_raw(Signal::HUP.as_raw()));
    }
    wait(&mut child)
}

/// Closes this process's copies of the streams, so that only the command holds them open.
fn leave_streams() {
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// Waits, and returns whether the command ends before the connection does.
fn ends_first(command: &OwnedFd, connection: &OwnedFd) -> bool {
    loop {
        let mut both = [
            PollFd::new(command, PollFlags::IN),
            PollFd::new(connection, PollFlags::IN),
        ];
        match poll(&mut both, None) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) if both[0].revents().is_empty() && !both[1].revents().is_empty() => return false,
            _ => return true,
        }
    }
}

/// Sends the signals of a closed terminal. They are blocked here, so they reach every process of
/// the group but this one.
fn hang_up() {
    for signal in [Signal::CONT, Signal::HUP] {
        let _ = rustix::process::kill_current_process_group(signal);
    }
}

fn wait(child: &mut Child) -> u8 {
    child.wait().map_or(CANNOT_RUN, status)
}

/// The status of a command, in the form that a shell uses.
fn status(ended: ExitStatus) -> u8 {
    let signalled = ended.signal().map(|signal| SIGNALLED + signal);
    let status = ended.code().or(signalled).unwrap_or(i32::from(CANNOT_RUN));
    u8::try_from(status).unwrap_or(u8::MAX)
}

fn refused(command: &Command, cause: &std::io::Error) -> u8 {
    let name = command.get_program().to_string_lossy();
    if cause.kind() == ErrorKind::NotFound {
        complain(&format!("{name}: command not found"));
        return NOT_FOUND;
    }
    complain(&format!("{name}: {cause}"));
    CANNOT_RUN
}

fn complain(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{NAME}: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_reported_as_in_a_shell() {
        assert_eq!(status(ExitStatus::from_raw(0)), 0);
        assert_eq!(status(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(status(ExitStatus::from_raw(Signal::KILL.as_raw())), 137);
        assert_eq!(status(ExitStatus::from_raw(Signal::TERM.as_raw())), 143);
    }

    #[test]
    fn words_come_back_whole_or_not_at_all() {
        let read = |bytes: &'static [u8]| words(bytes);
        assert_eq!(
            read(b"a b\0\0c\0"),
            Some(vec![OsStr::new("a b"), OsStr::new(""), OsStr::new("c")])
        );
        assert_eq!(read(b"a\0cut off"), None);
        assert_eq!(read(b""), None);
    }
}
