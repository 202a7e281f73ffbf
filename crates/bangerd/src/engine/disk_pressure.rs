//! The guard: pauses VMs before the host's file system is full.
//!
//! A guest whose write finds no space would see an error, or stall during the write. So the guard
//! stops its hypervisor (SIGSTOP) while there is still space, whatever the hypervisor and the
//! disks, and resumes it (SIGCONT) when there is more. The guard has its own thread and never
//! blocks: it writes nothing to the disk, and does not wait for the root helper.
//!
//! ```text
//!   free space   ──────────────┐ resume_at ◄── a start needs this much, too
//!                              │   between the two, nothing changes
//!                              ├ pause_below
//!                              │   reserve for writes between two looks, and for dirty pages of the
//!   full         ──────────────┘   host, if a device breaks without space
//! ```
//!
//! The less space is left, the more often it looks, assuming that the file system fills at
//! [`FASTEST`].

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

/// The minimum and maximum of the reserve, in MiB. Between them it is a hundredth of the file
/// system, because large disks are fast; it is never more than an eighth.
const RESERVE: (u64, u64) = (512, 2048);

/// The maximum rate at which a file system may fill, in MiB per millisecond, for the guard to
/// notice in time.
const FASTEST: u64 = 2;

/// The minimum and maximum interval between two looks.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// The thresholds for pausing and resuming, in MiB of free space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) pause_below: u64,
    pub(super) resume_at: u64,
}

impl Limits {
    /// `breaks`: whether the VM has a disk that breaks when a write finds no space. For such a disk
    /// the host's dirty pages count, too, because file systems allocate space when they write.
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

/// The interval to the next look, with this much free space above the limit, in MiB.
fn next_look(above: u64) -> Duration {
    let (least, most) = LOOKS;
    Duration::from_millis(above / FASTEST).clamp(least, most)
}

/// The check that a VM would not be paused at once.
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

/// A sentence with the free and the required space.
pub(super) fn figures(layout: &Layout, host: &dyn Host, breaks: bool) -> String {
    host.room(layout.state()).map_or_else(
        |_| "the free space is unknown".to_owned(),
        |room| {
            let limit = Limits::of(room, breaks).resume_at;
            format!(
                "{} MiB are free, and it resumes at {limit} MiB",
                room.free_mib
            )
        },
    )
}

/// The guard's state between looks, so that it logs each thing once.
#[derive(Debug, Default)]
struct GuardState {
    blind: bool,
    refused: BTreeSet<VmId>,
    /// The backoff of signals through the root helper.
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

/// Pausing or resuming a VM.
type Work = fn(&Arc<Engine>, &Arc<Slot>) -> Result<()>;

/// The name of a signal in the backoff.
const SIGNAL: &str = "signal";

impl Engine {
    /// Whether a VM has a capability that breaks when the host's file system is full.
    pub(super) fn breaks_when_full(&self, vm: &Vm) -> bool {
        let mut capabilities = self.parts.capabilities.iter();
        capabilities.any(|it| it.breaks_when_full(vm))
    }

    /// Whether there is enough space to resume this VM.
    pub(super) fn has_room_for(&self, vm: &Vm) -> bool {
        let room = self.host().room(self.parts.layout.state());
        room.is_ok_and(|it| it.free_mib >= Limits::of(it, self.breaks_when_full(vm)).resume_at)
    }

    /// Whether VMs may soon have to be paused.
    pub(super) fn little_room(&self) -> bool {
        let room = self.host().room(self.parts.layout.state());
        room.is_ok_and(|it| it.free_mib < 2 * Limits::of(it, true).resume_at)
    }

    /// Guards all VMs until the engine is shut down. Runs in a thread of its own.
    pub fn guard(self: &Arc<Self>) {
        let mut memory = GuardState::default();
        while !self.is_stopping() {
            let wait = self.look_at_room(&mut memory);
            self.host().wait_any(&[], wait);
        }
    }

    /// Pauses or resumes VMs by the current free space, and returns the interval to the next look.
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
                    tracing::error!(%error, "the free space is unknown; VMs are not paused in time");
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
                // The root helper sends its signals, which may take a while.
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
        // A VM that is shutting down must be able to write its last data.
        let vm = slot.vm();
        let Some(process) = vm.process().filter(|_| is_guarded(&vm)) else {
            return Ok(());
        };
        // A process that was stopped by someone else is theirs to resume.
        if self.is_stopped(&vm) {
            return Ok(());
        }
        self.host().signal(process, Signal::Stop).during("pause")?;
        self.show_paused(&vm, PauseReason::HostAlmostFull);
        Ok(())
    }

    /// Marks a process that the guard had stopped as resumed. The VM is shown as paused until its
    /// machine reports that it runs (`stall.rs`), because a write may have failed before the pause.
    fn go_on(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<()> {
        let _turn = slot.turn();
        let vm = slot.vm();
        // A process that was stopped by someone else is theirs to resume.
        let ours = self.pause_of(vm.id).is_some();
        let Some(process) = vm.process().filter(|_| ours) else {
            return Ok(());
        };
        self.host()
            .signal(process, Signal::Continue)
            .during("resume")
            .map(drop)
    }

    /// Takes over from an earlier daemon: a stopped process is resumed when there is space.
    pub(super) fn adopt_pause(&self, vm: &Vm) {
        if self.is_stopped(vm) {
            self.show_paused(vm, PauseReason::HostAlmostFull);
        }
    }

    /// Resumes a paused VM in order to stop it.
    pub(super) fn wake(&self, slot: &Slot, vm: &Vm) -> Result<()> {
        let Some(process) = vm.process() else {
            return Ok(());
        };
        let _turn = slot.turn();
        if self.host().is_stopped(process) {
            self.host()
                .signal(process, Signal::Continue)
                .during("resume it, so that it can shut down")?;
        }
        Ok(())
    }
}

/// Whether it is paused because of a lack of space.
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
