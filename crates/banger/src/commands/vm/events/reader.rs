//! What events mean to a person, by the state of the VMs before each of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use banger_api::{
    Change, Event, Operation, OperationState, Phase, Snapshot, VmId, VmName, VmRef, VmView,
};
use jiff::tz::TimeZone;

use crate::age;
use crate::output::clean;

/// A reader of events, and the state of the VMs after those it has read.
pub(super) struct Reader {
    /// The selected VMs; all if it is empty.
    wanted: Vec<VmRef>,
    pub(super) vms: BTreeMap<VmId, VmView>,
    /// The ids of the selected names: a VM stays selected through a rename.
    ids: Vec<VmId>,
}

impl Reader {
    pub(super) fn new(wanted: &[VmRef], snapshot: &Snapshot) -> Self {
        let mut reader = Self {
            wanted: wanted.to_vec(),
            vms: BTreeMap::new(),
            ids: Vec::new(),
        };
        for vm in &snapshot.vms {
            reader.vms.insert(vm.id, vm.clone());
            reader.is_wanted(Some(vm.id), Some(&vm.name));
        }
        reader
    }

    pub(super) fn knows(&self, name: &VmRef) -> bool {
        let mut vms = self.vms.values();
        vms.any(|vm| name.is_name(&vm.name) || name.begins(vm.id))
    }

    fn is_wanted(&mut self, id: Option<VmId>, name: Option<&VmName>) -> bool {
        if self.wanted.is_empty() || id.is_some_and(|id| self.ids.contains(&id)) {
            return true;
        }
        let is_meant = self.wanted.iter().any(|wanted| {
            name.is_some_and(|name| wanted.is_name(name)) || id.is_some_and(|id| wanted.begins(id))
        });
        if is_meant {
            self.ids.extend(id);
        }
        is_meant
    }

    /// The part of the event that is about selected VMs.
    pub(super) fn select(&mut self, mut event: Event) -> Option<Event> {
        let is_wanted = match &mut event.change {
            Change::Snapshot(snapshot) => {
                snapshot
                    .vms
                    .retain(|vm| self.is_wanted(Some(vm.id), Some(&vm.name)));
                snapshot
                    .operations
                    .retain(|it| self.is_wanted(it.vm, it.name.as_ref()));
                true
            }
            Change::Vm(vm) => self.is_wanted(Some(vm.id), Some(&vm.name)),
            Change::Deleted { id, name } => self.is_wanted(Some(*id), Some(name)),
            Change::Operation(operation) => self.is_wanted(operation.vm, operation.name.as_ref()),
        };
        is_wanted.then_some(event)
    }

    /// The text for people: a line for each change, none for invisible ones.
    pub(super) fn text(&mut self, event: &Event, zone: &TimeZone) -> String {
        let at = event.at.to_zoned(zone.clone()).strftime("%H:%M:%S");
        let at = at.to_string();
        let mut text = String::new();
        let mut line = |name: &str, words: &str| {
            let _ = writeln!(text, "{at}  {name}  {}", clean(words).replace('\n', " "));
        };
        match &event.change {
            Change::Snapshot(snapshot) => {
                if let Some(missed) = snapshot.missed.filter(|missed| *missed > 0) {
                    line("-", &format!("{missed} events were missed; as of now:"));
                }
                for vm in &snapshot.vms {
                    line(vm.name.as_str(), &phase(vm));
                    self.vms.insert(vm.id, vm.clone());
                }
                for operation in &snapshot.operations {
                    line(
                        &name_of(operation),
                        &format!("{} is under way", verb(operation)),
                    );
                }
            }
            Change::Vm(vm) => {
                let before = self.vms.insert(vm.id, (**vm).clone());
                for words in changes(before.as_ref(), vm) {
                    line(vm.name.as_str(), &words);
                }
            }
            Change::Deleted { id, name } => {
                self.vms.remove(id);
                line(name.as_str(), "deleted");
            }
            Change::Operation(operation) => {
                let verb = verb(operation);
                let words = match &operation.state {
                    OperationState::Began => format!("{verb} began"),
                    OperationState::Step(step) => match step.seconds {
                        Some(seconds) => {
                            format!("{verb}: {} {}", step.step, age::took(seconds))
                        }
                        None => return text,
                    },
                    OperationState::Done => {
                        let seconds = event.at.duration_since(operation.began).as_secs_f64();
                        format!("{verb} done in {}", age::took(seconds))
                    }
                    OperationState::Failed { error } => format!("{verb} failed: {error}"),
                };
                line(&name_of(operation), &words);
            }
        }
        text
    }
}

