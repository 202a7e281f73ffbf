//! The state machine of a VM: which verbs each phase allows, in one match.
//!
//! ```text
//!  (none) ─create─► creating ─► stopped ─start─► starting ─► running
//!                                  ▲                │            │ stop, kill,
//!                                  ├── one way down ┘            │ the guest's own end
//!                                  └───────── stopping ◄─────────┘
//!                               stopped ─delete─► deleting ─► (none)
//! ```
//!
//! No verb leads to the phases of a suspended VM yet; `kill` leads out of them.

use banger_api::{Code, Error, Phase, VmName};

use crate::error::Result;

/// A verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Boot it.
    Start,
    /// Shut it down cleanly.
    Stop,
    /// Shut it down if it is running, and boot it.
    Restart,
    /// End it at once.
    Kill,
    /// Change its settings.
    Set,
    /// Rename it.
    Rename,
    /// Read its disks, for a clone or an archive.
    Clone,
    /// Delete it.
    Delete,
}

/// The effect of a verb on a VM that no other verb holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The verb applies.
    Go,
    /// Nothing to do: the VM is in that state already.
    Already,
}

/// Whether `phase` allows `verb`.
///
/// # Errors
/// `conflict`, with what to do instead.
pub fn may(verb: Verb, phase: Phase, name: &VmName) -> Result<Answer> {
    use Phase::{
        Creating, Deleting, Resuming, Running, Starting, Stopped, Stopping, Suspended, Suspending,
    };
    use Verb::{Clone, Delete, Kill, Rename, Restart, Set, Start, Stop};
    let refuse = |why: &str, hint: String| {
        Err(Error::new(Code::Conflict, format!("`{name}` {why}")).hint(hint))
    };
    match (verb, phase) {
        (Start, Running) | (Stop | Kill, Stopped) => Ok(Answer::Already),
        (Start | Restart | Set | Rename | Clone | Delete, Stopped)
        | (Set | Rename, Running)
        | (Stop | Restart | Kill, Running | Starting | Stopping | Suspending | Resuming)
        | (Kill, Suspended)
        | (Delete, Deleting | Creating) => Ok(Answer::Go),
        (Delete, Running | Starting | Stopping | Suspending | Resuming) => refuse(
            "is running",
            format!("stop it first: banger vm stop {name}   (or: banger vm delete --force {name})"),
        ),
        (Clone, Running) => refuse(
            "is running, and its disks change meanwhile",
            format!("stop it first: banger vm stop {name}"),
        ),
        (Start | Set | Rename | Clone, Starting | Stopping | Suspending | Resuming) => refuse(
            "was interrupted by a failure",
            format!("end it first: banger vm kill {name}"),
        ),
        (Start | Stop | Restart | Set | Rename | Clone | Delete, Suspended) => refuse(
            "is suspended, and this banger cannot resume it",
            format!("discard its memory: banger vm kill {name}"),
        ),
        (Start | Stop | Restart | Kill | Set | Rename | Clone, Creating | Deleting) => refuse(
            "is incomplete after a failure",
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
        for phase in [
            Phase::Starting,
            Phase::Running,
            Phase::Stopping,
            Phase::Suspending,
            Phase::Suspended,
            Phase::Resuming,
        ] {
            assert_eq!(may(Verb::Kill, phase, &name).unwrap(), Answer::Go);
        }
        for phase in [Phase::Creating, Phase::Deleting] {
            assert_eq!(may(Verb::Delete, phase, &name).unwrap(), Answer::Go);
        }
    }

    #[test]
    fn memory_that_is_on_disk_is_dropped_by_kill_alone() {
        let name = "calm-otter".parse().unwrap();
        for verb in [
            Verb::Start,
            Verb::Stop,
            Verb::Restart,
            Verb::Set,
            Verb::Rename,
            Verb::Clone,
            Verb::Delete,
        ] {
            let error = may(verb, Phase::Suspended, &name).unwrap_err();
            assert!(
                error.hints[0].ends_with("banger vm kill calm-otter"),
                "{verb:?}"
            );
        }
    }
}
