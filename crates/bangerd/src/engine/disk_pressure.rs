//! The guard: VMs are paused before the host's file system is full.
//!
//! A guest whose write finds no space would see an error, or stand still in the middle of it. So
//! its hypervisor is stopped (SIGSTOP) while there still is room, whatever hypervisor and whatever
//! disks it has, and goes on (SIGCONT) by itself when there is more. The guard has a thread of its
//! own and waits for nobody else: neither for the disk, as it writes nothing down, nor for root.
//!
//! ```text
//!   free space   ──────────────┐ resume_at ◄── a start, too, needs this much
//!                              │   between the two all stays as it is
//!                              ├ pause_below
//!                              │   what can be written between two looks, and what the host has in
//!   full         ──────────────┘   memory for a device that breaks without space
//! ```
//!
//! The nearer the end, the more often it looks: as if a file system filled up at [`FASTEST`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use banger_api::{PauseReason, Phase, VmId};
use banger_host::{Finding, Host, Room, Signal};

use super::Engine;
use super::backoff::Backoff;
use super::hold::Slot;
use crate::error::{During, Result};
use crate::layout::Layout;
use crate::readiness::Check;
use crate::vm::Vm;

/// The least and the most that is held in reserve, in MiB; a hundredth of the file system between
/// them, as large disks are fast ones. Never more than an eighth of it.
const RESERVE: (u64, u64) = (512, 2048);

/// How fast a file system may fill up, in MiB a millisecond, for the guard to see it in time.
const FASTEST: u64 = 2;

/// How long the guard waits between two looks, at least and at most.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Where VMs are paused, and where they go on, in MiB of free space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) pause_below: u64,
    pub(super) resume_at: u64,
}

impl Limits {
    /// `breaks` tells of a disk that is lost to a run when a write finds no space: for such a one
    /// what the host has not written yet counts, too. A file's space is taken when it is written to.
    pub(super) fn of(room: Room, breaks: bool) -> Self {
        let (least, most) = RESERVE;
        let reserve = (room.size_mib / 100)
            .clamp(least, most)
            .min(room.size_mib / 8);
        let unwritten = if breaks { room.unwritten_mib } else { 0 };
        Self {
            pause_below: reserve + unwritten,
            resume_at: reserve + reserve / 2 + unwritten,
        }
    }
}

/// How long the guard may wait with so much free above the limit, in MiB.
fn next_look(above: u64) -> Duration {
    let (least, most) = LOOKS;
    Duration::from_millis(above / FASTEST).clamp(least, most)
}

/// That a VM would not be paused at once.
pub(super) fn check(layout: &Layout, breaks: bool) -> Check {
    let state = layout.state().to_owned();
    Check::new("room", move |host| match host.room(&state) {
        Ok(room) if room.free_mib >= Limits::of(room, breaks).resume_at => {
            Finding::Good(format!("{} MiB are free", room.free_mib))
        }
        Ok(room) => Finding::Bad {
            found: format!(
                "{} MiB are free for `{}`; a VM runs from {} MiB on",
                room.free_mib,
                state.display(),
                Limits::of(room, breaks).resume_at
            ),
            hint: format!("make room on that file system: df -h {}", state.display()),
        },
        Err(error) => Finding::Bad {
            found: error.to_string(),
            hint: format!("ls -ld {}", state.display()),
        },
    })
}

/// How much room there is, and how much it takes, in words.
pub(super) fn figures(layout: &Layout, host: &dyn Host, breaks: bool) -> String {
    host.room(layout.state()).map_or_else(
        |_| "how much is free cannot be told".to_owned(),
        |room| {
            let limit = Limits::of(room, breaks).resume_at;
            format!(
                "{} MiB are free, and it goes on at {limit} MiB",
                room.free_mib
            )
        },
    )
}

/// What the guard remembers from look to look, so that it says each thing once.
#[derive(Debug, Default)]
struct GuardState {
    blind: bool,
    refused: BTreeSet<VmId>,
    /// How often root is asked.
    asked: Backoff,
}

impl GuardState {
    fn note(&mut self, vm: &Vm, outcome: Result<()>) {
        match outcome {
            Ok(()) => {
                self.refused.remove(&vm.id);
            }
            Err(error) if self.refused.insert(vm.id) => {
                tracing::error!(vm = %vm.name, error = error.report(), "pause or resume");
            }
            Err(_) => {}
        }
    }
}

/// Pausing a VM, or letting it go on.
type Work = fn(&Arc<Engine>, &Arc<Slot>) -> Result<()>;

/// What a signal is called in the backoff.
const SIGNAL: &str = "signal";

impl Engine {
    /// Whether a VM has something that breaks when the host's file system is full.
    pub(super) fn breaks_when_full(&self, vm: &Vm) -> bool {
        let mut capabilities = self.parts.capabilities.iter();
        capabilities.any(|it| it.breaks_when_full(vm))
    }

    /// Whether there is room for this VM to go on.
    pub(super) fn has_room_for(&self, vm: &Vm) -> bool {
        let room = self.host().room(self.parts.layout.state());
        room.is_ok_and(|it| it.free_mib >= Limits::of(it, self.breaks_when_full(vm)).resume_at)
    }

    /// Whether VMs may have to be paused before long.
    pub(super) fn little_room(&self) -> bool {
        let room = self.host().room(self.parts.layout.state());
        room.is_ok_and(|it| it.free_mib < 2 * Limits::of(it, true).resume_at)
    }

