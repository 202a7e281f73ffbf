//! `vm stop --all`: each running VM stops, whatever happens to the others.

use banger_api::{Code, EndReason, Phase, StopAllVms};
use banger_host::{Instance, Op, RootOp};

use crate::world::World;

fn stop_all(world: &World, request: &StopAllVms) -> banger_api::StopAllReport {
    world.engine.stop_all(request, &|_| {}).unwrap()
}

#[test]
fn all_running_vms_are_stopped_and_listed_by_name() {
    let world = World::new();
    let empty = world.run_time();
    for name in ["web", "api", "mail"] {
        world.create(name, true, true);
    }
    world.create("idle", false, false);
    let steps = std::sync::Mutex::new(Vec::new());
    let heard = |progress: banger_api::Progress| {
        if progress.seconds.is_some() {
            steps.lock().unwrap().push(progress.step);
        }
    };
    let all = world
        .engine
        .stop_all(&StopAllVms::default(), &heard)
        .unwrap();
    let names: Vec<&str> = all.vms.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["api", "mail", "web"]);
    for outcome in &all.vms {
        let stopped = outcome.stopped.as_ref().unwrap();
        assert!(stopped.synced, "{outcome:?}");
        assert_eq!(stopped.vm.phase, Phase::Stopped);
        let end = stopped.vm.last_end.as_ref().unwrap();
        assert_eq!(end.detail, "`vm stop --all`");
    }
    steps.lock().unwrap().sort();
    assert_eq!(
        *steps.lock().unwrap(),
        ["stop api", "stop mail", "stop web"]
    );
    assert_eq!(world.run_time(), empty);
    assert_eq!(stop_all(&world, &StopAllVms::default()).vms, []);
}

#[test]
fn a_host_that_goes_down_is_the_reason_in_the_record() {
    let mut world = World::new();
    world.create("web", false, true);
    let request = StopAllVms {
        host_shutdown: true,
        ..StopAllVms::default()
    };
    stop_all(&world, &request);
    world.restart();
    let vm = &world.engine.list()[0];
    let end = vm.last_end.as_ref().unwrap();
    assert_eq!(vm.phase, Phase::Stopped);
    assert_eq!(
        (end.reason, end.detail.as_str()),
        (EndReason::Stopped, "the host shut down")
    );
}

#[test]
fn one_that_fails_keeps_no_other_from_its_stop() {
    let world = World::new();
    for name in ["web", "api"] {
        world.create(name, false, true);
    }
    let (tap, _) = world.sim.state().taps.into_iter().next().unwrap();
    let (_, one) = Instance::of_tap(&tap).unwrap();
    world.sim.refuse(
        move |op| matches!(op, Op::Root(_, RootOp::RemoveTap { machine }) if *machine == one),
    );
    let all = stop_all(&world, &StopAllVms::default());
    let failed: Vec<bool> = all.vms.iter().map(|it| it.error.is_some()).collect();
    assert_eq!(failed.iter().filter(|it| **it).count(), 1, "{all:?}");
    assert!(
        all.vms
            .iter()
            .all(|it| it.error.is_some() != it.stopped.is_some())
    );
    let running = world.sim.state().processes.into_values();
    assert_eq!(running.filter(|it| it.exit.is_none()).count(), 0);
}

#[test]
fn a_number_out_of_range_stops_nothing() {
    let world = World::new();
    world.create("web", false, true);
    let seconds = |seconds| StopAllVms {
        timeout_seconds: Some(seconds),
        ..StopAllVms::default()
    };
    let parallel = |count| StopAllVms {
        parallel: Some(count),
        ..StopAllVms::default()
    };
    for request in [seconds(0), seconds(3601), parallel(0), parallel(65)] {
        let error = world.engine.stop_all(&request, &|_| {}).unwrap_err();
        assert_eq!(error.code, Code::Invalid);
    }
    assert_eq!(world.engine.list()[0].phase, Phase::Running);
}
