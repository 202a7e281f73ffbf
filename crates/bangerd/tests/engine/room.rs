//! A host whose file system fills up under VMs whose disks do not survive that.

use std::time::{Duration, Instant};

use banger_api::{Code, DeleteVm, EndReason, KillVm, Phase, StopVm, VmView};
use banger_host::{Host as _, Look as _, Process, Signal};
use bangerd::config::RootDiskChoice;

use crate::world::{World, named, request, told};

/// Less than any reserve, in MiB.
const LITTLE: u64 = 10;

fn on_devices() -> World {
    World::with_root_disks(RootDiskChoice::DmSnapshot)
}

/// Runs the watch until something holds.
fn watched(world: &World, what: &str, mut holds: impl FnMut() -> bool) {
    std::thread::scope(|scope| {
        scope.spawn(|| world.engine.watch());
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

/// A VM that was paused as the host filled up, under a daemon that is gone.
fn paused() -> World {
    let mut world = on_devices();
    world.create("calm-otter", true, true);
    world.sim.set_free_mib(LITTLE);
    watched(&world, "paused", || show(&world).paused);
    world.restart();
    world.sim.set_free_mib(LITTLE);
    world
}

#[test]
fn a_vm_is_paused_before_the_host_is_full_and_goes_on_by_itself() {
    let world = paused();
    let vm = show(&world);
    assert_eq!(vm.phase, Phase::Running);
    assert!(vm.paused && stands_still(&world));
    let note = vm.notes.join(" ");
    assert!(note.contains("10 MiB are free"), "{note}");
    world.sim.set_free_mib(1 << 20);
    watched(&world, "it goes on", || !show(&world).paused);
    assert!(!stands_still(&world));
    assert!(
        show(&world)
            .notes
            .iter()
            .all(|note| !note.contains("paused"))
    );
}

#[test]
fn a_vm_whose_disk_survives_a_full_host_is_not_paused() {
    let world = World::new();
    world.create("calm-otter", true, true);
    world.sim.set_free_mib(LITTLE);
    let began = Instant::now();
    watched(&world, "the watch has looked", || {
        began.elapsed() > Duration::from_millis(1200)
    });
    assert!(!show(&world).paused && !stands_still(&world));
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
    assert_eq!((killed.phase, killed.paused), (Phase::Stopped, false));

    let world = paused();
    let request = DeleteVm { force: true };
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
    world.sim.set_free_mib(5000);
    let error = world.start("calm-otter").unwrap_err();
    assert_eq!(error.code, Code::NotReady);
    assert!(
        told(&error).contains("5000 MiB are free"),
        "{}",
        told(&error)
    );
    let error = world
        .engine
        .create(&request("brave-lynx", true, false), &|_| {})
        .unwrap_err();
    assert!(
        told(&error).contains("5000 MiB are free"),
        "{}",
        told(&error)
    );
}

#[test]
fn a_disk_that_was_cut_off_is_given_back_and_told() {
    let world = on_devices();
    let vm = world.create("calm-otter", true, true);
    let store = std::path::PathBuf::from(format!("/state/vms/{}/root.cow", vm.id));
    world.sim.tamper(|state| {
        state.files.get_mut(&store).unwrap().contents[4] = 0;
        for snapshot in state.snapshots.values_mut() {
            snapshot.given_up = true;
        }
    });
    let cut_off = |vm: &VmView| vm.notes.iter().any(|note| note.contains("cut off"));
    assert!(cut_off(&show(&world)));
    let vm = world
        .engine
        .restart(&named("calm-otter"), &StopVm::default(), &|_| {})
        .unwrap();
    assert!(cut_off(&vm), "{:?}", vm.notes);
    let state = world.sim.state();
    assert_eq!(state.files[&store].contents[4], 1);
    assert!(state.snapshots.values().all(|it| !it.given_up));
    let vm = world
        .engine
        .restart(&named("calm-otter"), &StopVm::default(), &|_| {})
        .unwrap();
    assert!(!cut_off(&vm), "{:?}", vm.notes);
}

#[test]
fn a_device_without_a_vm_is_told_and_left_alone() {
    let mut world = on_devices();
    let vm = world.create("calm-otter", true, true);
    let name = world.sim.state().snapshots.into_keys().next().unwrap();
    let stranger = name.replace(&vm.id.to_string(), "00000000");
    world.sim.tamper(|state| {
        let snapshot = state.snapshots[&name].clone();
        state.snapshots.insert(stranger.clone(), snapshot);
    });
    world.restart();
    let unexplained = world.engine.daemon().unexplained;
    assert!(unexplained[0].contains(&stranger), "{unexplained:?}");
    assert!(world.sim.state().snapshots.contains_key(&stranger));
}

#[test]
fn what_its_disks_take_is_shown() {
    let world = on_devices();
    world.create("calm-otter", true, false);
    let disks = show(&world).disks;
    let names: Vec<&str> = disks.iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["root", "work"]);
    assert!(disks[0].shared.is_some());
}