    /// Guards all VMs until the engine is shut down. One thread runs this, and does nothing else.
    pub fn guard(self: &Arc<Self>) {
        let mut memory = GuardState::default();
        while !self.is_stopping() {
            let wait = self.look_at_room(&mut memory);
            self.host().wait_any(&[], wait);
        }
    }

    /// Pauses or resumes as the room is now, and tells when to look again.
    fn look_at_room(self: &Arc<Self>, memory: &mut GuardState) -> Duration {
        let slots = self.slots();
        let guarded: Vec<&Arc<Slot>> = slots.iter().filter(|it| is_guarded(&it.vm())).collect();
        if guarded.is_empty() {
            return LOOKS.1;
        }
        let room = match self.host().room(self.parts.layout.state()) {
            Ok(room) => room,
            Err(error) => {
                if !std::mem::replace(&mut memory.blind, true) {
                    tracing::error!(%error, "the free space cannot be told; no VM is paused in time");
                }
                return LOOKS.1;
            }
        };
        memory.blind = false;
        let mut wait = LOOKS.1;
        for slot in guarded {
            let vm = slot.vm();
            let limits = Limits::of(room, self.breaks_when_full(&vm));
            let (work, is_so): (Work, bool) = if room.free_mib < limits.pause_below {
                (Self::pause, self.is_stopped(&vm))
            } else {
                wait = wait.min(next_look(room.free_mib - limits.pause_below));
                if room.free_mib < limits.resume_at {
                    continue;
                }
                (Self::go_on, !self.is_stopped(&vm))
            };
            if is_so {
                memory.refused.remove(&vm.id);
                memory.asked.well(vm.id, SIGNAL);
            } else if !vm.is_signalled_by_root() {
                memory.note(&vm, work(self, slot));
            } else if memory.asked.attempt(vm.id, SIGNAL, Instant::now()) {
                // Root sends its signals, and may take its time.
                self.on_thread(slot, move |engine, slot| {
                    if let Err(error) = work(engine, slot) {
                        tracing::error!(vm = %slot.vm().name, error = error.report(), "pause or resume");
                    }
                });
            }
        }
        wait
    }

    pub(super) fn is_stopped(&self, vm: &Vm) -> bool {
        vm.process().is_some_and(|it| self.host().is_stopped(it))
    }

    fn pause(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<()> {
        let _turn = slot.turn();
        // One that is being ended must be able to write its last.
        let vm = slot.vm();
        let Some(process) = vm.process().filter(|_| is_guarded(&vm)) else {
            return Ok(());
        };
        // What somebody else has stopped is theirs to let go on.
        if self.is_stopped(&vm) {
            return Ok(());
        }
        self.host().signal(process, Signal::Stop).during("pause")?;
        self.show_paused(&vm, PauseReason::HostAlmostFull);
        Ok(())
    }

    /// What was stopped here runs again. It is shown as paused until its machine has said that it
    /// runs, too (`stall.rs`): a write may have found no space before it was stopped.
    fn go_on(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<()> {
        let _turn = slot.turn();
        let vm = slot.vm();
        // What somebody else has stopped is theirs to let go on.
        let ours = self.pause_of(vm.id).is_some();
        let Some(process) = vm.process().filter(|_| ours) else {
            return Ok(());
        };
        self.host()
            .signal(process, Signal::Continue)
            .during("resume")
            .map(drop)
    }

    /// What an earlier daemon did: a process that stands still goes on when there is room.
    pub(super) fn adopt_pause(&self, vm: &Vm) {
        if self.is_stopped(vm) {
            self.show_paused(vm, PauseReason::HostAlmostFull);
        }
    }

    /// Lets a paused VM go on because it is to be ended.
    pub(super) fn wake(&self, slot: &Slot, vm: &Vm) -> Result<()> {
        let Some(process) = vm.process() else {
            return Ok(());
        };
        let _turn = slot.turn();
        if self.host().is_stopped(process) {
            self.host()
                .signal(process, Signal::Continue)
                .during("let it go on, so that it can end")?;
        }
        Ok(())
    }
}

/// Whether it is paused for want of room.
fn is_guarded(vm: &Vm) -> bool {
    matches!(vm.phase, Phase::Starting | Phase::Running) && vm.process().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(size_mib: u64, unwritten_mib: u64, breaks: bool) -> (u64, u64) {
        let room = Room {
            size_mib,
            free_mib: 0,
            unwritten_mib,
        };
        let limits = Limits::of(room, breaks);
        (limits.pause_below, limits.resume_at)
    }

    #[test]
    fn the_reserve_grows_with_the_file_system_within_bounds() {
        assert_eq!(limits(20 << 10, 0, false), (512, 768));
        assert_eq!(limits(100 << 10, 0, false), (1024, 1536));
        assert_eq!(limits(8 << 20, 0, false), (2048, 3072));
        assert_eq!(limits(1024, 0, false), (128, 192));
    }

    #[test]
    fn what_is_not_written_yet_comes_on_top_where_a_disk_would_break() {
        assert_eq!(limits(20 << 10, 300, true), (812, 1068));
        assert_eq!(limits(20 << 10, 300, false), (512, 768));
    }

    #[test]
    fn the_nearer_the_end_the_more_often_it_looks() {
        assert_eq!(next_look(0), Duration::from_millis(20));
        assert_eq!(next_look(200), Duration::from_millis(100));
        assert_eq!(next_look(1 << 20), Duration::from_millis(500));
    }
}
