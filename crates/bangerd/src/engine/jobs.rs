//! Jobs: commands in a guest that outlive their caller. The guest keeps them; the daemon passes on
//! requests, and has no state of jobs.

use std::os::unix::net::UnixStream;

use banger_api::{
    Code, Error, JobRef, JobState, JobView, KillJob, PruneJobs, RemoveJob, SignalName, VmRef,
};
use banger_guest::protocol::encode;
use banger_guest::streams::{
    Job, JobAsk, JobName, JobReply, JobState as GuestState, MOST_ENDED_JOBS, MOST_JOBS, StreamKind,
};
use jiff::Timestamp;

use super::inside::{PATIENCE, PROMPT, plain};
use super::{Engine, ProgressSink};
use crate::error::Result;
use crate::vm::Vm;

/// The maximum number of jobs in an answer; a guest keeps fewer.
const MOST_SHOWN: usize = 2 * (MOST_JOBS + MOST_ENDED_JOBS);

/// The maximum number of words of a command in an answer, and of letters in each.
const MOST_WORDS: usize = 1100;
const LONGEST_WORD: usize = 256;

impl Engine {
    /// Opens a stream that starts one job; `docs/exec.md` describes its frames.
    ///
    /// # Errors
    /// `conflict` if the VM does not run, `guest` if the guest does not answer or does not support
    /// jobs.
    pub fn detach(&self, wanted: &VmRef) -> Result<UnixStream> {
        let vm = self.find(wanted)?.vm();
        let stream = self.open_stream(&vm, StreamKind::Detach, &[], PATIENCE)?;
        tracing::info!(vm = %vm.name, "a job begins");
        Ok(stream)
    }

    /// Opens a stream to a job's output and input. If there is no such job, the guest refuses on
    /// the stream.
    ///
    /// # Errors
    /// Those of [`Engine::detach`].
    pub fn attach(&self, wanted: &VmRef, job: &JobRef) -> Result<UnixStream> {
        let vm = self.find(wanted)?.vm();
        let name = encode(&JobName {
            job: job.to_string(),
        });
        self.open_stream(&vm, StreamKind::Attach, &name, PATIENCE)
    }

    /// The guest's jobs, in the order of their start.
    ///
    /// # Errors
    /// Those of [`Engine::detach`].
    pub fn jobs(&self, wanted: &VmRef) -> Result<Vec<JobView>> {
        let vm = self.find(wanted)?.vm();
        let jobs: Vec<Job> = self.ask_stream(&vm, StreamKind::Jobs, &[], PROMPT)?;
        Ok(views(jobs))
    }

    /// Sends a signal to a job's process group. Returns the job before it.
    ///
    /// # Errors
    /// Those of [`Engine::detach`]; `not-found` if there is no such job, `conflict` if it has
    /// ended.
    pub fn kill_job(&self, wanted: &VmRef, job: &JobRef, request: &KillJob) -> Result<JobView> {
        let ask = JobAsk::Signal {
            job: job.to_string(),
            number: number(request.signal.unwrap_or(SignalName::Term)),
        };
        self.ask_of_job(wanted, job, &ask)
    }

    /// Forgets an ended job and its output. Returns its last state.
    ///
    /// # Errors
    /// Those of [`Engine::kill_job`], with `conflict` if it runs and `force` is not set.
    pub fn remove_job(&self, wanted: &VmRef, job: &JobRef, request: &RemoveJob) -> Result<JobView> {
        let ask = JobAsk::Remove {
            job: job.to_string(),
            force: request.force,
        };
        self.ask_of_job(wanted, job, &ask)
    }

    /// Forgets all ended jobs. Returns them.
    ///
    /// # Errors
    /// Those of [`Engine::detach`].
    pub fn prune_jobs(
        &self,
        wanted: &VmRef,
        _request: &PruneJobs,
        _progress: ProgressSink<'_>,
    ) -> Result<Vec<JobView>> {
        let vm = self.find(wanted)?.vm();
        match self.ask_about_jobs(&vm, &JobAsk::Prune)? {
            JobReply::Done(jobs) => Ok(views(jobs)),
            JobReply::Unknown => Ok(Vec::new()),
            JobReply::Refused(reason) => Err(Error::new(Code::Guest, plain(&reason))),
        }
    }

