//! VMs are paused before the host's file system is full.
//!
//! A disk that [`needs_room`](crate::capability::Capability::needs_room) breaks when a write finds
//! none, so the VM's process is stopped (SIGSTOP) while there still is some, whatever hypervisor it
//! is, and goes on (SIGCONT) by itself when there is more.
//!
//! ```text
//!   free space   ──────────────┐ resume_at ◄── a start, too, needs this much
//!                              │   between the two all stays as it is
//!                              ├ pause_below
//!                              │   what can be under way between two looks, and what the host
//!   full         ──────────────┘   has in memory and has not written yet
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use banger_api::{Event, Phase, VmId};
use banger_host::{Finding, Host, Room, Signal};

use super::Engine;
use super::hold::{PUTTING_BACK, Slot};
use crate::error::{During, Result};
use crate::layout::Layout;
use crate::readiness::Check;
use crate::vm::Vm;

/// The least and the most that is held in reserve, in MiB; a hundredth of the file system between
/// them, as large disks are fast ones. Never more than a quarter of it.
const RESERVE: (u64, u64) = (512, 4096);

/// Where VMs are paused, and where they go on, in MiB of free space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) pause_below: u64,
    pub(super) resume_at: u64,
}

impl Limits {
    pub(super) fn of(room: Room) -> Self {
        let (least, most) = RESERVE;
        let reserve = (room.size_mib / 100)
            .clamp(least, most)
            .min(room.size_mib / 4);
        Self {
            pause_below: reserve + room.unwritten_mib,
            resume_at: reserve + reserve / 2 + room.unwritten_mib,
        }
    }
}

/// That a VM whose disk needs room would not be paused at once.
pub(super) fn check(layout: &Layout) -> Check {
    let state = layout.state().to_owned();
    Check::new("room", move |host| match host.room(&state) {
        Ok(room) if room.free_mib >= Limits::of(room).resume_at => {
            Finding::Good(format!("{} MiB are free", room.free_mib))
        }
        Ok(room) => Finding::Bad {
            found: format!(
                "{} MiB are free for `{}`; a VM on `dm-snapshot` runs from {} MiB on",
                room.free_mib,
                state.display(),
                Limits::of(room).resume_at
            ),
            hint: format!("make room on that file system: df -h {}", state.display()),
        },
        Err(error) => Finding::Bad {
            found: error.to_string(),
            hint: format!("ls -ld {}", state.display()),
        },
    })
}

/// What is said of a VM that is paused.
pub(super) fn note(layout: &Layout, host: &dyn Host) -> String {
    let state = layout.state();
    let figures = host.room(state).map_or_else(
        |_| "too little space is free".to_owned(),
        |room| {
            let limit = Limits::of(room).resume_at;
            format!(
                "{} MiB are free, and it goes on at {limit} MiB",
                room.free_mib
            )
        },
    );
    format!(
        "it is paused, as the host's file system is almost full: {figures}; make room: df -h {}",
        state.display()
    )
}

impl Engine {
    /// Whether a VM has something that breaks when the host's file system is full.
    pub(super) fn needs_room(&self, vm: &Vm) -> bool {
        self.parts.capabilities.iter().any(|it| it.needs_room(vm))
    }

    /// Pauses or resumes as the room is now. `stopped` are the VMs that this daemon has stopped: one
    /// that somebody holds has no record of it.
    pub(super) fn look_at_room(self: &Arc<Self>, stopped: &mut BTreeSet<VmId>) {
        let slots = self.slots();
        let concerned: Vec<&Arc<Slot>> = slots
            .iter()
            .filter(|slot| {
                let vm = slot.vm();
                // One that is being ended must be able to write its last.
                matches!(vm.phase, Phase::Starting | Phase::Running)
                    && vm.process.is_some()
                    && self.needs_room(&vm)
            })
            .collect();
        if concerned.is_empty() {
            return;
        }
        let room = match self.host().room(self.parts.layout.state()) {
            Ok(room) => room,
            Err(error) => {
                tracing::warn!(%error, "look at the free space");
                return;
            }
        };
        let limits = Limits::of(room);
        for slot in concerned {
            let outcome = if room.free_mib < limits.pause_below {
                self.pause(slot, room, stopped)
            } else if room.free_mib >= limits.resume_at {
                self.go_on(slot, stopped)
            } else {
                Ok(())
            };
            if let Err(error) = outcome {
                tracing::error!(vm = %slot.vm().name, error = error.report(), "pause or resume");
            }
        }
    }

