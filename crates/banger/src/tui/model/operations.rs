//! The operations of all clients, and what happened to each VM.

use std::collections::{BTreeMap, VecDeque};

use banger_api::{Operation, OperationState, Progress, VmId};
use jiff::Timestamp;

/// The most happenings that are kept.
const MOST_HAPPENINGS: usize = 1000;

/// An operation with its steps so far.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    pub(crate) operation: Operation,
    /// Its steps, in order; the last one may be under way.
    pub(crate) steps: Vec<Progress>,
    /// When it ended.
    pub(crate) ended: Option<Timestamp>,
}

impl Course {
    /// The step that is under way, or was the last.
    pub(crate) fn step(&self) -> Option<&str> {
        self.steps.last().map(|it| it.step.as_str())
    }

    fn take(&mut self, progress: &Progress) {
        let open = |it: &&mut Progress| it.step == progress.step && it.seconds.is_none();
        match self.steps.iter_mut().rev().find(open) {
            Some(step) => (step.seconds, step.bytes) = (progress.seconds, progress.bytes),
            None => self.steps.push(progress.clone()),
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Happening {
    pub(crate) at: Timestamp,
    /// The VM that it happened to.
    pub(crate) vm: Option<VmId>,
    /// In words.
    pub(crate) text: String,
    /// Whether it is an error.
    pub(crate) bad: bool,
}

/// The operations that are under way, the last one of each VM, and what happened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Operations {
    running: BTreeMap<u64, Course>,
    last: BTreeMap<VmId, Course>,
    happenings: VecDeque<Happening>,
}

impl Operations {
    /// Replaces those that are under way.
    pub(crate) fn replace(&mut self, operations: Vec<Operation>) {
        self.running.clear();
        for operation in operations {
            let at = operation.began;
            self.take(operation, at);
        }
    }

    /// Takes an operation's newer state in.
    pub(crate) fn take(&mut self, operation: Operation, at: Timestamp) {
        let course = self.running.entry(operation.id).or_insert_with(|| Course {
            operation: operation.clone(),
            steps: Vec::new(),
            ended: None,
        });
        if let OperationState::Step(progress) = &operation.state {
            course.take(progress);
        }
        let ended = matches!(
            operation.state,
            OperationState::Done | OperationState::Failed { .. }
        );
        let id = operation.id;
        course.operation = operation;
        if ended && let Some(mut course) = self.running.remove(&id) {
            course.ended = Some(at);
            if let Some(vm) = course.operation.vm {
                self.last.insert(vm, course);
            }
        }
    }

    /// Notes what happened.
    pub(crate) fn note(&mut self, happening: Happening) {
        self.happenings.push_front(happening);
        self.happenings.truncate(MOST_HAPPENINGS);
    }

    /// Forgets a VM that is gone.
    pub(crate) fn forget(&mut self, vm: VmId) {
        self.last.remove(&vm);
    }

    /// Keeps the last ones of VMs that there are.
    pub(crate) fn retain(&mut self, exists: impl Fn(VmId) -> bool) {
        self.last.retain(|vm, _| exists(*vm));
    }

    /// For how many VMs the last one is kept.
    #[cfg(test)]
    pub(crate) fn last_count(&self) -> usize {
        self.last.len()
    }

    /// Those that are under way, oldest first.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Course> {
        self.running.values()
    }

    /// The one of a VM that is under way, or else its last one.
    pub(crate) fn of(&self, vm: VmId) -> Option<&Course> {
        let mut running = self.running.values();
        running
            .find(|it| it.operation.vm == Some(vm))
            .or_else(|| self.last.get(&vm))
    }

    /// What happened to a VM, newest first.
    pub(crate) fn happenings(&self, vm: VmId) -> impl Iterator<Item = &Happening> {
        self.happenings.iter().filter(move |it| it.vm == Some(vm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banger_api::Verb;

    fn operation(state: OperationState) -> Operation {
        Operation {
            id: 7,
            verb: Verb::Start,
            vm: Some(VmId::from_bits(1)),
            name: None,
            request: None,
            began: Timestamp::UNIX_EPOCH,
            state,
        }
    }

    fn step(name: &str, seconds: Option<f64>) -> OperationState {
        OperationState::Step(Progress {
            step: name.to_owned(),
            seconds,
            bytes: None,
        })
    }

    #[test]
    fn a_step_that_copies_stays_one_step() {
        let mut operations = Operations::default();
        let copies = |done| {
            let bytes = banger_api::ByteCount { done, whole: 9 };
            OperationState::Step(Progress {
                step: "copy".to_owned(),
                seconds: None,
                bytes: Some(bytes),
            })
        };
        for state in [step("copy", None), copies(3), copies(9)] {
            operations.take(operation(state), Timestamp::UNIX_EPOCH);
        }
        let course = operations.of(VmId::from_bits(1)).unwrap();
        let done: Vec<_> = course
            .steps
            .iter()
            .map(|it| it.bytes.map(|it| it.done))
            .collect();
        assert_eq!(done, [Some(9)]);
    }

    #[test]
    fn a_step_that_ends_is_the_one_that_began() {
        let mut operations = Operations::default();
        for state in [
            OperationState::Began,
            step("check", None),
            step("check", Some(0.1)),
            step("boot", None),
        ] {
            operations.take(operation(state), Timestamp::UNIX_EPOCH);
        }
        let course = operations.of(VmId::from_bits(1)).unwrap();
        let steps: Vec<_> = course
            .steps
            .iter()
            .map(|it| (&*it.step, it.seconds))
            .collect();
        assert_eq!(steps, [("check", Some(0.1)), ("boot", None)]);
        assert_eq!(course.step(), Some("boot"));
        operations.take(operation(OperationState::Done), Timestamp::UNIX_EPOCH);
        assert_eq!(operations.running().count(), 0);
        assert!(operations.of(VmId::from_bits(1)).unwrap().ended.is_some());
        operations.forget(VmId::from_bits(1));
        assert!(operations.of(VmId::from_bits(1)).is_none());
    }
}
