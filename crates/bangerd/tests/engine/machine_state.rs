//! Machines that their hypervisor stopped by itself.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use banger_api::{EndReason, PauseReason, Phase, VmView};

use crate::world::{World, named};

/// Sets the machine's state as the hypervisor reports it; empty for a running machine.
fn report(world: &World, state: &str) {
    let id = show(world).id;
    let socket = PathBuf::from(format!("/state/vms/{id}/machine/qmp.sock"));
    world.sim.tamper(|host| host.files.remove(&socket));
    world.sim.append(&socket, state);
}

fn show(world: &World) -> VmView {
    world.engine.show(&named("calm-otter")).unwrap()
}

/// Runs the thread that queries machines, and `work` beside it.
fn watched(world: &World, work: impl FnOnce()) {
    std::thread::scope(|scope| {
        scope.spawn(|| world.engine.watch_machines());
        work();
        world.engine.shut_down();
    });
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_machine_paused_in_its_hypervisor_is_shown_as_paused_and_not_resumed() {
    let world = World::new();
    world.create("calm-otter", true, true);
    report(&world, "paused");
    watched(&world, || {
        wait_until("shown as paused", || show(&world).paused);
        let vm = show(&world);
        assert_eq!(vm.pause_reason, Some(PauseReason::Hypervisor));
        assert_eq!(vm.phase, Phase::Running);
        let notes = vm.notes.join(" ");
        assert!(notes.contains("banger vm restart calm-otter"), "{notes}");
        report(&world, "");
        wait_until("shown as running", || !show(&world).paused);
    });
}

#[test]
fn a_machine_that_its_hypervisor_gave_up_is_taken_down_with_the_reason() {
    let world = World::new();
    world.create("neighbour", true, true);
    let alone = world.run_time();
    world.create("calm-otter", true, true);
    report(&world, "internal-error");
    watched(&world, || {
        wait_until("stopped", || show(&world).phase == Phase::Stopped);
    });
    let end = show(&world).last_end.unwrap();
    assert_eq!(end.reason, EndReason::Lost);
    assert!(end.detail.contains("internal error"), "{}", end.detail);
    assert!(end.detail.contains("hypervisor.log"), "{}", end.detail);
    assert_eq!(world.run_time(), alone);
    world.start("calm-otter").unwrap();
}
