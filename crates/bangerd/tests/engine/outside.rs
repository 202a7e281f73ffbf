//! Changes from outside, and a root helper that does not answer whether there were any.

use std::time::{Duration, Instant};

use banger_api::Phase;
use banger_host::Exit;

use crate::world::{World, named};

const SOON: Duration = Duration::from_secs(10);

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::yield_now();
    }
}

/// Runs `what` while the watch runs.
fn while_watched(world: &World, what: impl FnOnce()) {
    std::thread::scope(|scope| {
        scope.spawn(|| world.engine.watch());
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(what));
        world.engine.shut_down();
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn a_silent_root_helper_does_not_delay_the_end_of_a_vm() {
    let world = World::new();
    for name in ["calm-otter", "wild-heron", "shy-lynx"] {
        world.create(name, true, true);
    }
    let pid = world
        .engine
        .show(&named("calm-otter"))
        .unwrap()
        .pid
        .unwrap();
    let patience = Duration::from_secs(4);
    world.sim.be_silent(patience);
    while_watched(&world, || {
        wait_for("it is asked", || world.sim.silences() > 0);
        let began = Instant::now();
        world.sim.end_process(pid, Exit::Signal(9));
        let phase = || world.engine.show(&named("calm-otter")).unwrap().phase;
        wait_for("its end is seen", || phase() == Phase::Stopped);
        assert!(began.elapsed() < patience / 2, "{:?}", began.elapsed());
    });
}

#[test]
fn what_is_unknown_is_not_put_back_and_what_is_known_again_is() {
    let world = World::new();
    world.create("calm-otter", true, true);
    let before = world.run_time();
    world.sim.be_silent(Duration::ZERO);
    while_watched(&world, || {
        let changes = world.sim.changes();
        world.sim.tamper(|state| state.tables.clear());
        wait_for("it is asked again and again", || world.sim.silences() > 5);
        assert_eq!(
            world.sim.changes(),
            changes,
            "something was changed on a guess"
        );
        world.sim.revive();
        wait_for("it is put back", || world.run_time() == before);
    });
}
