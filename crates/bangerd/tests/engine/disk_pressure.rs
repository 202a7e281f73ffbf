//! A host whose file system fills up under running VMs.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use banger_api::{
    Code, DeleteVm, EndReason, KillVm, Mib, PauseReason, Phase, SignalName, StopVm, VmSpecPatch,
    VmView,
};
use banger_host::{Host as _, Look as _, Process, Signal};
use bangerd::config::RootDiskChoice;
use bangerd::engine::Engine;

use crate::events::{after, newest, views};
use crate::world::{World, error_text, named, request};

/// Less than any reserve, in MiB.
const LITTLE: u64 = 10;

fn on_devices() -> World {
    World::with_root_disks(RootDiskChoice::DmSnapshot)
}

/// Runs the threads that look after VMs until something holds.
fn watched(world: &World, what: &str, holds: impl FnMut() -> bool) {
    let works = [Engine::guard, Engine::watch_machines, Engine::watch];
    looked_after(world, &works, what, holds);
}

/// Runs some of them.
fn looked_after(
    world: &World,
    works: &[fn(&Arc<Engine>)],
    what: &str,
    mut holds: impl FnMut() -> bool,
) {
    std::thread::scope(|scope| {
        for work in works {
            scope.spawn(|| work(&world.engine));
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        world.engine.shut_down();
    });
    assert!(holds(), "in vain: {what}");
}

fn show(world: &World) -> VmView {
    world.engine.show(&named("calm-otter")).unwrap()
}

fn stands_still(world: &World) -> bool {
    let processes = world.sim.state().processes;
    let mut living = processes.values().filter(|it| it.exit.is_none());
    living.any(|it| it.stopped)
}

/// A VM that was paused when the host filled up, under a daemon that has ended.
fn paused() -> World {
    paused_on(RootDiskChoice::DmSnapshot)
}

fn paused_on(root_disk: RootDiskChoice) -> World {
    let mut world = World::with_root_disks(root_disk);
    world.create("calm-otter", true, true);
    world.sim.set_free_mib(LITTLE);
    watched(&world, "paused", || show(&world).paused);
    world.restart();
    world.sim.set_free_mib(LITTLE);
    world
}

/// A VM whose write found the host's file system full, before the daemon notices.
fn stalled() -> (World, u32) {
    let world = World::new();
    let pid = world.create("calm-otter", true, true).pid.unwrap();
    world.sim.set_free_mib(0);
    assert!(!world.sim.write(pid));
    (world, pid)
}

#[test]
fn a_vm_is_paused_before_the_host_is_full_and_goes_on_by_itself() {
    for root_disk in [RootDiskChoice::DmSnapshot, RootDiskChoice::Copy] {
        let world = paused_on(root_disk);
        let vm = show(&world);
        assert_eq!(vm.phase, Phase::Running);
        assert_eq!(vm.pause_reason, Some(PauseReason::HostAlmostFull));
        assert!(vm.paused && stands_still(&world));
        let note = vm.notes.join(" ");
        assert!(note.contains("10 MiB are free"), "{note}");
        assert_eq!(world.engine.list()[0].pause_reason, vm.pause_reason);
        world.sim.set_free_mib(1 << 20);
        watched(&world, "it goes on", || !show(&world).paused);
        assert!(!stands_still(&world));
        let notes = show(&world).notes;
        assert!(notes.iter().all(|it| !it.contains("paused")), "{notes:?}");
    }
}

#[test]
fn a_pause_and_its_end_are_events_with_their_reason() {
    let world = World::new();
    world.create("calm-otter", true, true);
    let seq = newest(&world.engine);
    world.sim.set_free_mib(LITTLE);
    let was_paused = Cell::new(false);
    watched(&world, "goes on", || {
        if show(&world).paused {
            was_paused.set(true);
            world.sim.set_free_mib(1 << 20);
        }
        was_paused.get() && !show(&world).paused
    });
    let views = views(&after(&world.engine, seq));
    let mut reasons: Vec<_> = views.iter().map(|vm| vm.pause_reason).collect();
    reasons.dedup();
    assert_eq!(reasons, [Some(PauseReason::HostAlmostFull), None]);
}

#[test]
fn the_guard_writes_nothing_and_queries_only_the_process() {
    let world = World::new();
    world.create("calm-otter", true, true);
    let changes = world.sim.changes();
    world.sim.refuse(|_| true);
    world.sim.set_free_mib(LITTLE);
    looked_after(&world, &[Engine::guard], "paused", || show(&world).paused);
    assert_eq!(world.sim.changes() - changes, 1, "the signal alone");
}

#[test]
fn what_somebody_else_has_stopped_is_theirs_to_let_go_on() {
    let world = World::new();
    let vm = world.create("calm-otter", true, true);
    let request = KillVm {
        signal: Some(SignalName::Stop),
    };
    world
        .engine
        .kill(&named("calm-otter"), &request, &|_| {})
        .unwrap();
    assert!(stands_still(&world));
    world.sim.set_free_mib(LITTLE);
    let began = Instant::now();
    looked_after(&world, &[Engine::guard], "it has looked", || {
        if began.elapsed() > Duration::from_millis(600) {
            world.sim.set_free_mib(1 << 20);
        }
        began.elapsed() > Duration::from_millis(1500)
    });
    assert!(stands_still(&world), "{vm:?}");
}

#[test]
fn a_write_that_found_no_space_is_seen_and_done_when_there_is_room() {
    let (world, pid) = stalled();
    let works: [fn(&Arc<Engine>); 1] = [Engine::watch_machines];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while show(&world).pause_reason.is_none() && Instant::now() < deadline {
                std::thread::yield_now();
            }
            let vm = show(&world);
            world.sim.set_free_mib(1 << 20);
            assert_eq!(vm.pause_reason, Some(PauseReason::HostFull));
            let note = vm.notes.join(" ");
            assert!(note.contains("is kept"), "{note}");
        });
        looked_after(&world, &works, "it goes on", || {
            !world.sim.is_stalled(pid) && !show(&world).paused
        });
    });
    assert_eq!(show(&world).phase, Phase::Running);
}

