//! The list of VMs: what is shown of it, in which order, and which are meant.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use banger_api::{Phase, VmId, VmView};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What the list is sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sort {
    /// The name.
    #[default]
    Name,
    /// The phase: those that run first.
    Phase,
    /// The address, by its digits.
    Address,
    /// How long it has been running, the longest first.
    Uptime,
    /// The CPU time that it uses, the most first.
    Cpu,
    /// The memory that it is given, the most first.
    Memory,
    /// The size of its disks, the largest first.
    Disk,
    /// The image.
    Image,
}

impl Sort {
    const ALL: [Self; 8] = [
        Self::Name,
        Self::Phase,
        Self::Address,
        Self::Uptime,
        Self::Cpu,
        Self::Memory,
        Self::Disk,
        Self::Image,
    ];

    /// The one after it, and after the last the first.
    pub(crate) fn next(self) -> Self {
        let at = Self::ALL.iter().position(|it| *it == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }

    /// Two VMs; `cpu` is what is known of their CPUs.
    fn compare(self, one: &VmView, other: &VmView, cpu: &BTreeMap<VmId, u16>) -> Ordering {
        let disks = |vm: &VmView| vm.spec.disk_size.0 + vm.spec.system_disk_size.0;
        match self {
            Self::Name => Ordering::Equal,
            Self::Phase => rank(one.phase).cmp(&rank(other.phase)),
            Self::Address => {
                (one.address.is_none(), one.address).cmp(&(other.address.is_none(), other.address))
            }
            Self::Uptime => {
                (one.started.is_none(), one.started).cmp(&(other.started.is_none(), other.started))
            }
            Self::Cpu => cpu.get(&other.id).cmp(&cpu.get(&one.id)),
            Self::Memory => other.spec.memory.cmp(&one.spec.memory),
            Self::Disk => disks(other).cmp(&disks(one)),
            Self::Image => one.image.cmp(&other.image),
        }
    }
}

/// Those that run first, then those that are about to.
fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Running => 0,
        Phase::Starting | Phase::Resuming | Phase::Creating => 1,
        Phase::Stopping | Phase::Suspending | Phase::Deleting => 2,
        Phase::Suspended => 3,
        Phase::Stopped => 4,
    }
}

/// All VMs, and the list of those that are shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vms {
    all: BTreeMap<VmId, VmView>,
    /// Those that are shown, in order.
    shown: Vec<VmId>,
    /// The one under the cursor. It is a VM, not a line: the list may move below it.
    cursor: Option<VmId>,
    marks: BTreeSet<VmId>,
    filter: String,
    /// How many CPUs VMs use, in hundredths.
    cpu: BTreeMap<VmId, u16>,
    /// Since when the order is older than that.
    order_is_old: Option<Timestamp>,
    pub(crate) sort: Sort,
    pub(crate) reverse: bool,
    pub(crate) hide_stopped: bool,
}

impl Vms {
    /// Replaces all.
    pub(crate) fn replace(&mut self, vms: Vec<VmView>) {
        self.all = vms.into_iter().map(|vm| (vm.id, vm)).collect();
        self.marks.retain(|id| self.all.contains_key(id));
        let runs = |vm: &VmView| vm.phase == Phase::Running;
        self.cpu.retain(|id, _| self.all.get(id).is_some_and(runs));
        self.arrange();
    }

    /// Puts a new VM in, or a VM's newer state, and returns the older one.
    pub(crate) fn put(&mut self, vm: VmView) -> Option<VmView> {
        if vm.phase != Phase::Running {
            self.cpu.remove(&vm.id);
        }
        let before = self.all.insert(vm.id, vm);
        self.arrange();
        before
    }

    /// Takes a VM out.
    pub(crate) fn remove(&mut self, id: VmId) {
        // The cursor goes to the one that takes its place.
        if self.cursor == Some(id) {
            let at = self.position();
            let next = at.and_then(|at| {
                self.shown
                    .get(at + 1)
                    .or(self.shown.get(at.checked_sub(1)?))
            });
            self.cursor = next.copied();
        }
        self.all.remove(&id);
        self.cpu.remove(&id);
        self.marks.remove(&id);
        self.arrange();
    }

    /// Notes how many CPUs a VM uses, in hundredths. The order follows with [`Vms::renew_order`]: all VMs are
    /// measured within a moment, and one order is enough for all of them.
    pub(super) fn note_cpu(&mut self, id: VmId, hundredths: u16, now: Timestamp) {
        let before = self.cpu.insert(id, hundredths);
        if self.sort == Sort::Cpu && before != Some(hundredths) {
            self.order_is_old.get_or_insert(now);
        }
    }

    /// Whether the order is older than what was noted.
    pub(super) fn is_order_old(&self) -> bool {
        self.order_is_old.is_some()
    }

    /// Sorts by what was noted, where that is a second old.
    pub(super) fn renew_order(&mut self, now: Timestamp) {
        let is_due = |since: Timestamp| now.duration_since(since).as_secs() >= 1;
        if self.order_is_old.is_some_and(is_due) {
            self.arrange();
        }
    }

