//! `banger vm job`, and what the verbs for jobs share.

mod attach;
mod kill;
mod list;
mod logs;
mod remove;

pub(super) use attach::Attach;
pub(super) use list::Jobs;

use banger_api::exec::ExecFrame;
use banger_api::{AttachStart, Code, Error, JobRef, JobState, JobView, VmRef};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use super::VmArgument;
use super::exec::conversation::{self, ConversationOptions, End};
use crate::completion;
use crate::failure::Outcome;
use crate::session::Session;

/// What to do with a job.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Logs(logs::Logs),
    Kill(kill::Kill),
    #[command(visible_alias = "rm")]
    Remove(remove::Remove),
}

impl Verb {
    /// Does it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        match self {
            Self::Logs(verb) => verb.run(session),
            Self::Kill(verb) => verb.run(session),
            Self::Remove(verb) => verb.run(session),
        }
    }
}

/// The one job that a verb is about.
#[derive(Debug, Args)]
struct JobArgument {
    #[command(flatten)]
    one: VmArgument,

    /// The job: its id, or its name.
    #[arg(value_name = "JOB", add = ArgValueCandidates::new(completion::jobs))]
    job: JobRef,
}

impl JobArgument {
    /// The job, as the guest describes it now.
    fn find(&self, session: &Session) -> Result<JobView, Error> {
        let jobs = session.daemon()?.jobs(&self.one.name)?;
        find(&jobs, &self.job)
            .cloned()
            .ok_or_else(|| unknown(&self.one.name, &self.job))
    }

    /// Attaches to the job, and copies its output until it ends.
    fn converse(
        &self,
        session: &Session,
        start: &AttachStart,
        options: &ConversationOptions,
    ) -> Result<End, Error> {
        let json = serde_json::to_vec(start).map_err(|cause| {
            Error::new(Code::Internal, "write the start").cause(cause.to_string())
        })?;
        let stream = session.daemon()?.attach(&self.one.name, &self.job)?;
        conversation::hold(stream, &ExecFrame::Start(json).encode(), options)
    }

    /// The error for a connection that ended before the job.
    fn lost(&self) -> Error {
        let (name, job) = (&self.one.name, &self.job);
        Error::new(Code::Guest, "the connection was lost")
            .cause("the VM ended, its guest program restarted, or the daemon stopped")
            .hint(format!(
                "unless the VM ended, the job continues: banger vm attach {name} {job}"
            ))
    }
}

/// The error for an unknown job.
pub(super) fn unknown(vm: &VmRef, job: &JobRef) -> Error {
    Error::new(Code::NotFound, format!("`{vm}` has no job `{job}`"))
        .hint(format!("list its jobs: banger vm jobs {vm}"))
}

/// The job with this id, or the newest with this name.
pub(super) fn find<'j>(jobs: &'j [JobView], wanted: &JobRef) -> Option<&'j JobView> {
    let is_it = |job: &&JobView| job.id == *wanted || job.name.as_ref() == Some(wanted);
    jobs.iter().rev().find(is_it)
}

/// The state of a job, as text.
pub(super) fn state(job: &JobView) -> String {
    let how = end(job);
    if job.oom_killed == Some(true) {
        return how + ", out of memory";
    }
    how
}

fn end(job: &JobView) -> String {
    match (job.state, job.status, job.signal) {
        (JobState::Exited, Some(status), _) => format!("exited {status}"),
        (JobState::Killed, _, Some(number)) => match signal_name(number) {
            Some(name) => format!("killed by {name}"),
            None => format!("killed by signal {number}"),
        },
        (JobState::Exited, ..) => "exited".to_owned(),
        (JobState::Killed, ..) => "killed".to_owned(),
        (JobState::Running, ..) => "running".to_owned(),
        (JobState::TimedOut, ..) => "timed out".to_owned(),
        (JobState::Lost, ..) => "lost".to_owned(),
    }
}

/// A signal's name, by its number on x86-64.
fn signal_name(number: u8) -> Option<&'static str> {
    Some(match number {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        10 => "USR1",
        11 => "SEGV",
        12 => "USR2",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        24 => "XCPU",
        25 => "XFSZ",
        31 => "SYS",
        _ => return None,
    })
}
