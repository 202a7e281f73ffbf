//! The view of a VM has the settings of its run; changes for the next start are separate.

use banger_api::{Code, KillVm, Mib, NetworkKind, Phase, SignalName, StartVm, StopVm, VmSpecPatch};
use banger_host::Sim;
use bangerd::config::{Config, NetworkChoice};

use crate::world::{World, named};

/// Every setting that takes effect only at a start.
fn larger() -> VmSpecPatch {
    VmSpecPatch {
        vcpu: Some(4),
        memory: Some(Mib(4096)),
        disk_size: Some(Mib(32 << 10)),
        system_disk_size: Some(Mib(20 << 10)),
        ..VmSpecPatch::default()
    }
}

fn nat(on: bool) -> VmSpecPatch {
    VmSpecPatch {
        nat: Some(on),
        ..VmSpecPatch::default()
    }
}

#[test]
fn a_running_vm_has_what_its_run_was_given_and_the_rest_waits_for_the_next_start() {
    let mut world = World::new();
    let before = world.create("calm-otter", false, true);
    let set = world
        .engine
        .set(&named("calm-otter"), &larger(), &|_| {})
        .unwrap();
    let listed = world.engine.list().remove(0);
    world.restart();
    let adopted = world.engine.show(&named("calm-otter")).unwrap();
    for view in [set, listed, adopted] {
        assert_eq!(view.phase, Phase::Running);
        assert_eq!(view.spec, before.spec);
        assert_eq!(view.pending, Some(before.spec.apply(&larger())));
        let is_noted = |note: &String| note.ends_with("banger vm restart calm-otter");
        assert!(view.notes.iter().any(is_noted), "{:?}", view.notes);
    }
    let restarted = world
        .engine
        .restart(&named("calm-otter"), &StopVm::default(), &|_| {})
        .unwrap();
    assert_eq!(restarted.spec, before.spec.apply(&larger()));
    assert_eq!(restarted.pending, None);
}

#[test]
fn a_setting_that_is_taken_back_waits_for_nothing() {
    let world = World::new();
    let before = world.create("calm-otter", false, true);
    let vcpu = |number| VmSpecPatch {
        vcpu: Some(number),
        ..VmSpecPatch::default()
    };
    let set = |request| {
        let set = world.engine.set(&named("calm-otter"), &request, &|_| {});
        set.unwrap().pending
    };
    assert!(set(vcpu(before.spec.vcpu + 1)).is_some());
    assert_eq!(set(vcpu(before.spec.vcpu)), None);
}

#[test]
fn a_stopped_vm_has_what_its_next_start_gives_it() {
    let world = World::new();
    world.create("calm-otter", false, true);
    let set = |request| {
        world
            .engine
            .set(&named("calm-otter"), &request, &|_| {})
            .unwrap()
    };
    set(larger());
    let stopped = world
        .engine
        .stop(&named("calm-otter"), &StopVm::default(), &|_| {})
        .unwrap()
        .vm;
    assert_eq!((stopped.spec.vcpu, stopped.pending), (4, None));
    let set = set(VmSpecPatch {
        vcpu: Some(5),
        ..VmSpecPatch::default()
    });
    assert_eq!((set.spec.vcpu, set.pending), (5, None));
}

fn on(network: NetworkChoice) -> World {
    let config = Config {
        network,
        ..Config::default()
    };
    World::configured(Sim::new(), config)
}

#[test]
fn nat_follows_at_once_on_either_network() {
    for (network, kind) in [
        (NetworkChoice::Tap, NetworkKind::Tap),
        (NetworkChoice::User, NetworkKind::User),
    ] {
        let world = on(network);
        for (name, on) in [("with", true), ("without", false)] {
            let vm = world.create(name, on, true);
            assert_eq!(vm.network, kind);
            let set = world.engine.set(&named(name), &nat(!on), &|_| {}).unwrap();
            assert_eq!(set.spec.nat, !on, "{kind:?} {name}");
            assert_eq!(set.pending, None, "{kind:?} {name}");
            let closed = set
                .notes
                .iter()
                .any(|note| note.contains("no network access"));
            assert_eq!(closed, on, "{kind:?} {name}: {:?}", set.notes);
        }
    }
}

