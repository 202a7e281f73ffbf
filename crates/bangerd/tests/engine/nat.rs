//! NAT: the firewall and forwarding of the host, on and off.

use banger_api::{KillVm, VmSpecPatch};

use crate::world::{World, named};

#[test]
fn nat_is_turned_on_and_off_under_a_running_vm_and_the_host_is_as_before() {
    let world = World::new();
    world.create("calm-otter", false, true);
    let without = world.run_time();
    let nat = |on| VmSpecPatch {
        nat: Some(on),
        ..VmSpecPatch::default()
    };
    world
        .engine
        .set(&named("calm-otter"), &nat(true), &|_| {})
        .unwrap();
    let with = world.run_time();
    assert_eq!(with.tables.values().next().unwrap().nat.len(), 1);
    assert!(with.forwarding["eth0"]);
    world
        .engine
        .set(&named("calm-otter"), &nat(false), &|_| {})
        .unwrap();
    assert_eq!(world.run_time(), without);
}

#[test]
fn the_uplinks_forwarding_is_restored_when_the_last_vm_that_needs_it_goes() {
    let world = World::new();
    world.create("one", true, true);
    world.create("two", true, true);
    let kill = KillVm::default();
    world.engine.kill(&named("one"), &kill, &|_| {}).unwrap();
    assert!(world.run_time().forwarding["eth0"], "two still needs it");
    world.engine.kill(&named("two"), &kill, &|_| {}).unwrap();
    assert!(!world.run_time().forwarding["eth0"]);
    // An interface that forwarded before continues to.
    world
        .sim
        .tamper(|state| state.forwarding.insert("eth0".to_owned(), true));
    world.start("one").unwrap();
    world.engine.kill(&named("one"), &kill, &|_| {}).unwrap();
    assert!(world.run_time().forwarding["eth0"]);
}

#[test]
fn a_flushed_rule_set_is_put_back() {
    let world = World::new();
    world.create("calm-otter", true, true);
    let before = world.run_time();
    let watch = {
        let engine = world.engine.clone();
        std::thread::spawn(move || engine.watch())
    };
    world.sim.tamper(|state| state.tables.clear());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while world.run_time() != before {
        assert!(
            std::time::Instant::now() < deadline,
            "{:?}",
            world.run_time()
        );
        std::thread::yield_now();
    }
    world.engine.shut_down();
    watch.join().unwrap();
}

#[test]
fn a_host_without_an_uplink_or_whose_uplink_goes_is_left_as_it_was() {
    let world = World::new();
    let before = world.run_time();
    world.sim.tamper(|state| state.forwarding.remove("eth0"));
    world.create("calm-otter", true, true);
    let kill = KillVm::default();
    world
        .engine
        .kill(&named("calm-otter"), &kill, &|_| {})
        .unwrap();
    assert!(world.run_time().docker_user.is_empty());
    world
        .sim
        .tamper(|state| state.forwarding.insert("eth0".to_owned(), false));
    world.start("calm-otter").unwrap();
    world.sim.tamper(|state| state.forwarding.remove("eth0"));
    let nat = |on| VmSpecPatch {
        nat: Some(on),
        ..VmSpecPatch::default()
    };
    for on in [false, true] {
        world
            .engine
            .set(&named("calm-otter"), &nat(on), &|_| {})
            .unwrap();
    }
    world
        .engine
        .kill(&named("calm-otter"), &kill, &|_| {})
        .unwrap();
    world
        .sim
        .tamper(|state| state.forwarding.insert("eth0".to_owned(), false));
    assert_eq!(world.run_time(), before);
}
