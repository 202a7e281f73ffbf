//! `banger vm jobs`.

use std::ffi::OsString;
use std::process::ExitCode;

use banger_api::{JobView, PruneJobs};
use clap::Args;
use jiff::Timestamp;

use super::super::VmArgument;
use super::state;
use crate::age::{since, took};
use crate::columns::columns;
use crate::failure::Outcome;
use crate::output::clean;
use crate::quote;
use crate::session::Session;

/// List the jobs of a VM: commands that `banger vm exec --detach` has started.
///
/// A job that has ended stays listed, with its output, until it is removed or the guest reboots; of ended jobs the 64 latest are kept. With --quiet only the ids are printed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm jobs calm-otter
  banger vm jobs calm-otter --json
  banger vm jobs calm-otter --prune")]
pub(crate) struct Jobs {
    #[command(flatten)]
    one: VmArgument,

    /// Remove all jobs that have ended, and list those.
    #[arg(long)]
    prune: bool,
}

impl Jobs {
    /// Prints them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let daemon = session.daemon()?;
        let jobs = if self.prune {
            daemon.prune_jobs(&self.one.name, &PruneJobs::default())?
        } else {
            daemon.jobs(&self.one.name)?
        };
        if session.output.quiet && !session.output.json {
            if !jobs.is_empty() {
                let ids: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
                session.output.text(&ids.join("\n"))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        if jobs.is_empty() && !session.output.json {
            session.output.note(if self.prune {
                "no job has ended"
            } else {
                "the VM has no jobs"
            });
            return Ok(ExitCode::SUCCESS);
        }
        session
            .output
            .result(&jobs, || table(&jobs, Timestamp::now()))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn table(jobs: &[JobView], now: Timestamp) -> String {
    let head = ["ID", "NAME", "STATE", "STARTED", "DURATION", "COMMAND"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    for job in jobs {
        let words: Vec<OsString> = job.command.iter().map(OsString::from).collect();
        let command = if words.is_empty() {
            "(login shell)".to_owned()
        } else {
            clean(&quote::readable(&words)).replace('\n', "\\n")
        };
        rows.push(vec![
            job.id.to_string(),
            job.name
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            state(job),
            format!("{} ago", since(job.started, now)),
            took(job.seconds),
            shortened(&command),
        ]);
    }
    columns(&rows, |_, _, _| None)
}

/// A command shortened to one line; JSON has more of it.
fn shortened(command: &str) -> String {
    const MOST: usize = 60;
    if command.chars().count() <= MOST {
        return command.to_owned();
    }
    let cut: String = command.chars().take(MOST - 1).collect();
    cut + "…"
}

#[cfg(test)]
mod tests {
    use banger_api::JobState;

    use super::*;

    #[test]
    fn a_line_shows_how_a_job_is() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let job = |id: &str, state, status, signal| JobView {
            id: id.parse().unwrap(),
            name: (id == "j2").then(|| "web".parse().unwrap()),
            command: vec!["sh".to_owned(), "-c".to_owned(), "a\nb".to_owned()],
            user: "root".to_owned(),
            pid: 7,
            started: Timestamp::from_second(999_940).unwrap(),
            seconds: 12.0,
            state,
            status,
            signal,
            terminal: false,
            input: false,
            oom_killed: signal.map(|_| true),
        };
        let jobs = [
            job("j1", JobState::Exited, Some(7), None),
            job("j2", JobState::Killed, Some(137), Some(9)),
            job("j3", JobState::Running, None, None),
        ];
        assert_eq!(
            table(&jobs, now),
            "ID  NAME  STATE                          STARTED  DURATION  COMMAND\n\
             j1        exited 7                       1m ago   12.0 s    sh -c 'a\\nb'\n\
             j2  web   killed by KILL, out of memory  1m ago   12.0 s    sh -c 'a\\nb'\n\
             j3        running                        1m ago   12.0 s    sh -c 'a\\nb'\n"
        );
        assert_eq!(shortened(&"x".repeat(61)).chars().count(), 60);
    }
}
