//! The four laws, over every verb as a whole.
//!
//! 1. Every hook is idempotent (`bangerd::assemble` also tests each capability).
//! 2. A fault at change 0, 1, 2 … leaves the host pristine, and is the first cause.
//! 3. If teardown fails, too, everything else is still torn down, and the failure is reported.
//! 4. After a crash at change n, recovery leaves the VM running, or stopped and pristine, or gone.

mod cases;

use banger_api::{DeleteVm, KillVm, Phase, StopVm};
use banger_host::{FileOp, Op, RootOp, Sim};
use bangerd::config::RootDiskChoice;

use cases::{cases, neighbour, running, stopped};

use crate::world::{World, error_text, named};

/// No verb here makes more changes than this.
const MOST_CHANGES: u64 = 200;

fn phase(world: &World) -> Option<Phase> {
    world
        .engine
        .show(&named("calm-otter"))
        .ok()
        .map(|vm| vm.phase)
}

/// A VM that is not running has nothing on the host; the neighbour has all of its own.
fn assert_consistent(world: &World, alone: &crate::world::RunTime, context: &str) {
    world.assert_images_are_whole(context);
    let now = world.run_time();
    match phase(world) {
        None | Some(Phase::Stopped) => assert_eq!(now, *alone, "{context}: something is left"),
        Some(Phase::Running) => {
            let processes = now.processes.len();
            assert_eq!(processes, 2 * alone.processes.len(), "{context}");
            assert_eq!(now.taps.len(), 2 * alone.taps.len(), "{context}");
            let on_devices = now.snapshots.len();
            assert_eq!(on_devices, 2 * alone.snapshots.len(), "{context}");
        }
        Some(other) => panic!("{context}: it is {other}"),
    }
}

#[test]
fn a_fault_at_any_change_leaves_the_host_pristine_and_is_the_first_cause() {
    for (verb, (ground, config)) in cases() {
        for n in 0..MOST_CHANGES {
            let world = World::configured(Sim::new(), config.clone());
            neighbour(&world);
            let alone = world.run_time();
            (verb.ready)(&world);
            let before = (phase(&world), world.persistent());
            let changes = world.sim.changes();
            world.sim.fail_at(n);
            let outcome = (verb.run)(&world);
            let made = world.sim.changes() - changes;
            world.sim.revive();
            let context = format!("{} with a fault at change {n}, on {ground}", verb.name);
            if made <= n {
                outcome.unwrap_or_else(|error| panic!("{context}: {}", error_text(&error)));
                assert!(n > 0, "{context}: it changes nothing");
                break;
            }
            match outcome {
                Err(error) => {
                    assert!(
                        error_text(&error).contains("injected fault"),
                        "{context}: {}",
                        error_text(&error)
                    );
                    let first = error.causes.last().map_or(&error.message, |cause| cause);
                    assert!(
                        error.also.iter().any(|also| also.contains("injected"))
                            || error.causes.iter().any(|cause| cause.contains("injected"))
                            || first.contains("injected"),
                        "{context}: {}",
                        error_text(&error)
                    );
                }
                // A step of a stop may fail if the next one has the same effect.
                Ok(()) => assert!(
                    ["stop", "restart", "delete", "delete by force"].contains(&verb.name),
                    "{context}: the fault is not told"
                ),
            }
            settle(&world, &context);
            assert_consistent(&world, &alone, &context);
            if matches!(verb.name, "create" | "clone" | "start" | "set")
                && before.0 == phase(&world)
            {
                assert_eq!(
                    world.persistent(),
                    before.1,
                    "{context}: what persists has changed"
                );
            }
        }
    }
}

/// A failed teardown reports what it leaves, and the next attempt completes it.
fn settle(world: &World, context: &str) {
    match phase(world) {
        Some(Phase::Stopping | Phase::Starting | Phase::Suspending | Phase::Resuming) => {
            let killed = world
                .engine
                .kill(&named("calm-otter"), &KillVm::default(), &|_| {});
            killed.unwrap_or_else(|error| panic!("{context}: {}", error_text(&error)));
        }
        Some(Phase::Deleting | Phase::Creating) => {
            let request = DeleteVm::default();
            let deleted = world.engine.delete(&named("calm-otter"), &request, &|_| {});
            deleted.unwrap_or_else(|error| panic!("{context}: {}", error_text(&error)));
        }
        Some(Phase::Running | Phase::Stopped | Phase::Suspended) | None => {}
    }
}

#[test]
fn a_start_that_fails_has_the_fault_as_its_first_cause_and_nothing_beside_it() {
    for n in 0..MOST_CHANGES {
        let world = World::with_root_disks(RootDiskChoice::DmSnapshot);
        stopped(&world);
        let changes = world.sim.changes();
        world.sim.fail_at(n);
        let outcome = world.start("calm-otter");
        if world.sim.changes() - changes <= n {
            break;
        }
        let error = outcome.unwrap_err();
        assert!(
            error
                .causes
                .iter()
                .any(|cause| cause.contains("injected fault")),
            "{n}: {error:?}"
        );
        assert_eq!(error.also, Vec::<String>::new(), "change {n}");
        assert_eq!(phase(&world), Some(Phase::Stopped), "change {n}");
        world.sim.revive();
        world.start("calm-otter").unwrap();
    }
}

