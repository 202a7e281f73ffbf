//! A program on a pseudo-terminal of its own (pty(7)).

use std::fs::File;
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::environment::TestEnvironment;

/// Starts the command with the environment's variables and these, as the leader of a session with a
/// new controlling terminal. Returns the process and the terminal's master.
pub(crate) fn start(
    environment: &TestEnvironment,
    words: &[&str],
    size: Option<Winsize>,
    variables: &[(&str, &str)],
) -> (Child, File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    if let Some(size) = size {
        tcsetwinsize(&master, size).unwrap();
    }
    let name = ptsname(&master, Vec::new()).unwrap();
    let mut options = File::options();
    let terminal = options.read(true).write(true);
    let terminal = terminal.open(name.to_str().unwrap()).unwrap();
    let environment_of = environment.command(&[]);
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).args(words).env_clear();
    for (variable, value) in environment_of.get_envs() {
        command.env(variable, value.unwrap_or_default());
    }
    let child = command
        .envs(variables.iter().copied())
        .current_dir(environment.path(""))
        .stdin(terminal.try_clone().unwrap())
        .stdout(terminal.try_clone().unwrap())
        .stderr(Stdio::from(terminal))
        .spawn()
        .unwrap();
    (child, File::from(master))
}