#[test]
fn labels_follow_at_once_and_outlive_the_daemon_and_the_run() {
    let mut world = World::new();
    let before = world.create("calm-otter", false, true);
    let label = |patch: &str| {
        let patch: VmSpecPatch = serde_json::from_str(patch).unwrap();
        world.engine.set(&named("calm-otter"), &patch, &|_| {})
    };
    let set = label(r#"{"labels": {"add": {"team": "web", "ci/run": "7"}}}"#).unwrap();
    assert_eq!((set.spec.labels.len(), set.pending), (2, None));
    assert_eq!(set.pid, before.pid);
    let set = label(r#"{"labels": {"add": {"team": "api"}, "remove": ["ci/run"]}}"#).unwrap();
    let error = label(r#"{"labels": {"add": {"Team": "api"}}}"#).unwrap_err();
    assert_eq!(error.code, Code::Invalid);
    world.restart();
    let stop = StopVm::default();
    let stopped = world.engine.stop(&named("calm-otter"), &stop, &|_| {});
    let labels = stopped.unwrap().vm.spec.labels;
    assert_eq!(labels, set.spec.labels);
    assert_eq!((labels.len(), labels["team"].as_str()), (1, "api"));
}

/// Removes what a banger without gates never made.
fn as_an_older_banger_started_it(world: &mut World) {
    world.sim.tamper(|state| {
        state
            .files
            .retain(|path, _| !path.ends_with("outside.sock"));
        let is_gate = |process: &banger_host::SimProcess| process.arguments[0] == "gate";
        state.processes.retain(|_, process| !is_gate(process));
    });
    world.restart();
}

#[test]
fn nat_waits_in_a_vm_of_an_older_version_with_a_note() {
    for was in [true, false] {
        let mut world = on(NetworkChoice::User);
        world.create("calm-otter", was, true);
        as_an_older_banger_started_it(&mut world);
        let adopted = world.engine.show(&named("calm-otter")).unwrap();
        let exposed = |notes: &[String]| notes.iter().any(|it| it.contains("127.0.0.1"));
        assert_eq!(exposed(&adopted.notes), was, "{:?}", adopted.notes);
        let set = world
            .engine
            .set(&named("calm-otter"), &nat(!was), &|_| {})
            .unwrap();
        assert_eq!((set.spec.nat, set.pending.unwrap().nat), (was, !was));
        assert_eq!(exposed(&set.notes), was, "{:?}", set.notes);
        let restarted = world
            .engine
            .restart(&named("calm-otter"), &StopVm::default(), &|_| {})
            .unwrap();
        assert_eq!((restarted.spec.nat, restarted.pending), (!was, None));
        assert!(!exposed(&restarted.notes), "{:?}", restarted.notes);
    }
}

#[test]
fn a_run_in_rescue_is_marked_and_offers_no_ssh() {
    let world = World::new();
    world.create("calm-otter", false, false);
    let rescue = StartVm { rescue: true };
    let vm = world
        .engine
        .start(&named("calm-otter"), &rescue, &|_| {})
        .unwrap()
        .vm;
    assert!(vm.rescue && vm.ssh.is_none());
    let is_noted = |note: &String| note.contains("banger vm shell calm-otter");
    assert!(vm.notes.iter().any(is_noted), "{:?}", vm.notes);
}

#[test]
fn a_run_of_the_other_sort_is_not_taken_for_the_one_that_is_asked_for() {
    let world = World::new();
    world.create("calm-otter", false, true);
    let start = |rescue| {
        let request = StartVm { rescue };
        world
            .engine
            .start(&named("calm-otter"), &request, &|_| {})
            .map(|outcome| outcome.vm.rescue)
    };
    assert_eq!(start(false), Ok(false));
    let error = start(true).unwrap_err();
    assert_eq!(error.code, Code::Conflict);
    assert!(
        error.hints[0].contains("banger vm stop calm-otter"),
        "{error:?}"
    );
    let stop = StopVm::default();
    world
        .engine
        .stop(&named("calm-otter"), &stop, &|_| {})
        .unwrap();
    assert_eq!(start(true), Ok(true));
    assert_eq!(start(true), Ok(true));
    let error = start(false).unwrap_err();
    assert_eq!(
        error.hints,
        ["end the rescue: banger vm restart calm-otter"]
    );
    let restarted = world
        .engine
        .restart(&named("calm-otter"), &stop, &|_| {})
        .unwrap();
    assert!(!restarted.rescue);
}

#[test]
fn a_signal_without_a_receiver_is_an_error() {
    let world = World::new();
    world.create("calm-otter", false, false);
    let kill = |signal| {
        let request = KillVm {
            signal: Some(signal),
        };
        world.engine.kill(&named("calm-otter"), &request, &|_| {})
    };
    let error = kill(SignalName::Hup).unwrap_err();
    assert_eq!(error.code, Code::Conflict);
    assert_eq!(error.hints, ["banger vm start calm-otter"]);
    let killed = kill(SignalName::Kill).unwrap();
    assert_eq!((killed.vm.phase, killed.already), (Phase::Stopped, true));
}
