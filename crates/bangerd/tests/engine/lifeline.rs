//! Temporary VMs, and the lifelines that keep them.

use std::time::{Duration, Instant};

use banger_api::{Code, CreateVm, VmSpecPatch};

use crate::world::{World, named, request};

/// Longer than a client of a temporary VM may take to come.
const LATER: Duration = Duration::from_secs(31);

fn temporary(name: &str) -> CreateVm {
    CreateVm {
        temporary: true,
        ..request(name, false, true)
    }
}

fn names(world: &World) -> Vec<String> {
    let vms = world.engine.list();
    vms.iter().map(|vm| vm.name.to_string()).collect()
}

/// Lets the engine look at this time, and waits for what it deletes then.
fn look(world: &World, after: Duration, expected: &[&str]) {
    world.engine.delete_abandoned(Instant::now() + after);
    let deadline = Instant::now() + Duration::from_secs(30);
    while names(world) != expected && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(names(world), expected);
}

#[test]
fn a_temporary_vm_lives_as_long_as_its_last_lifeline() {
    let world = World::new();
    let empty = world.persistent();
    world.create("kept", false, true);
    let kept = world.persistent();
    world.engine.create(&temporary("once"), &|_| {}).unwrap();
    let first = world.engine.lifeline(&named("once")).unwrap();
    let second = world.engine.lifeline(&named("once")).unwrap();
    look(&world, LATER, &["kept", "once"]);
    drop(first);
    look(&world, LATER, &["kept", "once"]);
    drop(second);
    look(&world, Duration::ZERO, &["kept"]);
    assert_eq!(world.persistent(), kept, "something is left");
    assert_ne!(kept, empty);
    let error = world.engine.lifeline(&named("kept")).unwrap_err();
    assert_eq!(error.code, Code::Conflict);
}

#[test]
fn a_temporary_vm_without_a_client_goes_also_after_a_restart() {
    let mut world = World::new();
    world.engine.create(&temporary("once"), &|_| {}).unwrap();
    look(&world, Duration::ZERO, &["once"]);
    let lifeline = world.engine.lifeline(&named("once")).unwrap();
    world.restart();
    drop(lifeline);
    // The next daemon waits for a client of its own.
    look(&world, Duration::ZERO, &["once"]);
    look(&world, LATER, &[]);
}

#[test]
fn a_daemon_that_stops_leaves_temporary_vms_to_the_next_one() {
    let mut world = World::new();
    world.engine.create(&temporary("once"), &|_| {}).unwrap();
    let lifeline = world.engine.lifeline(&named("once")).unwrap();
    lifeline.leave_to_the_next();
    look(&world, LATER, &["once"]);
    world.restart();
    look(&world, LATER, &["once"]);
    look(&world, LATER * 2, &[]);
}

#[test]
fn a_protected_temporary_vm_stays_until_its_protection_is_lifted() {
    let world = World::new();
    world.engine.create(&temporary("once"), &|_| {}).unwrap();
    let protect = |protected| {
        let patch = VmSpecPatch {
            protected: Some(protected),
            ..VmSpecPatch::default()
        };
        world.engine.set(&named("once"), &patch, &|_| {}).unwrap();
    };
    look(&world, Duration::ZERO, &["once"]);
    protect(true);
    look(&world, LATER, &["once"]);
    protect(false);
    look(&world, LATER, &["once"]);
    look(&world, LATER * 2, &[]);
}

#[test]
fn a_temporary_vm_that_does_not_start_is_gone_at_once() {
    let world = World::new();
    // The image is imported by the first.
    world.create("other", false, true);
    let before = world.persistent();
    let mut failures = 0;
    for n in 0.. {
        world.sim.fail_at(n);
        let created = world.engine.create(&temporary("once"), &|_| {});
        world.sim.fail_at(1_000_000);
        if created.is_ok() {
            break;
        }
        failures += 1;
        assert_eq!(names(&world), ["other"], "the fault at change {n}");
        assert_eq!(world.persistent(), before, "the fault at change {n}");
    }
    assert!(failures > 5, "{failures} changes can fail");
}