#[test]
fn a_failed_teardown_still_removes_everything_else_and_is_reported() {
    let removals: [(&str, fn(&Op) -> bool); 5] = [
        ("RemoveSnapshot", |op| {
            matches!(op, Op::Root(_, RootOp::RemoveSnapshot { .. }))
        }),
        ("RemoveTap", |op| {
            matches!(op, Op::Root(_, RootOp::RemoveTap { .. }))
        }),
        ("ForbidGuest", |op| {
            matches!(op, Op::Root(_, RootOp::ForbidGuest { .. }))
        }),
        ("ForbidNat", |op| {
            matches!(op, Op::Root(_, RootOp::ForbidNat { .. }))
        }),
        ("RemoveFile", |op| {
            matches!(op, Op::File(FileOp::RemoveFile { .. }))
        }),
    ];
    for (name, refused) in removals {
        let world = World::with_root_disks(RootDiskChoice::DmSnapshot);
        neighbour(&world);
        let alone = world.run_time();
        running(&world);
        world.sim.refuse(refused);
        let error = world
            .engine
            .stop(&named("calm-otter"), &StopVm::default(), &|_| {})
            .expect_err(name);
        assert!(
            error_text(&error).contains("injected fault"),
            "{name}: {}",
            error_text(&error)
        );
        let left = world.run_time();
        assert_eq!(left.processes.len(), 1, "{name}: the process is left");
        assert_eq!(
            left.taps.len(),
            if name == "RemoveTap" { 2 } else { 1 },
            "{name}"
        );
        let snapshots = if name == "RemoveSnapshot" { 2 } else { 1 };
        assert_eq!(left.snapshots.len(), snapshots, "{name}");
        let nat: usize = left.tables.values().map(|table| table.nat.len()).sum();
        assert_eq!(nat, if name == "ForbidNat" { 2 } else { 1 }, "{name}");
        let guests: usize = left.tables.values().map(|table| table.guests.len()).sum();
        // A TAP that remains keeps its filter.
        let kept = matches!(name, "ForbidGuest" | "RemoveTap");
        assert_eq!(guests, if kept { 2 } else { 1 }, "{name}");
        assert_ne!(
            phase(&world),
            Some(Phase::Stopped),
            "{name}: what is left is forgotten"
        );
        world.sim.revive();
        world
            .engine
            .kill(&named("calm-otter"), &KillVm::default(), &|_| {})
            .unwrap();
        assert_eq!(world.run_time(), alone, "{name}");
        assert_eq!(phase(&world), Some(Phase::Stopped), "{name}");
    }
}

#[test]
fn a_crash_at_any_change_is_put_right_by_the_next_daemon() {
    for (verb, (ground, config)) in cases() {
        for n in 0..MOST_CHANGES {
            let mut world = World::configured(Sim::new(), config.clone());
            neighbour(&world);
            let alone = world.run_time();
            (verb.ready)(&world);
            world.sim.crash_before(n);
            let _ = (verb.run)(&world);
            let crashed = world.sim.has_crashed();
            world.restart();
            let context = format!("{} with a crash at change {n}, on {ground}", verb.name);
            assert_consistent(&world, &alone, &context);
            // A failed create may have imported the bundle's two images.
            let most = if verb.name.starts_with("create") {
                2
            } else {
                0
            };
            world.assert_unused_images(most, &context);
            assert_eq!(
                world.engine.daemon().unexplained,
                Vec::<String>::new(),
                "{context}"
            );
            if phase(&world).is_none() {
                let left: Vec<_> = world
                    .persistent()
                    .into_keys()
                    .filter(|path| {
                        !path.ends_with("id_ed25519") && !path.ends_with("id_ed25519.pub")
                    })
                    .collect();
                let vms = world.engine.list();
                let ids: Vec<String> = vms.iter().map(|vm| vm.id.to_string()).collect();
                let is_of_a_vm = |path: &std::path::PathBuf| {
                    ids.iter().any(|id| path.to_string_lossy().contains(id))
                };
                assert!(left.iter().all(is_of_a_vm), "{context}: {left:?}");
            }
            if phase(&world) == Some(Phase::Stopped) {
                world
                    .start("calm-otter")
                    .unwrap_or_else(|e| panic!("{context}: {}", error_text(&e)));
            }
            // A second recovery finds nothing to do.
            let before = world.run_time();
            world.restart();
            assert_eq!(world.run_time(), before, "{context}");
            if !crashed {
                assert!(n > 0, "{context}: it changes nothing");
                break;
            }
        }
    }
}
