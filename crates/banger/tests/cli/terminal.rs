//! A program on a pseudo-terminal of its own (pty(7)).

use std::fs::File;
use std::process::{Child, Command, Stdio};

use crate::environment::TestEnvironment;
use crate::pty;

/// Starts the command with the environment's variables and these, as the leader of a session with a
/// new controlling terminal. Returns the process and the terminal's master.
pub(crate) fn start(
    environment: &TestEnvironment,
    words: &[&str],
    size: Option<(u16, u16)>,
    variables: &[(&str, &str)],
) -> (Child, File) {
    let (master, terminal) = pty::open(size);
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
    (child, master)
}