#[test]
fn a_stop_on_a_full_host_ends_the_vm_at_once_and_says_what_is_lost() {
    let (mut world, _) = stalled();
    let began = Instant::now();
    let stopped = world
        .engine
        .stop(&named("calm-otter"), &StopVm::default(), &|_| {})
        .unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{stopped:?}");
    assert!(!stopped.synced && stopped.by == "kill", "{stopped:?}");
    assert_eq!(stopped.vm.phase, Phase::Stopped);
    let detail = stopped.vm.last_end.unwrap().detail;
    assert!(detail.contains("was full"), "{detail}");
    // The record still has a run; the next daemon finds no process.
    world.restart();
    assert_eq!(show(&world).phase, Phase::Stopped);
    world.start("calm-otter").unwrap();
}

#[test]
fn a_record_that_found_no_space_is_written_when_there_is_some() {
    let (world, _) = stalled();
    let stop = StopVm::default();
    let stopped = world.engine.stop(&named("calm-otter"), &stop, &|_| {});
    let record = format!("/state/vms/{}/vm.json", stopped.unwrap().vm.id);
    let written = || {
        let files = world.sim.state().files;
        let text = &files[std::path::Path::new(&record)].contents;
        String::from_utf8_lossy(text).contains("\"phase\": \"stopped\"")
    };
    assert!(!written());
    world.sim.set_free_mib(1 << 20);
    looked_after(&world, &[Engine::watch_machines], "written", written);
}

#[test]
fn a_stop_right_after_space_is_freed_loses_nothing() {
    let (world, _) = stalled();
    world.sim.set_free_mib(1 << 20);
    let stopped = world
        .engine
        .stop(&named("calm-otter"), &StopVm::default(), &|_| {})
        .unwrap();
    assert!(stopped.synced, "{stopped:?}");
    assert_eq!(stopped.by, "agent");
}

#[test]
fn a_kill_and_a_delete_work_on_a_full_host() {
    for root_disk in [RootDiskChoice::DmSnapshot, RootDiskChoice::Copy] {
        let mut world = World::with_root_disks(root_disk);
        world.create("neighbour", true, true);
        let alone = (world.run_time(), world.persistent());
        world.create("calm-otter", true, true);
        world.sim.set_free_mib(0);
        let killed = world
            .engine
            .kill(&named("calm-otter"), &KillVm::default(), &|_| {})
            .unwrap();
        assert_eq!(killed.vm.phase, Phase::Stopped);
        assert_eq!(world.run_time(), alone.0);
        world
            .engine
            .delete(&named("calm-otter"), &DeleteVm::default(), &|_| {})
            .unwrap();
        assert_eq!(world.persistent(), alone.1);
        world.restart();
        assert_eq!(world.engine.list().len(), 1);

        world.create("calm-otter", true, true);
        world.sim.set_free_mib(0);
        let request = DeleteVm {
            force: true,
            ..DeleteVm::default()
        };
        world
            .engine
            .delete(&named("calm-otter"), &request, &|_| {})
            .unwrap();
        assert_eq!((world.run_time(), world.persistent()), alone);
    }
}

