//! Runs programs of the image in the image's own tree, before the image's init runs.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::fs::{Mode, OFlags};

use super::console;

/// A shell's status for a program that it cannot run.
const NOT_FOUND: u8 = 127;

/// A program to run inside the guest.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the guest; the host crate is not here"
)]
pub(crate) fn program(path: impl AsRef<Path>) -> Command {
    Command::new(path.as_ref())
}

/// This program, to run in another role; its file may be removed.
pub(crate) fn ourselves() -> Command {
    program("/proc/self/exe")
}

/// A program of the tree at `root`, to run with that tree as its root.
pub(crate) fn inside(root: &str, path: &str) -> Command {
    let mut command = ourselves();
    command.args(["enter", root, path]);
    command
}

fn change_root(root: &str) -> rustix::io::Result<()> {
    rustix::process::chdir(root)?;
    rustix::process::chroot(".")
}

/// Becomes a program of the tree at `root`.
pub(crate) fn enter(root: &str, path: &str, arguments: &[&str]) -> ExitCode {
    if let Err(cause) = change_root(root) {
        console::warn(&format!("enter `{root}`: {cause}"));
        return ExitCode::from(NOT_FOUND);
    }
    let cause = program(path).args(arguments).exec();
    console::warn(&format!("run `{path}`: {cause}"));
    ExitCode::from(NOT_FOUND)
}

/// Accepts the daemon's streams inside the tree at `root`, until this process is ended.
pub(crate) fn streams(root: &str) -> ExitCode {
    if let Err(cause) = change_root(root) {
        console::warn(&format!("enter `{root}`: {cause}"));
        return ExitCode::from(NOT_FOUND);
    }
    // Like the agent's; its commands do not inherit it.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-900");
    crate::agent::streams::serve();
    ExitCode::SUCCESS
}

/// The terminal behind the console: unlike `/dev/console`, it supports job control.
fn terminal() -> String {
    let active = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let last = active.split_whitespace().last().unwrap_or("console");
    format!("/dev/{last}")
}

/// Becomes a shell of the tree at `root`, on the console.
pub(crate) fn shell(root: &str) -> ExitCode {
    let terminal = terminal();
    let opened = rustix::process::setsid().and_then(|_| {
        let file = rustix::fs::open(&terminal, OFlags::RDWR, Mode::empty())?;
        // A terminal without job control can still be typed on.
        let _ = rustix::process::ioctl_tiocsctty(&file);
        rustix::stdio::dup2_stdin(&file)?;
        rustix::stdio::dup2_stdout(&file)?;
        rustix::stdio::dup2_stderr(&file)
    });
    if let Err(cause) = opened {
        console::warn(&format!("open `{terminal}`: {cause}"));
    }
    enter(root, "/bin/sh", &["-l"])
}
