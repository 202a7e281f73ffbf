//! What VMs use: which are measured, and what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use banger_api::{Phase, Result, StatsView, VmId};

use super::message::Effect;
use super::vms::Sort;
use super::{Link, Model, Tab};
use crate::usage::History;
use crate::usage::sampler::{FAST, SLOW};

/// What VMs use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Usages {
    histories: BTreeMap<VmId, History>,
    /// The VMs that are measured, and their paces.
    wanted: Vec<(VmId, Duration)>,
}

impl Usages {
    /// What a VM uses, if it was measured in this run of it.
    pub(crate) fn of(&self, vm: VmId) -> Option<&History> {
        self.histories.get(&vm)
    }

    /// Forgets a VM's run that has ended.
    pub(super) fn forget(&mut self, vm: VmId) {
        self.histories.remove(&vm);
    }

    /// Keeps only those of VMs that run.
    pub(super) fn retain(&mut self, runs: impl Fn(VmId) -> bool) {
        self.histories.retain(|id, _| runs(*id));
    }

    /// Has everything measured anew: another daemon answers.
    pub(super) fn begin_anew(&mut self) {
        self.wanted.clear();
    }
}

impl Model {
    /// Takes a measurement in, and asks for the ports at the same pace where these are seen. A VM that
    /// has stopped meanwhile is told by its event.
    pub(super) fn measured(&mut self, vm: VmId, stats: Result<Box<StatsView>>) -> Option<Effect> {
        let runs = self
            .vms
            .get(vm)
            .is_some_and(|vm| vm.phase == Phase::Running);
        if let (true, Ok(stats)) = (runs, stats) {
            let vcpu = stats.vcpu;
            let history = self.usages.histories.entry(vm).or_default();
            history.take(*stats);
            if let Some(part) = history.newest().and_then(|it| it.cpu) {
                self.vms.note_cpu(vm, hundredths(part, vcpu), self.now);
            }
        }
        let shown = runs && self.ports.of == Some(vm) && self.shows_ports();
        (shown && !self.ports.list.asked).then(|| self.ask_ports_again(vm))
    }

    /// The VMs that are to be measured, where these have changed: those on the screen that run, the
    /// selected one faster. Nothing is measured that nobody sees.
    pub(super) fn measurements(&mut self) -> Option<Effect> {
        let wanted = self.visible();
        if wanted == self.usages.wanted {
            return None;
        }
        self.usages.wanted.clone_from(&wanted);
        Some(Effect::Measure(wanted))
    }

    fn visible(&self) -> Vec<(VmId, Duration)> {
        if self.tab != Tab::Vms || self.link != Link::Up {
            return Vec::new();
        }
        let rooms = self.rooms();
        let selected = self.vms.selected().map(|vm| vm.id);
        let rows = usize::from(rooms.list_rows().height);
        // An order by CPU time of those on the screen alone would be that of some of them.
        let (above, rows) = match self.vms.sort {
            Sort::Cpu => (0, usize::MAX),
            _ => (self.list_top, rows),
        };
        let listed = self.vms.shown().iter().skip(above).take(rows);
        let listed = listed.copied().filter(|id| Some(*id) != selected);
        let shows_graphs = !rooms.pane.is_empty() && self.pane.has_graphs();
        let pace = if shows_graphs { FAST } else { SLOW };
        let runs = |id: &VmId| {
            self.vms
                .get(*id)
                .is_some_and(|vm| vm.phase == Phase::Running)
        };
        let first = selected.map(|id| (id, pace));
        let others = listed.map(|id| (id, SLOW));
        first
            .into_iter()
            .chain(others)
            .filter(|it| runs(&it.0))
            .collect()
    }
}

/// How many CPUs a VM uses, in hundredths, by the part of its own that works.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is positive, and is rounded"
)]
fn hundredths(part: f64, vcpu: u32) -> u16 {
    (part * f64::from(vcpu) * 100.0).round() as u16
}

#[cfg(test)]
mod tests {
    use super::super::message::Message;
    use super::super::tests::{event, model, now, three, types, vm};
    use super::*;
    use crate::usage::stats_at;
    use banger_api::{Change, Code, Error};

    fn wanted(model: &Model) -> Vec<(u32, Duration)> {
        let number = |id: VmId| (1..=200).find(|it| VmId::from_bits(*it) == id).unwrap();
        let wanted = model.usages.wanted.iter();
        wanted.map(|it| (number(it.0), it.1)).collect()
    }