fn name_of(operation: &Operation) -> String {
    let name = operation.name.as_ref();
    name.map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// The verb's name on the command line.
fn verb(operation: &Operation) -> String {
    let word = serde_json::to_value(operation.verb).ok();
    let word = word.and_then(|it| it.as_str().map(str::to_owned));
    word.unwrap_or_default()
}

fn phase(vm: &VmView) -> String {
    match (vm.phase, vm.address) {
        (Phase::Running, _) if vm.paused => match vm.pause_reason {
            Some(reason) => format!("paused: {reason}"),
            None => "paused".to_owned(),
        },
        (Phase::Running, Some(address)) => format!("running at {address}"),
        (phase, _) => phase.to_string(),
    }
}

/// The changes of a VM, each described.
fn changes(before: Option<&VmView>, vm: &VmView) -> Vec<String> {
    let Some(before) = before else {
        return vec![phase(vm)];
    };
    let mut changes = Vec::new();
    if before.name != vm.name {
        changes.push(format!("was {} before", before.name));
    }
    if phase(before) != phase(vm) {
        changes.push(phase(vm));
    }
    if before.last_end != vm.last_end
        && let Some(end) = &vm.last_end
        && !end.detail.is_empty()
    {
        changes.push(format!("ended: {}", end.detail));
    }
    if before.next() != vm.next() {
        changes.push("its settings changed".to_owned());
    }
    let new = vm.notes.iter().filter(|note| !before.notes.contains(note));
    changes.extend(new.map(|note| format!("note: {note}")));
    changes
}

#[cfg(test)]
mod tests {
    use banger_api::{Code, Error, Progress, Verb};
    use jiff::Timestamp;

    use super::super::super::description::tests::calm_otter;
    use super::*;

    fn event(change: Change) -> Event {
        Event {
            seq: 7,
            at: Timestamp::from_second(1_800_000_400).unwrap(),
            change,
        }
    }

    fn operation(state: OperationState) -> Change {
        let vm = calm_otter();
        Change::Operation(Operation {
            id: 1,
            request: None,
            verb: Verb::Start,
            vm: Some(vm.id),
            name: Some(vm.name),
            began: Timestamp::from_second(1_800_000_390).unwrap(),
            state,
        })
    }

    fn snapshot() -> Snapshot {
        Snapshot {
            vms: vec![calm_otter()],
            operations: Vec::new(),
            missed: Some(3),
        }
    }

    #[test]
    fn each_event_is_described_by_its_change() {
        let mut reader = Reader::new(&[], &snapshot());
        let mut renamed = calm_otter();
        renamed.name = "web".parse().unwrap();
        renamed.phase = Phase::Stopping;
        renamed.notes.push("it has no network access".to_owned());
        let step = |seconds| {
            OperationState::Step(Progress {
                step: "boot".into(),
                seconds,
                bytes: None,
            })
        };
        let id = calm_otter().id;
        let events = [
            Change::Snapshot(snapshot()),
            operation(OperationState::Began),
            operation(step(None)),
            operation(step(Some(1.5))),
            operation(OperationState::Done),
            operation(OperationState::Failed {
                error: Error::new(Code::Guest, "it\ndid not\u{1b}[2J"),
            }),
            Change::Vm(Box::new(renamed.clone())),
            Change::Vm(Box::new(renamed)),
            Change::Deleted {
                id,
                name: "web".parse().unwrap(),
            },
        ];
        let text: String = events
            .into_iter()
            .map(|change| reader.text(&event(change), &TimeZone::UTC))
            .collect();
        insta::assert_snapshot!(text, @r"
        08:06:40  -  3 events were missed; as of now:
        08:06:40  calm-otter  running at 10.215.0.2
        08:06:40  calm-otter  start began
        08:06:40  calm-otter  start: boot 1.5 s
        08:06:40  calm-otter  start done in 10.0 s
        08:06:40  calm-otter  start failed: it did not\u{1b}[2J
        08:06:40  web  was calm-otter before
        08:06:40  web  stopping
        08:06:40  web  note: it has no network access
        08:06:40  web  deleted
        ");
    }

    #[test]
    fn events_of_other_vms_are_left_out_and_a_vm_is_followed_through_a_rename() {
        let wanted = ["calm-otter".parse().unwrap()];
        let mut reader = Reader::new(&wanted, &snapshot());
        let mut renamed = calm_otter();
        renamed.name = "web".parse().unwrap();
        assert!(
            reader
                .select(event(Change::Vm(Box::new(renamed))))
                .is_some()
        );
        let mut other = calm_otter();
        other.id = "11ab12cd".parse().unwrap();
        other.name = "db".parse().unwrap();
        assert!(reader.select(event(Change::Vm(Box::new(other)))).is_none());
        let nobodys = event(Change::Operation(Operation {
            id: 2,
            request: None,
            verb: Verb::Create,
            vm: None,
            name: None,
            began: Timestamp::UNIX_EPOCH,
            state: OperationState::Began,
        }));
        assert!(reader.select(nobodys).is_none());
    }
}