    /// The signal first, as it is urgent; then the record. A crash in between is seen by the next
    /// daemon, which finds the process stopped.
    fn pause(&self, slot: &Arc<Slot>, room: Room, stopped: &mut BTreeSet<VmId>) -> Result<()> {
        let vm = slot.vm();
        let Some(process) = &vm.process else {
            return Ok(());
        };
        if !self.host().is_stopped(process) {
            self.host().signal(process, Signal::Stop).during("pause")?;
            tracing::warn!(vm = %vm.name, free_mib = room.free_mib, "paused for want of room");
            stopped.insert(vm.id);
        }
        self.record_pause(slot, true)
    }

    fn go_on(self: &Arc<Self>, slot: &Arc<Slot>, stopped: &mut BTreeSet<VmId>) -> Result<()> {
        let vm = slot.vm();
        let Some(process) = &vm.process else {
            return Ok(());
        };
        let ours = stopped.remove(&vm.id);
        if !vm.paused && !ours {
            return Ok(());
        }
        self.host()
            .signal(process, Signal::Continue)
            .during("resume")?;
        tracing::info!(vm = %vm.name, "there is room again; it goes on");
        if vm.phase == Phase::Running {
            // Its clock stood still.
            self.on_thread(slot, Engine::tell_time);
        }
        self.record_pause(slot, false)
    }

    /// Writes down that a running VM is paused, or is not, if nobody holds it.
    fn record_pause(&self, slot: &Arc<Slot>, paused: bool) -> Result<()> {
        let vm = slot.vm();
        if vm.paused == paused || vm.phase != Phase::Running || slot.is_held() {
            return Ok(());
        }
        let Ok(hold) = slot.hold(PUTTING_BACK) else {
            return Ok(());
        };
        let mut vm = hold.vm();
        if vm.phase != Phase::Running {
            return Ok(());
        }
        vm.paused = paused;
        let saved = self.save(slot, &vm);
        if saved.is_err() {
            // It is so all the same, and is recorded when there is room.
            slot.replace(vm.clone());
        }
        let (id, name, phase) = (vm.id, vm.name, vm.phase);
        self.tell(&Event::Phase { id, name, phase });
        saved
    }

    /// What an earlier daemon did, or was about to write down: a process that stands still is
    /// paused by us, and goes on when there is room.
    pub(super) fn adopt_pause(&self, slot: &Slot, vm: &Vm) -> Result<()> {
        let stands_still = vm
            .process
            .as_ref()
            .is_some_and(|it| self.host().is_stopped(it));
        let paused = stands_still && (vm.paused || self.needs_room(vm));
        if vm.paused == paused {
            return Ok(());
        }
        self.save(
            slot,
            &Vm {
                paused,
                ..vm.clone()
            },
        )
    }

    /// Lets a paused VM go on because it is to be ended.
    pub(super) fn wake(&self, vm: &mut Vm) -> Result<()> {
        if let Some(process) = vm.process.as_ref().filter(|it| self.host().is_stopped(it)) {
            self.host()
                .signal(process, Signal::Continue)
                .during("let it go on, so that it can end")?;
        }
        vm.paused = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(size_mib: u64, unwritten_mib: u64) -> (u64, u64) {
        let limits = Limits::of(Room {
            size_mib,
            free_mib: 0,
            unwritten_mib,
        });
        (limits.pause_below, limits.resume_at)
    }

    #[test]
    fn the_reserve_grows_with_the_file_system_within_bounds() {
        assert_eq!(limits(20 << 10, 0), (512, 768));
        assert_eq!(limits(200 << 10, 0), (2048, 3072));
        assert_eq!(limits(8 << 20, 0), (4096, 6144));
        assert_eq!(limits(1024, 0), (256, 384));
    }

    #[test]
    fn what_is_not_written_yet_comes_on_top() {
        assert_eq!(limits(20 << 10, 300), (812, 1068));
    }
}