    #[test]
    fn vms_that_run_and_are_seen_are_measured_and_no_others() {
        // lazydocker#249, #296, #115, #323: polling.
        let mut model = three();
        assert_eq!(wanted(&model), [(1, FAST), (3, SLOW)], "db is stopped");
        types(&mut model, "jj");
        assert_eq!(wanted(&model), [(3, FAST), (1, SLOW)]);
        types(&mut model, "]]");
        assert_eq!(wanted(&model), [(3, SLOW), (1, SLOW)], "no graph is seen");
        types(&mut model, "z");
        assert_eq!(wanted(&model), [(3, SLOW)], "the list is not seen");
        types(&mut model, "z/api<enter>");
        assert_eq!(wanted(&model), [(1, SLOW)], "the others are filtered away");
        types(&mut model, "2");
        assert_eq!(wanted(&model), [], "another tab");
        assert_eq!(model.update(Message::Tick, now()), [], "asked once");
        types(&mut model, "1");
        let error = Error::new(Code::NotReady, "the daemon has stopped");
        model.update(Message::Lost(error), now());
        assert_eq!(wanted(&model), [], "nobody answers");
    }

    #[test]
    fn of_many_vms_those_on_the_screen_are_measured() {
        let vms = (1..=200).map(|it| vm(it, &format!("vm-{it:03}"), Phase::Running));
        let mut model = model(vms.collect());
        let rows = usize::from(model.rooms().list_rows().height);
        assert_eq!(wanted(&model).len(), rows);
        types(&mut model, "G");
        let last = wanted(&model);
        assert_eq!((last.len(), last[0]), (rows, (200, FAST)));
        assert!(last.iter().all(|it| it.0 > 150));
    }

    #[test]
    fn sorted_by_cpu_all_that_run_are_measured_and_the_order_follows_once_a_second() {
        let vms = (1..=40).map(|it| vm(it, &format!("vm-{it:03}"), Phase::Running));
        let mut model = model(vms.collect());
        types(&mut model, "oooo");
        assert_eq!(model.vms.sort, Sort::Cpu);
        assert_eq!(wanted(&model).len(), 40);
        let begins = now();
        let measure = |model: &mut Model, number, second, millis, at| {
            let stats = Box::new(stats_at(second, millis));
            model.update(Message::Measured(VmId::from_bits(number), Ok(stats)), at);
            names(model)[0].clone()
        };
        for (number, millis) in [(7, 4000), (9, 9000)] {
            measure(&mut model, number, 0, 0, begins);
            assert_eq!(measure(&mut model, number, 10, millis, begins), "vm-001");
        }
        assert_eq!(model.next_tick(), Some(Duration::from_secs(1)));
        let later = begins + jiff::SignedDuration::from_secs(1);
        model.update(Message::Tick, later);
        assert_eq!(names(&model)[..3], ["vm-009", "vm-007", "vm-001"]);
        assert_eq!(model.next_tick(), Some(Duration::from_secs(30)));
        // The same again changes no order; one that stops uses nothing.
        measure(&mut model, 9, 20, 18000, later);
        assert!(!model.vms.is_order_old());
        let stopped = Change::Vm(Box::new(vm(9, "vm-009", Phase::Stopped)));
        model.update(event(2, stopped), later);
        assert_eq!(names(&model)[0], "vm-007");
        types(&mut model, "o");
        let rows = usize::from(model.rooms().list_rows().height);
        assert_eq!(wanted(&model).len(), rows, "those on the screen again");
    }

    fn names(model: &Model) -> Vec<String> {
        let shown = model.vms.shown().iter();
        shown
            .map(|id| model.vms.get(*id).unwrap().name.to_string())
            .collect()
    }

    #[test]
    fn a_run_that_has_ended_leaves_no_curve() {
        let mut model = three();
        let id = VmId::from_bits(1);
        let measured = |second| Message::Measured(id, Ok(Box::new(stats_at(second, 0))));
        model.update(measured(0), now());
        assert!(model.usages.of(id).is_some());
        let stopped = vm(1, "api", Phase::Stopped);
        model.update(event(2, Change::Vm(Box::new(stopped))), now());
        assert!(model.usages.of(id).is_none());
        model.update(measured(2), now());
        assert!(model.usages.of(id).is_none(), "a late one");
    }
}