    /// Filters, and sorts. It is done once for each change of what is shown, and not at each drawing.
    fn arrange(&mut self) {
        self.order_is_old = None;
        let at = self.position().unwrap_or(0);
        let words: Vec<String> = self
            .filter
            .split_whitespace()
            .map(str::to_lowercase)
            .collect();
        let mut shown: Vec<&VmView> = self
            .all
            .values()
            .filter(|vm| !(self.hide_stopped && vm.phase == Phase::Stopped))
            .filter(|vm| words.iter().all(|word| matches(vm, word)))
            .collect();
        let (sort, reverse) = (self.sort, self.reverse);
        shown.sort_by(|one, other| {
            let by_sort = sort.compare(one, other, &self.cpu);
            let by_sort = if reverse { by_sort.reverse() } else { by_sort };
            let by_name = one.name.cmp(&other.name);
            by_sort.then(if reverse && sort == Sort::Name {
                by_name.reverse()
            } else {
                by_name
            })
        });
        self.shown = shown.into_iter().map(|vm| vm.id).collect();
        if self.position().is_none() {
            let at = at.min(self.shown.len().saturating_sub(1));
            self.cursor = self.shown.get(at).copied();
        }
    }

    /// Changes what is shown.
    pub(crate) fn show(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
        self.arrange();
    }

    /// Shows only VMs that have each of these words in their name, phase, address, image or labels;
    /// a word with `!` before it must not be there.
    pub(crate) fn set_filter(&mut self, filter: &str) {
        if self.filter != filter {
            filter.clone_into(&mut self.filter);
            self.arrange();
        }
    }

    /// The filter.
    pub(crate) fn filter(&self) -> &str {
        &self.filter
    }

    /// All VMs, whether they are shown or not.
    pub(crate) fn all(&self) -> impl Iterator<Item = &VmView> {
        self.all.values()
    }

    /// The number of all VMs.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// One VM.
    pub(crate) fn get(&self, id: VmId) -> Option<&VmView> {
        self.all.get(&id)
    }

    /// Those that are shown, in order.
    pub(crate) fn shown(&self) -> &[VmId] {
        &self.shown
    }

    /// The VM under the cursor.
    pub(crate) fn selected(&self) -> Option<&VmView> {
        self.all.get(&self.cursor?)
    }

    /// The cursor's line.
    pub(crate) fn position(&self) -> Option<usize> {
        let cursor = self.cursor?;
        self.shown.iter().position(|id| *id == cursor)
    }

    /// Puts the cursor on a line, or the last one.
    pub(crate) fn select_line(&mut self, line: usize) {
        let last = self.shown.len().saturating_sub(1);
        self.cursor = self.shown.get(line.min(last)).copied();
    }

    /// Puts the cursor on a VM, if it is shown.
    pub(crate) fn select(&mut self, id: VmId) {
        if self.shown.contains(&id) {
            self.cursor = Some(id);
        }
    }

    /// Moves the cursor by so many lines, and not beyond an end.
    pub(crate) fn move_by(&mut self, lines: isize) {
        let at = self.position().unwrap_or(0);
        self.select_line(at.saturating_add_signed(lines));
    }

    /// Whether a VM is marked.
    pub(crate) fn is_marked(&self, id: VmId) -> bool {
        self.marks.contains(&id)
    }

    /// The number of marked VMs, hidden ones among them.
    pub(crate) fn mark_count(&self) -> usize {
        self.marks.len()
    }

    /// Marks the VM under the cursor or takes its mark away, and goes to the next line.
    pub(crate) fn toggle_mark(&mut self) {
        let Some(id) = self.cursor else { return };
        if !self.marks.remove(&id) {
            self.marks.insert(id);
        }
        self.move_by(1);
    }

    /// Marks all that are shown; takes all marks away where these have theirs.
    pub(crate) fn toggle_all_marks(&mut self) {
        if self.shown.iter().all(|id| self.marks.contains(id)) {
            self.marks.clear();
        } else {
            self.marks.extend(&self.shown);
        }
    }

    /// Takes all marks away; false where there were none.
    pub(crate) fn clear_marks(&mut self) -> bool {
        let had = !self.marks.is_empty();
        self.marks.clear();
        had
    }

    /// What a verb is for: those that are marked, by name, else the one under the cursor.
    pub(crate) fn meant(&self) -> Vec<&VmView> {
        if self.marks.is_empty() {
            return self.selected().into_iter().collect();
        }
        let mut meant: Vec<_> = self
            .marks
            .iter()
            .filter_map(|id| self.all.get(id))
            .collect();
        meant.sort_by(|one, other| one.name.cmp(&other.name));
        meant
    }
}

fn matches(vm: &VmView, word: &str) -> bool {
    if let Some(word) = word.strip_prefix('!').filter(|it| !it.is_empty()) {
        return !matches(vm, word);
    }
    vm.name.as_str().contains(word)
        || vm.phase.to_string().contains(word)
        || vm.image.to_lowercase().contains(word)
        || vm.address.is_some_and(|it| it.to_string().contains(word))
        || vm
            .spec
            .labels
            .iter()
            .any(|(key, value)| format!("{key}={value}").to_lowercase().contains(word))
}
