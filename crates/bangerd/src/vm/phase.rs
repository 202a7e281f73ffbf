//! Which verb may be asked of a VM in which phase: the whole state machine in one match.
//!
//! ```text
//!  (none) ─create─► creating ─► stopped ─start─► starting ─► running
//!                                  ▲                │            │ stop, kill,
//!                                  ├── one way down ┘            │ the guest's own end
//!                                  └───────── stopping ◄─────────┘
//!                               stopped ─delete─► deleting ─► (none)
//! ```

use banger_api::{Code, Error, Phase, VmName};

use crate::error::Result;

/// What is asked of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Boot it.
    Start,
    /// End it cleanly.
    Stop,
    /// End it now.
    Kill,
    /// Change its settings.
    Set,
    /// Remove it.
    Delete,
}

/// What a verb means for a VM that is held by nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Do it.
    Go,
    /// It is so already.
    Already,
}

/// Whether `verb` may be done in `phase`.
///
/// # Errors
/// `conflict`, with what to do instead.
pub fn may(verb: Verb, phase: Phase, name: &VmName) -> Result<Answer> {
    let refuse = |why: &str, hint: String| {
        Err(Error::new(Code::Conflict, format!("`{name}` {why}")).hint(hint))
    };
    match (verb, phase) {
        (Verb::Start, Phase::Running) | (Verb::Stop | Verb::Kill, Phase::Stopped) => {
            Ok(Answer::Already)
        }
        (Verb::Start | Verb::Delete, Phase::Stopped)
        | (Verb::Stop | Verb::Kill, Phase::Running | Phase::Starting | Phase::Stopping)
        | (Verb::Set, Phase::Stopped | Phase::Running)
        | (Verb::Delete, Phase::Deleting | Phase::Creating) => Ok(Answer::Go),
        (Verb::Delete, Phase::Running | Phase::Starting | Phase::Stopping) => refuse(
            "is running",
            format!("stop it first: banger vm stop {name}   (or: banger vm delete --force {name})"),
        ),
        (Verb::Start | Verb::Set, Phase::Starting | Phase::Stopping) => refuse(
            "was left half-way by a failure",
            format!("end it first: banger vm kill {name}"),
        ),
        (_, Phase::Creating | Phase::Deleting) => refuse(
            "was left half-made by a failure",
            format!("remove it: banger vm delete {name}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_vm_is_not_deleted_and_a_stopped_one_is_not_stopped_again() {
        let name = "calm-otter".parse().unwrap();
        assert!(may(Verb::Delete, Phase::Running, &name).is_err());
        assert_eq!(
            may(Verb::Stop, Phase::Stopped, &name).unwrap(),
            Answer::Already
        );
        assert_eq!(
            may(Verb::Start, Phase::Running, &name).unwrap(),
            Answer::Already
        );
        assert_eq!(may(Verb::Start, Phase::Stopped, &name).unwrap(), Answer::Go);
    }

    #[test]
    fn what_a_failure_left_half_way_can_always_be_taken_down() {
        let name = "calm-otter".parse().unwrap();
        for phase in [Phase::Starting, Phase::Running, Phase::Stopping] {
            assert_eq!(may(Verb::Kill, phase, &name).unwrap(), Answer::Go);
        }
        for phase in [Phase::Creating, Phase::Deleting] {
            assert_eq!(may(Verb::Delete, phase, &name).unwrap(), Answer::Go);
        }
    }
}
