//! Volumes: used by one VM at a time, and never lost.

use std::collections::BTreeMap;

use banger_api::{
    CloneVm, Code, CreateVolume, DeleteVm, Error, KillVm, Phase, StopVm, VmSpecPatch, VmView,
    VolumeName, VolumesPatch,
};
use banger_host::{Look as _, Sim};
use bangerd::config::Config;

use crate::world::{World, error_text, named};

const FILE: &str = "/state/volumes/data.img";

fn data() -> VolumeName {
    "data".parse().unwrap()
}

fn world(config: Config) -> World {
    let world = World::configured(Sim::new(), config);
    let request = CreateVolume {
        name: "data".to_owned(),
        size: None,
    };
    world.engine.create_volume(&request, &|_| {}).unwrap();
    world.write(FILE, b"precious");
    world
}

fn patch(mount: Option<&str>) -> VmSpecPatch {
    let (mut add, mut remove) = (BTreeMap::new(), Vec::new());
    match mount {
        Some(mount) => drop(add.insert(data(), mount.to_owned())),
        None => remove.push(data().to_string()),
    }
    VmSpecPatch {
        volumes: VolumesPatch { add, remove },
        ..VmSpecPatch::default()
    }
}

fn set(world: &World, vm: &str, mount: Option<&str>) -> Result<VmView, Error> {
    world.engine.set(&named(vm), &patch(mount), &|_| {})
}

fn holds_what_it_held(world: &World, context: &str) {
    let bytes = world.sim.read(FILE.as_ref()).unwrap().unwrap_or_default();
    assert!(bytes.starts_with(b"precious"), "{context}: it is lost");
}

fn grounds() -> [Config; 2] {
    [Config::default(), World::on_devices()]
}

#[test]
fn a_volume_has_one_user_at_a_time() {
    let world = world(Config::default());
    world.create("web", false, false);
    world.create("api", false, false);
    set(&world, "web", Some("/srv")).unwrap();
    world.start("web").unwrap();
    let error = set(&world, "api", Some("/srv")).unwrap_err();
    assert_eq!(error.code, Code::Conflict);
    assert!(error_text(&error).contains("banger vm set web --no-volume data"));
    let error = world.engine.delete_volume(&data()).unwrap_err();
    assert_eq!(error.code, Code::Conflict);
    assert!(error_text(&error).contains("by web"));
    set(&world, "web", None).unwrap();
    assert!(
        set(&world, "api", Some("/srv")).is_err(),
        "web runs with it"
    );
    world
        .engine
        .stop(&named("web"), &StopVm::default(), &|_| {})
        .unwrap();
    set(&world, "api", Some("/srv")).unwrap();
    let error = set(&world, "web", Some("/other")).unwrap_err();
    assert_eq!(error.code, Code::Conflict);
    world
        .engine
        .delete(&named("api"), &DeleteVm::default(), &|_| {})
        .unwrap();
    holds_what_it_held(&world, "after a delete");
    world.engine.delete_volume(&data()).unwrap();
    assert_eq!(world.sim.stat(FILE.as_ref()).unwrap(), None);
    assert_eq!(
        world.engine.volume(&data()).unwrap_err().code,
        Code::NotFound
    );
}

#[test]
fn a_machine_has_its_volume_while_it_runs() {
    for config in grounds() {
        let mut world = world(config);
        world.create("web", false, false);
        set(&world, "web", Some("/srv")).unwrap();
        let vm = world.start("web").unwrap();
        let lent = format!("/state/vms/{}/machine/volume-data.img", vm.id);
        assert!(world.sim.stat(lent.as_ref()).unwrap().is_some());
        world.restart();
        assert_eq!(world.engine.volumes().unwrap().len(), 1);
        world
            .engine
            .kill(&named("web"), &KillVm::default(), &|_| {})
            .unwrap();
        assert_eq!(world.sim.stat(lent.as_ref()).unwrap(), None);
        holds_what_it_held(&world, "after a kill");
    }
}

#[test]
fn a_file_that_a_hypervisor_calls_a_volume_becomes_none() {
    let world = world(Config::default());
    let vm = world.create("web", false, true);
    let made_up = format!("/state/vms/{}/machine/volume-other.img", vm.id);
    world.write(&*made_up, b"hostile");
    world
        .engine
        .kill(&named("web"), &KillVm::default(), &|_| {})
        .unwrap();
    assert_eq!(world.sim.stat(made_up.as_ref()).unwrap(), None);
    assert_eq!(world.engine.volumes().unwrap().len(), 1);
}

#[test]
fn a_clone_gets_none_of_the_volumes_but_those_it_is_given() {
    let world = world(Config::default());
    world.create("web", false, false);
    set(&world, "web", Some("/srv")).unwrap();
    let clone = |name: &str, spec| {
        let name = name.to_owned();
        world
            .engine
            .clone_of(&named("web"), &CloneVm { name, spec }, &|_| {})
    };
    let vm = clone("copy", VmSpecPatch::default()).unwrap();
    assert_eq!(vm.spec.volumes, BTreeMap::new());
    assert_eq!(
        clone("again", patch(Some("/srv"))).unwrap_err().code,
        Code::Conflict
    );
}

#[test]
fn places_that_a_guest_needs_and_volumes_that_are_none_are_refused() {
    let world = world(Config::default());
    world.create("web", false, false);
    for mount in [
        "/", "/root", "/proc", "/dev/x", "/run/x", "srv", "/a/../b", "/a//b", "/a\nb",
    ] {
        let error = set(&world, "web", Some(mount)).unwrap_err();
        assert_eq!(error.code, Code::Invalid, "{mount:?}");
    }
    world.engine.delete_volume(&data()).unwrap();
    let error = set(&world, "web", Some("/srv")).unwrap_err();
    assert_eq!(error.code, Code::NotFound);
}

#[test]
fn a_crash_or_a_fault_at_any_change_loses_no_volume() {
    type Verb = fn(&World) -> bool;
    let verbs: [(&str, Verb); 3] = [
        ("start", |world| world.start("web").is_ok()),
        ("stop", |world| {
            world
                .engine
                .stop(&named("web"), &StopVm::default(), &|_| {})
                .is_ok()
        }),
        ("delete", |world| {
            let request = DeleteVm {
                force: true,
                ..DeleteVm::default()
            };
            world
                .engine
                .delete(&named("web"), &request, &|_| {})
                .is_ok()
        }),
    ];
    for config in grounds() {
        for (verb, run) in verbs {
            for crash in [true, false] {
                for n in 0.. {
                    let mut world = world(config.clone());
                    world.create("web", false, false);
                    set(&world, "web", Some("/srv")).unwrap();
                    if verb != "start" {
                        world.start("web").unwrap();
                    }
                    let changes = world.sim.changes();
                    if crash {
                        world.sim.crash_before(n);
                    } else {
                        world.sim.fail_at(n);
                    }
                    run(&world);
                    let is_over = world.sim.changes() - changes <= n;
                    world.restart();
                    let context = format!("{verb}, change {n}, crash {crash}");
                    if let Ok(vm) = world.engine.show(&named("web"))
                        && vm.phase != Phase::Stopped
                    {
                        let killed = world
                            .engine
                            .kill(&named("web"), &KillVm::default(), &|_| {});
                        killed.unwrap_or_else(|error| panic!("{context}: {}", error_text(&error)));
                    }
                    holds_what_it_held(&world, &context);
                    if is_over {
                        assert!(n > 0, "{context}");
                        break;
                    }
                }
            }
        }
    }
}
