//! The gate of a VM on user networking: exactly one, according to NAT, while the VM runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use banger_api::{Phase, VmSpecPatch};
use banger_host::{Exit, Look as _, Sim};
use bangerd::config::{Config, NetworkChoice};

use crate::world::{World, named};

fn world() -> World {
    let config = Config {
        network: NetworkChoice::User,
        ..Config::default()
    };
    World::configured(Sim::new(), config)
}

/// The running gates: their numbers, and whether they are open.
fn gates(world: &World) -> Vec<(u32, bool)> {
    let processes = world.sim.state().processes.into_iter();
    let running = processes.filter(|(_, it)| it.exit.is_none() && it.arguments[0] == "gate");
    running
        .map(|(pid, it)| {
            let open = it.arguments.contains(&"--open".to_owned());
            let name = &it.arguments[1];
            assert_eq!(open, name.ends_with("-open"), "{name}");
            assert_eq!(!open, name.ends_with("-shut"), "{name}");
            (pid, open)
        })
        .collect()
}

fn nat(world: &World, on: bool) {
    let request = VmSpecPatch {
        nat: Some(on),
        ..VmSpecPatch::default()
    };
    world
        .engine
        .set(&named("calm-otter"), &request, &|_| {})
        .unwrap();
}

#[test]
fn nat_is_in_force_under_a_running_vm_by_another_gate() {
    let world = world();
    world.create("calm-otter", true, true);
    let first = gates(&world);
    assert_eq!(first.len(), 1);
    assert!(first[0].1);
    nat(&world, false);
    let second = gates(&world);
    assert_eq!(second.len(), 1);
    assert!(!second[0].1 && second[0].0 != first[0].0);
    nat(&world, true);
    assert_eq!(gates(&world).len(), 1);
    assert!(gates(&world)[0].1);
}

#[test]
fn the_next_daemon_finds_the_gate_and_starts_no_other() {
    let mut world = world();
    world.create("calm-otter", true, true);
    let before = gates(&world);
    world.restart();
    assert_eq!(gates(&world), before);
}

#[test]
fn a_setting_that_a_crash_cut_off_is_in_force_after_it() {
    let mut world = world();
    world.create("calm-otter", true, true);
    // The daemon crashes after it has written the record.
    world.sim.crash_before(1);
    let request = VmSpecPatch {
        nat: Some(false),
        ..VmSpecPatch::default()
    };
    let set = world.engine.set(&named("calm-otter"), &request, &|_| {});
    assert!(set.is_err() && world.sim.has_crashed());
    world.restart();
    let shown = world.engine.show(&named("calm-otter")).unwrap();
    assert_eq!(gates(&world).len(), 1);
    assert_eq!(gates(&world)[0].1, shown.spec.nat);
}

#[test]
fn a_gate_that_is_gone_is_put_back_and_one_without_its_vm_ends() {
    let world = world();
    world.create("calm-otter", true, true);
    let engine: Arc<_> = world.engine.clone();
    let watch = std::thread::spawn(move || engine.watch());
    let first = gates(&world)[0].0;
    world.sim.end_process(first, Exit::Signal(9));
    until(
        &world,
        || matches!(gates(&world)[..], [(pid, true)] if pid != first),
    );
    let process = world
        .engine
        .show(&named("calm-otter"))
        .unwrap()
        .pid
        .unwrap();
    world.sim.end_process(process, Exit::Signal(9));
    until(&world, || {
        let phase = world.engine.show(&named("calm-otter")).unwrap().phase;
        phase == Phase::Stopped && gates(&world).is_empty()
    });
    world.engine.shut_down();
    watch.join().unwrap();
}

/// Waits for the watch, which runs twice a second.
fn until(world: &World, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "it does not come about");
        world.sim.wait_any(&[], Duration::from_millis(5));
    }
}
