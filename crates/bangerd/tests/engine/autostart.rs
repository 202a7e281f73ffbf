//! VMs that start with the host: which ones, when, and the notes of those that fail.

use banger_api::{Mib, Phase, StopVm, VmSpecPatch};
use banger_host::{FileOp, Look as _, Op};

use crate::events::{after, newest, views};
use crate::world::{World, named, request};

fn set(world: &World, name: &str, patch: &VmSpecPatch) {
    world.engine.set(&named(name), patch, &|_| {}).unwrap();
}

fn autostart(on: bool) -> VmSpecPatch {
    VmSpecPatch {
        autostart: Some(on),
        ..VmSpecPatch::default()
    }
}

/// The next daemon, after a boot of the host.
fn reboot(world: &mut World) {
    world.sim.reboot();
    world.restart();
}

fn phase(world: &World, name: &str) -> Phase {
    world.engine.show(&named(name)).unwrap().phase
}

#[test]
fn vms_start_with_the_host_and_not_with_the_daemon() {
    let mut world = World::new();
    for name in ["runs", "is-stopped", "stays"] {
        world.create(name, true, name != "is-stopped");
    }
    set(&world, "runs", &autostart(true));
    set(&world, "is-stopped", &autostart(true));
    let stop = StopVm::default();
    world.restart();
    world.engine.start_with_host();
    assert_eq!(
        phase(&world, "is-stopped"),
        Phase::Stopped,
        "the host did not boot"
    );

    reboot(&mut world);
    // The view is correct even before anything is started.
    for name in ["runs", "is-stopped", "stays"] {
        assert_eq!(phase(&world, name), Phase::Stopped, "{name}");
    }
    world.engine.start_with_host();
    assert_eq!(phase(&world, "runs"), Phase::Running);
    assert_eq!(phase(&world, "is-stopped"), Phase::Running);
    assert_eq!(phase(&world, "stays"), Phase::Stopped);
    world.engine.stop(&named("runs"), &stop, &|_| {}).unwrap();
    world.restart();
    world.engine.start_with_host();
    assert_eq!(phase(&world, "runs"), Phase::Stopped, "its user stopped it");

    set(&world, "is-stopped", &autostart(false));
    reboot(&mut world);
    world.engine.start_with_host();
    assert_eq!(phase(&world, "runs"), Phase::Running);
    assert_eq!(phase(&world, "is-stopped"), Phase::Stopped);
}

#[test]
fn a_daemon_that_is_killed_in_between_is_followed_by_one_that_goes_on() {
    for n in 0.. {
        let mut world = World::new();
        for name in ["one", "two"] {
            world.create(name, false, false);
            set(&world, name, &autostart(true));
        }
        world.sim.reboot();
        world.sim.revive();
        let engine = World::unrecovered(&world.sim, &world.config);
        world.sim.crash_before(n);
        if engine.recover().is_ok() {
            engine.start_with_host();
        }
        let has_crashed = world.sim.has_crashed();
        drop(engine);
        world.restart();
        world.engine.start_with_host();
        for name in ["one", "two"] {
            assert_eq!(phase(&world, name), Phase::Running, "{name}, change {n}");
        }
        if !has_crashed {
            assert!(n > 4);
            break;
        }
    }
}

#[test]
fn vms_that_exceed_the_hosts_memory_are_not_started_and_have_a_note() {
    let mut world = World::new();
    let host = world.sim.memory_mib().unwrap();
    for (name, memory) in [("large", host - 1024), ("second", 2048), ("small", 512)] {
        let mut request = request(name, false, false);
        request.spec.memory = Some(Mib(memory));
        request.spec.autostart = Some(true);
        world.engine.create(&request, &|_| {}).unwrap();
    }
    reboot(&mut world);
    let seq = newest(&world.engine);
    world.engine.start_with_host();
    assert_eq!(phase(&world, "large"), Phase::Running);
    assert_eq!(phase(&world, "small"), Phase::Running);
    let notes = |world: &World| {
        let view = world.engine.show(&named("second")).unwrap();
        let is_of_it = |note: &String| note.contains("not started with the host");
        let notes: Vec<_> = view.notes.into_iter().filter(is_of_it).collect();
        notes.join("\n")
    };
    assert_eq!(phase(&world, "second"), Phase::Stopped);
    let note = notes(&world);
    assert!(note.contains("1G left"), "{note}");
    assert!(note.ends_with("banger vm start second"), "{note}");
    let seen = views(&after(&world.engine, seq));
    assert!(seen.iter().any(|vm| vm.notes.contains(&note)), "no event");
    world.restart();
    assert_eq!(notes(&world), note, "it outlives the daemon");
    let stop = StopVm::default();
    world.start("second").unwrap();
    world.engine.stop(&named("second"), &stop, &|_| {}).unwrap();
    assert_eq!(notes(&world), "", "it has run since");
}

#[test]
fn a_failed_start_is_reported_and_delays_no_other() {
    let mut world = World::new();
    for name in ["first", "second"] {
        world.create(name, false, false);
        set(&world, name, &autostart(true));
    }
    reboot(&mut world);
    let id = world.engine.show(&named("first")).unwrap().id.to_string();
    world.sim.refuse(move |op| match op {
        Op::File(FileOp::WriteScratch { path, .. }) => path.to_string_lossy().contains(&id),
        _ => false,
    });
    world.engine.start_with_host();
    world.sim.revive();
    assert_eq!(phase(&world, "first"), Phase::Stopped);
    assert_eq!(phase(&world, "second"), Phase::Running);
    let view = world.engine.show(&named("first")).unwrap();
    let is_of_it = |note: &String| note.starts_with("it was not started with the host: start");
    assert!(view.notes.iter().any(is_of_it), "{view:?}");
}
