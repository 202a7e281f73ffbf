//! Programs of the image: how they are run before the image's init does, in the image's own tree.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::fs::{Mode, OFlags};

use super::console;

/// What a program that could not be run ends with, as a shell would have it.
const NOT_FOUND: u8 = 127;

/// A program to run inside the guest.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the guest; the host crate is not here"
)]
pub(crate) fn program(path: impl AsRef<Path>) -> Command {
    Command::new(path.as_ref())
}

/// Our own program, to be run again as something else; the file itself may be gone.
pub(crate) fn ourselves() -> Command {
    program("/proc/self/exe")
}

/// A program of the tree at `root`, to be run with that tree as its root.
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

/// Takes the daemon's streams inside the tree at `root`, until somebody ends this process.
pub(crate) fn streams(root: &str) -> ExitCode {
    if let Err(cause) = change_root(root) {
        console::warn(&format!("enter `{root}`: {cause}"));
        return ExitCode::from(NOT_FOUND);
    }
    // As the agent; its commands are not.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-900");
    crate::agent::streams::serve();
    ExitCode::SUCCESS
}

/// The terminal behind the console, which, unlike `/dev/console`, can be one for job control.
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
        // A terminal without job control is still one to type on.
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
