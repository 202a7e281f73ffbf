//! Commands in a running guest, as root: over SSH, with the VM's pinned host key.
//!
//! A script and its input go through one pipe, the script first, so that a script does not appear
//! in the host's process list.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use banger_api::{Code, Error, VmView, harmless};
use banger_host::Sim;
use banger_host::command::Command;

use crate::error::{During, Result};

/// The number of a script's last lines in an error.
const LAST_LINES: usize = 8;

/// The maximum length of a line, in characters; the rest is dropped.
const LONGEST_LINE: usize = 500;

/// The maximum that one script adds to a log, in bytes.
const LARGEST_LOG: usize = 4 << 20;

/// The status of ssh(1) if the connection failed.
const NO_CONNECTION: i32 = 255;

/// A script for `sh`.
#[derive(Debug, Clone, Copy)]
pub struct Script<'a> {
    /// Its title in the log.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
    /// The file on the host that is its standard input; empty without one.
    pub input: Option<&'a Path>,
    /// Its time limit.
    pub patience: Duration,
}

/// Runs scripts in guests.
pub trait Shell: std::fmt::Debug + Send + Sync {
    /// Runs a script, and appends its output to the file `log`.
    ///
    /// # Errors
    /// `guest` for a status other than 0 or a timeout, with the last lines of the output; `host` if
    /// the log cannot be written.
    fn run(&self, vm: &VmView, script: Script<'_>, log: &Path) -> Result<()>;
}

/// The shell of real guests.
#[derive(Debug)]
pub(crate) struct SshShell;

impl Shell for SshShell {
    fn run(&self, vm: &VmView, script: Script<'_>, log: &Path) -> Result<()> {
        let command = command(vm, script)?;
        let mut transcript = Transcript::open(log)?;
        transcript.begin(script.name);
        let status = command
            .stream(|line| transcript.hear(line))
            .map_err(|error| transcript.failure(error.to_string()))?;
        if status.success() {
            return Ok(());
        }
        Err(transcript.failure(match status.code() {
            Some(NO_CONNECTION) => "the connection to the VM was lost".to_owned(),
            Some(code) => format!("it ended with status {code}"),
            None => format!("ssh ended as {status}"),
        }))
    }
}

fn command(vm: &VmView, script: Script<'_>) -> Result<Command> {
    let Some(ssh) = &vm.ssh else {
        return Err(Error::new(Code::Guest, "the VM is not running"));
    };
    let mut command = Command::new("ssh").args(["-F", "none", "-T"]);
    for (keyword, value) in ssh.options() {
        command = command.args(["-o".to_owned(), format!("{keyword}={value}")]);
    }
    for option in [
        "BatchMode=yes",
        "LogLevel=ERROR",
        "ConnectTimeout=45",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=8",
    ] {
        command = command.args(["-o", option]);
    }
    let length = script.text.len();
    let command = command
        .args(["-p".to_owned(), ssh.port.to_string()])
        .arg(format!("{}@{}", ssh.user, ssh.host))
        // head(1) reads exactly these bytes; the rest is the script's own input.
        .arg(format!(
            "cd / && script=$(head -c {length}) && exec sh -c \"$script\""
        ))
        .stdin(script.text)
        .patience(script.patience);
    Ok(match script.input {
        Some(input) => command.input_file(input),
        None => command,
    })
}

/// The output of a script: a log, and its last lines.
struct Transcript {
    log: File,
    room: usize,
    last: VecDeque<String>,
}

impl Transcript {
    fn open(path: &Path) -> Result<Self> {
        let log = File::options().append(true).open(path);
        let log = log.map_err(|cause| {
            let what = format!("open `{}`", path.display());
            Error::new(Code::Host, what).cause(cause.to_string())
        })?;
        let (room, last) = (LARGEST_LOG, VecDeque::new());
        Ok(Self { log, room, last })
    }

    fn begin(&mut self, name: &str) {
        let _ = writeln!(self.log, "==> {name}");
    }

    /// Adds a line. It comes from a guest, so it is escaped. A failed write to the log does not end
    /// the script.
    fn hear(&mut self, line: &str) {
        // Only the last version of a line that a program overwrites is kept.
        let line = line.rsplit('\r').next().unwrap_or_default();
        let line: String = harmless::visible(line).chars().take(LONGEST_LINE).collect();
        if let Some(room) = self.room.checked_sub(line.len() + 1) {
            self.room = room;
            let _ = writeln!(self.log, "{line}");
        } else if self.room > 0 {
            self.room = 0;
            let _ = writeln!(self.log, "… the rest is omitted");
        }
        if line.trim().is_empty() {
            return;
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    fn failure(&mut self, what: String) -> Error {
        let _ = writeln!(self.log, "{what}");
        let error = Error::new(Code::Guest, what);
        let last: Vec<String> = self.last.drain(..).collect();
        match &*last {
            [] => error,
            lines => error.cause(lines.join("; ")),
        }
    }
}

/// A simulated guest: a script succeeds unless it contains `exit 1`.
#[derive(Debug)]
pub(crate) struct SimulatedShell {
    sim: Sim,
}

impl SimulatedShell {
    /// A shell for the guests of this simulated host.
    #[must_use]
    pub(crate) fn new(sim: Sim) -> Self {
        Self { sim }
    }
}

impl Shell for SimulatedShell {
    fn run(&self, _vm: &VmView, script: Script<'_>, log: &Path) -> Result<()> {
        use banger_host::Look as _;
        self.sim.read(log).during("read the log")?;
        self.sim
            .append(log, &format!("==> {}\n{}\n", script.name, script.text));
        if script.text.contains("exit 1") {
            return Err(Error::new(Code::Guest, "it ended with status 1"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_a_guest_is_escaped_and_an_error_has_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "before\n").unwrap();
        let mut transcript = Transcript::open(&path).unwrap();
        transcript.hear("10%\r20%\rdone");
        transcript.hear("\u{1b}[2Jgone");
        transcript.hear("");
        for number in 0..LAST_LINES {
            transcript.hear(&format!("line {number}"));
        }
        let error = transcript.failure("it ended with status 3".to_owned());
        let log = std::fs::read_to_string(&path).unwrap();
        assert!(log.starts_with("before\ndone\n"), "{log}");
        assert!(
            !log.contains('\u{1b}') && log.ends_with("status 3\n"),
            "{log}"
        );
        let text = error.to_string();
        assert!(
            text.contains("line 0; line 1") && !text.contains("gone"),
            "{text}"
        );
    }

    #[test]
    fn a_log_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "").unwrap();
        let mut transcript = Transcript::open(&path).unwrap();
        transcript.room = 10;
        for _ in 0..5 {
            transcript.hear("12345");
        }
        let log = std::fs::read_to_string(&path).unwrap();
        assert_eq!(log, "12345\n… the rest is omitted\n");
    }
}
