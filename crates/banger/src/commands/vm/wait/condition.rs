//! The conditions of `banger vm wait`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use banger_api::client::{Client, Command, CommandEnd};
use banger_api::{Code, InvalidName, JobRef, JobState, JobView, Phase, Result, VmName, VmRef};
use serde::{Serialize, Serializer};

use super::super::job;

/// How long a command for a condition may run in the guest.
const COMMAND_TIME: Duration = Duration::from_secs(30);

/// A condition on a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands::vm) enum Condition {
    /// Its guest boots or is ready.
    Running,
    /// Its guest is ready.
    Ready,
    /// It is stopped.
    Stopped,
    /// Something listens on this TCP port.
    Port(u16),
    /// This path exists in the guest.
    File(String),
    /// This command of sh succeeds in the guest.
    Command(String),
    /// This job has ended.
    Job(JobRef),
}

/// The result of a check.
#[derive(Debug)]
pub(in crate::commands::vm) struct State {
    pub(super) name: VmName,
    pub(super) phase: Phase,
    pub(in crate::commands::vm) holds: bool,
    /// The job that was waited for, once it has ended.
    pub(super) job: Option<JobView>,
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let known =
            "running, ready, stopped, ssh, port:PORT, file:/PATH, job:JOB or command:COMMAND";
        Ok(match text.split_once(':') {
            None => match text {
                "running" => Self::Running,
                "ready" => Self::Ready,
                "stopped" => Self::Stopped,
                "ssh" => Self::Port(22),
                _ => return Err(format!("a condition is {known}")),
            },
            Some(("port", port)) => match port.parse() {
                Ok(port @ 1..) => Self::Port(port),
                Ok(0) | Err(_) => return Err("a port is a number from 1 to 65535".to_owned()),
            },
            Some(("file", path)) if path.starts_with('/') => Self::File(path.to_owned()),
            Some(("file", _)) => return Err("a file's path begins with a slash".to_owned()),
            Some(("command", command)) if !command.trim().is_empty() => {
                Self::Command(command.to_owned())
            }
            Some(("job", job)) => Self::Job(job.parse().map_err(|it: InvalidName| it.to_string())?),
            Some(("command", _)) => return Err("the command is missing".to_owned()),
            Some(_) => return Err(format!("a condition is {known}")),
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Ready => f.write_str("ready"),
            Self::Stopped => f.write_str("stopped"),
            Self::Port(port) => write!(f, "port:{port}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::Command(command) => write!(f, "command:{command}"),
            Self::Job(job) => write!(f, "job:{job}"),
        }
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Condition {
    /// Whether the condition holds now; false while the guest does not answer.
    ///
    /// # Errors
    /// The daemon's error, such as `not-found`.
    pub(super) fn examine(&self, daemon: &Client, vm: &VmRef) -> Result<State> {
        let view = daemon.show(vm)?;
        let runs = matches!(view.phase, Phase::Starting | Phase::Running);
        let mut job = None;
        let holds = match self {
            Self::Running => runs,
            Self::Ready => view.phase == Phase::Running,
            Self::Stopped => view.phase == Phase::Stopped,
            Self::Port(_) | Self::File(_) | Self::Command(_) => {
                runs && self.examine_guest(daemon, vm, view.phase)?
            }
            Self::Job(wanted) => {
                job = ended(daemon, vm, wanted)?;
                job.is_some()
            }
        };
        Ok(State {
            name: view.name,
            phase: view.phase,
            holds,
            job,
        })
    }

    /// Checks the condition in the guest of a VM that was in this phase.
    fn examine_guest(&self, daemon: &Client, vm: &VmRef, phase: Phase) -> Result<bool> {
        let answer = match self {
            Self::Port(port) => daemon.ports(vm).map(|ports| {
                let mut tcp = ports.iter().filter(|it| it.protocol == "tcp");
                tcp.any(|it| it.port == *port)
            }),
            Self::File(path) => succeeds(daemon, vm, &["test", "-e", path]),
            Self::Command(command) => succeeds(daemon, vm, &["sh", "-c", command]),
            Self::Running | Self::Ready | Self::Stopped | Self::Job(_) => Ok(false),
        };
        match answer {
            Err(error) if error.code == Code::Guest => Ok(false),
            // A changed phase means that the VM has ended; otherwise the error stands.
            Err(error) if error.code == Code::Conflict && daemon.show(vm)?.phase != phase => {
                Ok(false)
            }
            answer => answer,
        }
    }
}

/// The job, if it has ended. It is an error if the VM does not run, or has no such job, because
/// that would never change.
fn ended(daemon: &Client, vm: &VmRef, wanted: &JobRef) -> Result<Option<JobView>> {
    let jobs = daemon.jobs(vm)?;
    let Some(job) = job::find(&jobs, wanted) else {
        return Err(job::unknown(vm, wanted));
    };
    Ok((job.state != JobState::Running).then(|| job.clone()))
}

/// Whether a command exits with status 0. Its output is dropped.
fn succeeds(daemon: &Client, vm: &VmRef, words: &[&str]) -> Result<bool> {
    let command = Command {
        words,
        timeout: Some(COMMAND_TIME),
        ..Command::default()
    };
    match daemon.exec(vm)?.run(&command, |_, _| true) {
        Ok(end) => Ok(end == CommandEnd::Exit(0)),
        // The guest has ended, or does not answer yet.
        Err(error) if error.code == Code::Guest => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_and_written_alike() {
        for text in [
            "running",
            "ready",
            "stopped",
            "port:80",
            "file:/srv/a:b",
            "command:test -d /srv",
            "job:j3",
            "job:build",
        ] {
            assert_eq!(text.parse::<Condition>().unwrap().to_string(), text);
        }
        assert_eq!("ssh".parse(), Ok(Condition::Port(22)));
        for text in [
            "",
            "up",
            "port:0",
            "port:x",
            "file:x",
            "command: ",
            "job:",
            "job:a b",
            "x:y",
        ] {
            text.parse::<Condition>().unwrap_err();
        }
    }
}
