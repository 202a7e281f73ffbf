//! The verbs, as a user sees them.

use std::time::Duration;

use banger_api::{
    Code, DeleteVm, EndReason, KillVm, Phase, SignalName, StartVm, StopVm, VerbOutcome, VmSpecPatch,
};
use banger_host::{Exit, Finding, Look as _, Op, Probe, RootOp};

use crate::events::{newest, views};
use crate::world::{World, error_text, named, request};

#[test]
fn a_vm_lives_from_create_to_delete_and_leaves_nothing() {
    let world = World::new();
    let empty = world.run_time();
    let vm = world.create("calm-otter", true, true);
    assert_eq!(
        (vm.phase, vm.dns_name.as_str()),
        (Phase::Running, "calm-otter.vm")
    );
    let stopped = world
        .engine
        .stop(&named("calm-otter"), &StopVm::default(), &|_| {})
        .unwrap();
    assert!(stopped.synced);
    assert_eq!(stopped.by, "agent");
    assert_eq!(
        stopped.vm.last_end.as_ref().unwrap().reason,
        EndReason::Stopped
    );
    assert_eq!(world.run_time(), empty);
    let again = world.start("calm-otter").unwrap();
    assert_eq!(again.address, vm.address, "the address is kept");
    world
        .engine
        .delete(
            &named("calm-otter"),
            &DeleteVm {
                force: true,
                ..DeleteVm::default()
            },
            &|_| {},
        )
        .unwrap();
    assert_eq!(world.run_time(), empty);
    assert!(world.engine.list().is_empty());
    let left = world.sim.list("/state/vms".as_ref()).unwrap();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn a_name_is_made_up_of_two_words() {
    let world = World::new();
    let request = banger_api::CreateVm {
        no_start: true,
        ..Default::default()
    };
    let vm = world.engine.create(&request, &|_| {}).unwrap();
    assert_eq!(vm.name.as_str().split('-').count(), 2, "{}", vm.name);
}

#[test]
fn a_vm_is_found_by_name_id_and_unique_prefix() {
    let world = World::new();
    let vm = world.create("calm-otter", false, false);
    let id = vm.id.to_string();
    for reference in ["calm-otter", &id, &id[..4]] {
        assert_eq!(world.engine.show(&named(reference)).unwrap().id, vm.id);
    }
    assert_eq!(
        world.engine.show(&named("calm")).unwrap_err().code,
        Code::NotFound
    );
}

#[test]
fn start_and_stop_are_fine_where_it_is_so_already() {
    let world = World::new();
    world.create("calm-otter", false, true);
    world.start("calm-otter").unwrap();
    world
        .engine
        .stop(&named("calm-otter"), &StopVm::default(), &|_| {})
        .unwrap();
    let again = world
        .engine
        .stop(&named("calm-otter"), &StopVm::default(), &|_| {})
        .unwrap();
    assert_eq!(again.by, "gone");
}

#[test]
fn a_running_vm_is_not_deleted_without_force() {
    let world = World::new();
    world.create("calm-otter", false, true);
    let error = world
        .engine
        .delete(&named("calm-otter"), &DeleteVm::default(), &|_| {})
        .unwrap_err();
    assert_eq!(error.code, Code::Conflict);
    assert!(
        error_text(&error).contains("banger vm stop calm-otter"),
        "{}",
        error_text(&error)
    );
}

#[test]
fn a_protected_vm_is_neither_deleted_nor_killed_until_that_is_lifted() {
    let mut world = World::new();
    let set = |world: &World, on| {
        let patch = VmSpecPatch {
            protected: Some(on),
            ..VmSpecPatch::default()
        };
        let set = world.engine.set(&named("calm-otter"), &patch, &|_| {});
        set.unwrap()
    };
    let lift = "lift the protection: banger vm set calm-otter --no-protect";
    let before = world.create("calm-otter", false, true);
    let view = set(&world, true);
    assert_eq!((view.spec.protected, &view.pending), (true, &None));
    world.restart();
    let refused = |world: &World| {
        let name = named("calm-otter");
        for force in [false, true] {
            let deleted = world.engine.delete(
                &name,
                &DeleteVm {
                    force,
                    ..DeleteVm::default()
                },
                &|_| {},
            );
            let error = deleted.unwrap_err();
            assert_eq!(error.code, Code::Conflict);
            assert_eq!(error.hints, [lift], "force: {force}");
        }
        world.engine.show(&name).unwrap()
    };
    for signal in [None, Some(SignalName::Kill), Some(SignalName::Term)] {
        let killed = world
            .engine
            .kill(&named("calm-otter"), &KillVm { signal }, &|_| {});
        assert_eq!(killed.unwrap_err().hints, [lift], "{signal:?}");
    }
    assert_eq!(refused(&world).pid, before.pid, "it was killed");
    let stop = StopVm::default();
    let stopped = world.engine.stop(&named("calm-otter"), &stop, &|_| {});
    assert_eq!(stopped.unwrap().vm.phase, Phase::Stopped);
    refused(&world);
    assert!(!set(&world, false).spec.protected);
    let deleted = world
        .engine
        .delete(&named("calm-otter"), &DeleteVm::default(), &|_| {});
    deleted.unwrap();
}

#[test]
fn a_protected_vm_that_was_left_half_way_can_be_killed() {
    let world = World::new();
    world.create("calm-otter", true, true);
    let patch = VmSpecPatch {
        protected: Some(true),
        ..VmSpecPatch::default()
    };
    let name = named("calm-otter");
    world.engine.set(&name, &patch, &|_| {}).unwrap();
    world.sim.refuse(|op| matches!(op, Op::Root(..)));
    let stopped = world.engine.stop(&name, &StopVm::default(), &|_| {});
    stopped.unwrap_err();
    assert_eq!(world.engine.show(&name).unwrap().phase, Phase::Stopping);
    world.sim.revive();
    let killed = world.engine.kill(&name, &KillVm::default(), &|_| {});
    assert_eq!(killed.unwrap().vm.phase, Phase::Stopped);
}

#[test]
fn a_signal_that_does_not_end_it_leaves_it_running() {
    let world = World::new();
    world.create("calm-otter", false, true);
    let request = KillVm {
        signal: Some(SignalName::Stop),
    };
    let signalled = world
        .engine
        .kill(&named("calm-otter"), &request, &|_| {})
        .unwrap();
    assert_eq!(
        (signalled.vm.phase, signalled.already),
        (Phase::Running, false)
    );
    let says_how_to_resume = || {
        let notes = world.engine.show(&named("calm-otter")).unwrap().notes;
        notes
            .iter()
            .any(|it| it.contains("kill --signal CONT calm-otter"))
    };
    assert!(says_how_to_resume());
    let request = KillVm {
        signal: Some(SignalName::Cont),
    };
    let engine = &world.engine;
    engine
        .kill(&named("calm-otter"), &request, &|_| {})
        .unwrap();
    assert!(!says_how_to_resume());
}

#[test]
fn a_verb_with_nothing_to_do_says_so() {
    let world = World::new();
    world.create("calm-otter", false, false);
    let name = named("calm-otter");
    let start = || world.engine.start(&name, &StartVm::default(), &|_| {});
    let kill = || world.engine.kill(&name, &KillVm::default(), &|_| {});
    let already = |outcome: banger_api::Result<VerbOutcome>| outcome.unwrap().already;
    assert!(already(kill()));
    assert!(!already(start()) && already(start()));
    assert!(!already(kill()) && already(kill()));
    let stopped = world.engine.stop(&name, &StopVm::default(), &|_| {});
    assert_eq!(stopped.unwrap().by, "gone");
}

#[test]
fn how_a_guest_ended_is_read_from_its_console() {
    for (said, reason) in [
        ("banger: end poweroff\n", EndReason::Poweroff),
        ("banger: end halt\n", EndReason::Halt),
        (
            "[ 1.0] Kernel panic - not syncing: Attempted to kill init!\n",
            EndReason::Panic,
        ),
        ("nothing special\n", EndReason::Lost),
    ] {
        let mut world = World::new();
        let vm = world.create("calm-otter", false, true);
        let console = format!("/state/vms/{}/machine/console.log", vm.id);
        world.sim.append(console.as_ref(), said);
        world.sim.end_process(vm.pid.unwrap(), Exit::Status(0));
        world.restart();
        let vm = world.engine.show(&named("calm-otter")).unwrap();
        assert_eq!(vm.phase, Phase::Stopped);
        let end = vm.last_end.unwrap();
        assert_eq!(end.reason, reason, "{said}");
        if reason == EndReason::Panic {
            assert!(
                end.detail.contains("Attempted to kill init!"),
                "{}",
                end.detail
            );
        }
    }
}

#[test]
fn a_guest_that_reboots_comes_back() {
    let world = World::new();
    let vm = world.create("calm-otter", false, true);
    let watch = {
        let engine = world.engine.clone();
        std::thread::spawn(move || engine.watch())
    };
    let seq = newest(&world.engine);
    let console = format!("/state/vms/{}/machine/console.log", vm.id);
    world.sim.append(console.as_ref(), "banger: end reboot\n");
    world.sim.end_process(vm.pid.unwrap(), Exit::Status(0));
    let (mut seen, mut last) = (Vec::new(), seq);
    while !seen.contains(&Phase::Running) {
        let events = world.engine.events(Some(last), Duration::from_secs(20));
        last = events.last().unwrap().seq;
        seen.extend(views(&events).iter().map(|vm| vm.phase));
    }
    seen.dedup();
    assert_eq!(seen, [Phase::Stopped, Phase::Starting, Phase::Running]);
    let after = world.engine.show(&named("calm-otter")).unwrap();
    assert_ne!(after.pid, vm.pid);
    world.engine.shut_down();
    watch.join().unwrap();
}

#[test]
fn a_check_that_fails_refuses_a_start_before_anything_is_done() {
    let world = World::new();
    world.create("calm-otter", false, false);
    let bad = Finding::Bad {
        found: "no".to_owned(),
        hint: "mend it".to_owned(),
    };
    world
        .sim
        .find(|probe| matches!(probe, Probe::SubnetFree { .. }), bad);
    let changes = world.sim.changes();
    let error = world.start("calm-otter").unwrap_err();
    assert_eq!(error.code, Code::NotReady);
    assert!(
        error_text(&error).contains("hint: mend it"),
        "{}",
        error_text(&error)
    );
    assert_eq!(world.sim.changes(), changes, "something was changed");
}

#[test]
fn a_lasting_check_is_asked_again_after_a_start_that_failed() {
    let world = World::new();
    world.create("calm-otter", false, true);
    let restart = |name: &str| {
        world
            .engine
            .kill(&named(name), &KillVm::default(), &|_| {})
            .unwrap();
        world.start(name)
    };
    let bad = Finding::Bad {
        found: "no TAP".to_owned(),
        hint: "mend it".to_owned(),
    };
    world.sim.find(|probe| matches!(probe, Probe::Network), bad);
    restart("calm-otter").unwrap();
    world
        .sim
        .refuse(|op| matches!(op, Op::Root(_, RootOp::MakeTap(_))));
    assert_eq!(restart("calm-otter").unwrap_err().code, Code::Host);
    let error = world.start("calm-otter").unwrap_err();
    assert_eq!(error.code, Code::NotReady, "{}", error_text(&error));
    assert!(
        error_text(&error).contains("no TAP"),
        "{}",
        error_text(&error)
    );
}

#[test]
fn progress_tells_each_step_and_how_long_it_took() {
    let world = World::new();
    let steps = std::sync::Mutex::new(Vec::new());
    let heard = |progress: banger_api::Progress| steps.lock().unwrap().push(progress);
    world
        .engine
        .create(&request("calm-otter", false, true), &heard)
        .unwrap();
    let steps = steps.into_inner().unwrap();
    for name in [
        "image",
        "check",
        "plan",
        "prepare network",
        "boot",
        "wait for the guest",
    ] {
        let of: Vec<_> = steps.iter().filter(|it| it.step == name).collect();
        assert_eq!(of.len(), 2, "{name}");
        assert!(of[0].seconds.is_none() && of[1].seconds.is_some(), "{name}");
    }
}