    fn ask_of_job(&self, wanted: &VmRef, job: &JobRef, ask: &JobAsk) -> Result<JobView> {
        let vm = self.find(wanted)?.vm();
        let name = &vm.name;
        let unknown = || {
            Error::new(Code::NotFound, format!("`{name}` has no job `{job}`"))
                .hint(format!("list its jobs: banger vm jobs {name}"))
        };
        match self.ask_about_jobs(&vm, ask)? {
            JobReply::Done(jobs) => views(jobs).pop().ok_or_else(unknown),
            JobReply::Unknown => Err(unknown()),
            JobReply::Refused(reason) => {
                let error = Error::new(Code::Conflict, plain(&reason));
                Err(match ask {
                    JobAsk::Remove { force: false, .. } => {
                        error.hint(format!("end it first: banger vm job kill {name} {job}"))
                    }
                    _ => error,
                })
            }
        }
    }

    fn ask_about_jobs(&self, vm: &Vm, ask: &JobAsk) -> Result<JobReply> {
        // A job that is killed first may take a while to end.
        self.ask_stream(vm, StreamKind::Job, &encode(ask), PATIENCE)
    }
}

/// The valid jobs of a guest's report.
fn views(jobs: Vec<Job>) -> Vec<JobView> {
    jobs.into_iter().take(MOST_SHOWN).filter_map(view).collect()
}

fn view(job: Job) -> Option<JobView> {
    let started = i64::try_from(job.started_unix_millis).ok()?;
    let word = |word: &String| -> String { excerpt(word) };
    Some(JobView {
        id: job.id.parse().ok().filter(JobRef::is_id)?,
        name: job.name.and_then(|name| name.parse().ok()),
        command: job.command.iter().take(MOST_WORDS).map(word).collect(),
        user: plain(&job.user),
        pid: job.pid,
        started: Timestamp::from_millisecond(started).ok()?,
        seconds: std::time::Duration::from_millis(job.run_millis).as_secs_f64(),
        state: match job.state {
            GuestState::Running => JobState::Running,
            GuestState::Exited(_) => JobState::Exited,
            GuestState::Killed(_) => JobState::Killed,
            GuestState::TimedOut => JobState::TimedOut,
            GuestState::Lost => JobState::Lost,
        },
        status: job.state.status(),
        signal: match job.state {
            GuestState::Killed(number) => Some(number),
            _ => None,
        },
        terminal: job.terminal,
        input: job.input,
        oom_killed: job.oom_killed,
    })
}

/// A word of a command, shortened. Whoever prints it escapes control characters.
fn excerpt(word: &str) -> String {
    word.chars().take(LONGEST_WORD).collect()
}

/// The number of a signal on x86-64, the guest's architecture.
fn number(signal: SignalName) -> u8 {
    match signal {
        SignalName::Hup => 1,
        SignalName::Int => 2,
        SignalName::Quit => 3,
        SignalName::Kill => 9,
        SignalName::Usr1 => 10,
        SignalName::Usr2 => 12,
        SignalName::Term => 15,
        SignalName::Cont => 18,
        SignalName::Stop => 19,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_reports_is_shown_within_bounds() {
        let job = Job {
            id: "j3".to_owned(),
            name: Some("../x".to_owned()),
            command: vec!["x".repeat(5000); 5000],
            user: "a\u{1b}[2J".to_owned(),
            pid: 9,
            started_unix_millis: 1_700_000_000_000,
            run_millis: 1500,
            state: GuestState::Killed(9),
            terminal: false,
            input: true,
            oom_killed: Some(true),
        };
        let shown = views(vec![job.clone()]);
        assert_eq!(shown.len(), 1);
        assert_eq!(
            (&shown[0].name, shown[0].command.len()),
            (&None, MOST_WORDS)
        );
        assert_eq!(shown[0].user, "a[2J");
        assert_eq!((shown[0].status, shown[0].signal), (Some(137), Some(9)));
        assert_eq!(shown[0].oom_killed, Some(true));
        let hostile = |id: &str, at: u64| Job {
            id: id.to_owned(),
            started_unix_millis: at,
            ..job.clone()
        };
        let bad = vec![
            hostile("../j1", 0),
            hostile("web", 0),
            hostile("j1", u64::MAX),
        ];
        assert_eq!(views(bad), []);
        let small = Job {
            command: Vec::new(),
            ..hostile("j1", 0)
        };
        assert_eq!(views(vec![small; 10_000]).len(), MOST_SHOWN);
    }
}
