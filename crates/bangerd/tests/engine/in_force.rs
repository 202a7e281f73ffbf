//! What a VM is shown to have is what its run has; what waits for the next start is told apart.

use banger_api::{Mib, NetworkKind, Pending, Phase, SetVm, StartVm, StopVm};
use banger_host::Sim;
use bangerd::config::{Config, NetworkChoice};

use crate::world::{World, named};

/// Everything that only a start brings.
fn larger() -> SetVm {
    SetVm {
        vcpu: Some(4),
        memory: Some(Mib(4096)),
        disk_size: Some(Mib(32 << 10)),
        system_disk_size: Some(Mib(20 << 10)),
        nat: None,
    }
}

fn nat(on: bool) -> SetVm {
    SetVm {
        nat: Some(on),
        ..SetVm::default()
    }
}

fn waiting() -> Pending {
    let SetVm {
        vcpu,
        memory,
        disk_size,
        system_disk_size,
        nat,
    } = larger();
    Pending {
        vcpu,
        memory,
        disk_size,
        system_disk_size,
        nat,
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
        assert_eq!(view.vcpu, before.vcpu);
        assert_eq!(view.memory, before.memory);
        assert_eq!(view.disk_size, before.disk_size);
        assert_eq!(view.system_disk_size, before.system_disk_size);
        assert_eq!(view.pending, Some(waiting()));
        let told = |note: &String| note.ends_with("banger vm restart calm-otter");
        assert!(view.notes.iter().any(told), "{:?}", view.notes);
    }
    let restarted = world
        .engine
        .restart(&named("calm-otter"), &StopVm::default(), &|_| {})
        .unwrap();
    assert_eq!((restarted.vcpu, restarted.memory), (4, Mib(4096)));
    assert_eq!(restarted.pending, None);
}

#[test]
fn a_setting_that_is_taken_back_waits_for_nothing() {
    let world = World::new();
    let before = world.create("calm-otter", false, true);
    let vcpu = |number| SetVm {
        vcpu: Some(number),
        ..SetVm::default()
    };
    let set = |request| {
        let set = world.engine.set(&named("calm-otter"), &request, &|_| {});
        set.unwrap().pending
    };
    assert!(set(vcpu(before.vcpu + 1)).is_some());
    assert_eq!(set(vcpu(before.vcpu)), None);
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
    assert_eq!((stopped.vcpu, stopped.pending), (4, None));
    let set = set(SetVm {
        vcpu: Some(5),
        ..SetVm::default()
    });
    assert_eq!((set.vcpu, set.pending), (5, None));
}

#[test]
fn nat_follows_at_once_on_a_tap_and_waits_on_user_networking() {
    for (network, kind) in [
        (NetworkChoice::Tap, NetworkKind::Tap),
        (NetworkChoice::User, NetworkKind::User),
    ] {
        let config = Config {
            network,
            ..Config::default()
        };
        let world = World::configured(Sim::new(), config);
        for (name, on) in [("with", true), ("without", false)] {
            let vm = world.create(name, on, true);
            assert_eq!(vm.network, kind);
            let set = world.engine.set(&named(name), &nat(!on), &|_| {}).unwrap();
            let follows = kind == NetworkKind::Tap;
            assert_eq!(set.nat, on ^ follows, "{kind:?} {name}");
            let waits = set.pending.and_then(|it| it.nat);
            assert_eq!(waits, (!follows).then_some(!on), "{kind:?} {name}");
            let closed = set.notes.iter().any(|note| note.contains("no way out"));
            assert_eq!(closed, !set.nat, "{kind:?} {name}: {:?}", set.notes);
        }
    }
}

#[test]
fn a_run_in_rescue_is_told_as_such_and_offers_no_ssh() {
    let world = World::new();
    world.create("calm-otter", false, false);
    let rescue = StartVm { rescue: true };
    let vm = world
        .engine
        .start(&named("calm-otter"), &rescue, &|_| {})
        .unwrap();
    assert!(vm.rescue && vm.ssh.is_none());
    let told = |note: &String| note.contains("banger vm logs calm-otter");
    assert!(vm.notes.iter().any(told), "{:?}", vm.notes);
}
