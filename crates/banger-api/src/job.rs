//! Jobs: commands in a guest that outlive the client that started them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{InvalidName, SignalName};

/// The maximum length of an id or a name, in letters.
const LONGEST: usize = 64;

/// A job's id or its name: 1 to 64 letters, digits, `.`, `_` and `-`, the first a letter or a
/// digit. An id is `j` and a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobRef(String);

impl JobRef {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is an id, and so cannot be the name of a new job.
    #[must_use]
    pub fn is_id(&self) -> bool {
        let digits = self.0.strip_prefix('j').unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    }
}

impl fmt::Display for JobRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JobRef {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let first = text.bytes().next();
        let is_valid = text.len() <= LONGEST
            && first.is_some_and(|byte| byte.is_ascii_alphanumeric())
            && text.bytes().all(is_inner);
        if is_valid {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidName(format!(
            "{text:?} is not a job's id or name: that is 1 to {LONGEST} letters, digits, `.`, `_` and \
             `-`, the first a letter or a digit"
        )))
    }
}

impl TryFrom<String> for JobRef {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<JobRef> for String {
    fn from(job: JobRef) -> Self {
        job.0
    }
}

/// A job, as the guest reports it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct JobView {
    /// Its id: `j` and a number, unique until the guest reboots.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub id: JobRef,
    /// The name that it was given. Null if it has none.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub name: Option<JobRef>,
    /// The command and its arguments, shortened with an ellipsis if they are long.
    pub command: Vec<String>,
    /// The user that it runs as.
    pub user: String,
    /// The command's process in the guest.
    pub pid: u32,
    /// When it was started, by the guest's clock.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub started: Timestamp,
    /// How long it has run, or ran. Zero for a job that is lost.
    pub seconds: f64,
    /// Its state.
    pub state: JobState,
    /// Its status as a shell has it: 128 plus the signal's number if one ended it, 124 at its timeout.
    /// Null while it runs, and for a job that is lost.
    pub status: Option<u8>,
    /// The number of the signal that ended it, on x86-64. Null if none did.
    pub signal: Option<u8>,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whether it takes input from those who attach.
    pub input: bool,
    /// Whether the guest's kernel has killed one of its processes because memory ran out. Null while it runs, and
    /// where that cannot be told.
    #[serde(default)]
    pub oom_killed: Option<bool>,
}

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It runs.
    Running,
    /// It has ended by itself.
    Exited,
    /// A signal ended it.
    Killed,
    /// It was ended at its timeout.
    TimedOut,
    /// The process beside it was killed, and nobody knows how it ended.
    Lost,
}

/// Sends a signal to a job's process group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct KillJob {
    /// The signal; by default `TERM`.
    pub signal: Option<SignalName>,
}

/// Forgets an ended job and its output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RemoveJob {
    /// Kills it first if it runs.
    pub force: bool,
}

/// Forgets all ended jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PruneJobs {}

/// How a client attaches to a job, in its start frame ([`crate::exec::ExecFrame::Start`]).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachStart {
    /// Whether it writes to the job's input; one client at a time does.
    #[serde(default)]
    pub input: bool,
    /// Whether it reads on after the output that was kept.
    #[serde(default)]
    pub follow: bool,
    /// The size of its terminal, columns and rows, which becomes that of the job's.
    #[serde(default)]
    pub terminal: Option<(u16, u16)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_an_id_or_a_name() {
        let is_id = |text: &str| text.parse::<JobRef>().unwrap().is_id();
        assert!(is_id("j1") && !is_id("j") && !is_id("web.1"));
        for text in ["", "-x", "a/b", "..", "a b", &"x".repeat(65)] {
            text.parse::<JobRef>().unwrap_err();
        }
    }
}
