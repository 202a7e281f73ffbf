//! Jobs: commands that outlive their stream. A supervisor in the guest keeps each of them, with its output.
//!
//! | kind of stream | daemon | guest |
//! |---|---|---|
//! | `detach` | words, variables and start, as for a command | [`ExecFrame::Job`] or a refusal, and the end |
//! | `jobs` | | a list of [`Job`] as JSON, and the end |
//! | `job` | a [`JobAsk`] in one line | a [`JobReply`] in one line, and the end |
//! | `attach` | a [`JobName`] in one line; then start ([`AttachStart`]), and frames as for a command | [`ExecFrame::Job`], kept output, new output, and exit |
//!
//! [`ExecFrame::Job`]: super::ExecFrame::Job

use serde::{Deserialize, Serialize};

/// The maximum number of running jobs.
pub const MOST_JOBS: usize = 256;

/// The maximum number of ended jobs that are kept.
pub const MOST_ENDED_JOBS: usize = 64;

/// The maximum number of bytes of output that are kept of each job.
pub const KEPT_OUTPUT: u64 = 1 << 20;

/// The maximum length of a job's name, in letters.
pub const LONGEST_JOB_NAME: usize = 64;

/// A job, as the guest reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id: `j` and a number, unique while the guest runs.
    pub id: String,
    /// The name that its user gave it.
    #[serde(default)]
    pub name: Option<String>,
    /// The command's words, as text. Long words and long lists end with an ellipsis.
    pub command: Vec<String>,
    /// The user that it runs as.
    pub user: String,
    /// The command's process in the guest.
    pub pid: u32,
    /// Its start time by the guest's clock, in milliseconds since 1970.
    pub started_unix_millis: u64,
    /// Its duration so far, or until its end, in milliseconds.
    pub run_millis: u64,
    /// Its state.
    pub state: JobState,
    /// Whether it has a terminal.
    #[serde(default)]
    pub terminal: bool,
    /// Whether it accepts input from attached clients.
    #[serde(default)]
    pub input: bool,
    /// Once it has ended: whether the kernel has killed one of its processes because memory ran out. `None` if
    /// that cannot be told; an older guest program does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_killed: Option<bool>,
}

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It runs.
    Running,
    /// It has ended with this status.
    Exited(u8),
    /// A signal ended it: its number on x86-64.
    Killed(u8),
    /// It was ended at its timeout.
    TimedOut,
    /// Its supervisor was killed, so its end is unknown.
    Lost,
}

impl JobState {
    /// A shell's status for a command with this end; `None` for a job that runs or is lost.
    #[must_use]
    pub fn status(self) -> Option<u8> {
        match self {
            Self::Running | Self::Lost => None,
            Self::Exited(status) => Some(status),
            Self::Killed(number) => Some(number.saturating_add(128)),
            Self::TimedOut => Some(124),
        }
    }
}

/// The job that a stream is about: its id or its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobName {
    /// The id or the name.
    pub job: String,
}

/// A request about jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobAsk {
    /// A signal for a job's process group, by its number on x86-64.
    Signal {
        /// The id or the name.
        job: String,
        /// The number.
        number: u8,
    },
    /// Forget an ended job and its output.
    Remove {
        /// The id or the name.
        job: String,
        /// Kill it first if it runs.
        force: bool,
    },
    /// Forget all ended jobs.
    Prune,
}

/// The answer to a [`JobAsk`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobReply {
    /// The request was executed, for these jobs.
    Done(Vec<Job>),
    /// There is no such job.
    Unknown,
    /// The request was refused, for this reason.
    Refused(String),
}

/// The way in which a client attaches to a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachStart {
    /// Whether the client writes to the job's input; one client at a time does.
    #[serde(default)]
    pub input: bool,
    /// Whether the client continues to read after the kept output.
    #[serde(default)]
    pub follow: bool,
    /// The size of its terminal, columns and rows, which the job's terminal gets.
    #[serde(default)]
    pub terminal: Option<(u16, u16)>,
}

/// Whether this is a valid name for a job: 1 to 64 letters, digits, `.`, `_` and `-`, the first a
/// letter or a digit, and not an id.
#[must_use]
pub fn is_job_name(name: &str) -> bool {
    is_job_reference(name) && !is_job_id(name)
}

/// Whether this can be the id or the name of a job.
#[must_use]
pub fn is_job_reference(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let begins = text.bytes().next();
    text.len() <= LONGEST_JOB_NAME
        && begins.is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(is_inner)
}

/// Whether this is `j` and a number.
#[must_use]
pub fn is_job_id(text: &str) -> bool {
    let digits = text.strip_prefix('j').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_that_are_no_ids() {
        for name in ["build", "Web-1", "a.b_c", "9", "jx", "j"] {
            assert!(is_job_name(name), "{name}");
        }
        let long = "a".repeat(LONGEST_JOB_NAME + 1);
        for name in ["", "j1", "-x", ".x", "a b", "a/b", "é", &long] {
            assert!(!is_job_name(name), "{name}");
        }
        assert!(is_job_reference("j12") && !is_job_reference("../x"));
    }

    #[test]
    fn a_state_has_a_shells_status_once_it_is_known() {
        assert_eq!(JobState::Exited(7).status(), Some(7));
        assert_eq!(JobState::Killed(9).status(), Some(137));
        assert_eq!(JobState::TimedOut.status(), Some(124));
        assert_eq!(JobState::Running.status(), None);
        assert_eq!(JobState::Lost.status(), None);
        let json = serde_json::to_string(&JobState::Exited(7)).unwrap();
        assert_eq!(json, r#"{"exited":7}"#);
    }
}