#[test]
fn a_delete_that_a_crash_cuts_off_on_a_full_host_is_finished_by_the_next_daemon() {
    for n in 0..200 {
        let mut world = World::with_root_disks(RootDiskChoice::DmSnapshot);
        let before = world.persistent();
        world.create("calm-otter", true, false);
        world.sim.set_free_mib(0);
        world.sim.crash_before(n);
        let deleted = world
            .engine
            .delete(&named("calm-otter"), &DeleteVm::default(), &|_| {});
        let crashed = world.sim.has_crashed();
        world.restart_full();
        assert_eq!(world.engine.daemon().unexplained, Vec::<String>::new());
        if world.engine.list().is_empty() {
            assert_eq!(world.persistent(), before, "change {n}");
        } else {
            // The delete did not begin.
            world.sim.revive();
            world.start("calm-otter").unwrap();
        }
        if !crashed {
            deleted.unwrap();
            return;
        }
    }
    panic!("it never ends");
}

#[test]
fn a_host_that_is_full_stops_no_running_vm() {
    let mut world = World::new();
    world.create("calm-otter", true, true);
    world.restart_full();
    assert_eq!(show(&world).phase, Phase::Running);
    let set = VmSpecPatch {
        memory: Some(Mib(512)),
        ..VmSpecPatch::default()
    };
    let error = world
        .engine
        .set(&named("calm-otter"), &set, &|_| {})
        .unwrap_err();
    assert!(
        error.hints.iter().any(|it| it.contains("free some space")),
        "{error:?}"
    );
    let error = world
        .engine
        .create(&request("brave-lynx", true, false), &|_| {})
        .unwrap_err();
    assert!(
        error_text(&error).contains("0 MiB are free"),
        "{}",
        error_text(&error)
    );
    assert_eq!(world.engine.list().len(), 1);
    assert_eq!(show(&world).phase, Phase::Running);
}

#[test]
fn a_daemon_that_died_before_it_wrote_the_pause_down_is_understood() {
    let mut world = on_devices();
    let vm = world.create("calm-otter", true, true);
    let process = Process {
        pid: vm.pid.unwrap(),
        start_time: u64::from(vm.pid.unwrap()),
        boot_id: world.sim.boot_id().unwrap(),
    };
    world.sim.signal(&process, Signal::Stop).unwrap();
    world.restart();
    assert!(show(&world).paused);
    watched(&world, "it goes on", || !stands_still(&world));
}

#[test]
fn a_paused_vm_is_stopped_killed_and_deleted() {
    let world = paused();
    let stopped = world
        .engine
        .stop(&named("calm-otter"), &StopVm::default(), &|_| {})
        .unwrap();
    assert!(stopped.synced && !stopped.vm.paused, "{stopped:?}");
    assert_eq!(stopped.vm.last_end.unwrap().reason, EndReason::Stopped);

    let world = paused();
    let killed = world
        .engine
        .kill(&named("calm-otter"), &KillVm::default(), &|_| {})
        .unwrap();
    assert_eq!((killed.vm.phase, killed.vm.paused), (Phase::Stopped, false));

    let world = paused();
    let request = DeleteVm {
        force: true,
        ..DeleteVm::default()
    };
    world
        .engine
        .delete(&named("calm-otter"), &request, &|_| {})
        .unwrap();
    assert!(world.sim.state().snapshots.is_empty() && world.sim.state().loops.is_empty());
}

#[test]
fn nothing_is_made_or_started_that_would_be_paused_at_once() {
    let world = on_devices();
    world.create("calm-otter", true, false);
    world.sim.set_free_mib(3000);
    let error = world.start("calm-otter").unwrap_err();
    assert_eq!(error.code, Code::NotReady);
    assert!(
        error_text(&error).contains("3000 MiB are free"),
        "{}",
        error_text(&error)
    );
    let error = world
        .engine
        .create(&request("brave-lynx", true, false), &|_| {})
        .unwrap_err();
    assert!(
        error_text(&error).contains("3000 MiB are free"),
        "{}",
        error_text(&error)
    );
}
