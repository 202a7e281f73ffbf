//! The trash: what a VM in it keeps, what it has given up, and its state after a crash.

use banger_api::{
    Change, Code, DeleteVm, Error, ImageName, Mib, Phase, PurgeVm, StartVm, UndeleteVm,
    VmSpecPatch, VmView,
};
use banger_host::Sim;
use bangerd::config::Config;

use crate::events::{after, newest};
use crate::world::{World, error_text, named};

fn with_trash() -> World {
    let config = Config {
        trash: true,
        ..Config::default()
    };
    World::configured(Sim::new(), config)
}

fn delete(world: &World, vm: &str) -> Result<VmView, Error> {
    let request = DeleteVm::default();
    world.engine.delete(&named(vm), &request, &|_| {})
}

fn undelete(world: &World, vm: &str, name: Option<&str>) -> Result<VmView, Error> {
    let request = UndeleteVm {
        name: name.map(str::to_owned),
    };
    world.engine.undelete(&named(vm), &request, &|_| {})
}

fn purge(world: &World, vm: &str) -> Result<VmView, Error> {
    let request = PurgeVm::default();
    world.engine.purge(&named(vm), &request, &|_| {})
}

fn in_trash(world: &World) -> Vec<String> {
    let trash = world.engine.trash();
    trash.iter().map(|vm| vm.name.to_string()).collect()
}

#[test]
fn a_vm_in_the_trash_is_in_nobodys_sight_and_comes_back_as_it_was() {
    let mut world = with_trash();
    let before = world.create("web", true, false);
    let files = world.persistent();
    let seq = newest(&world.engine);
    let deleted = delete(&world, "web").unwrap();
    assert!(deleted.deleted.is_some());
    world.restart();
    assert_eq!(world.persistent(), files, "all its files are kept");
    assert_eq!(world.engine.list(), []);
    assert_eq!(world.engine.address_of("web"), None);
    assert_eq!(world.engine.daemon().vms, 0);
    assert_eq!(world.engine.daemon().unexplained, Vec::<String>::new());
    assert_eq!(in_trash(&world), ["web"]);
    for reference in ["web".to_owned(), before.id.to_string()] {
        let error = world.engine.show(&named(&reference)).unwrap_err();
        assert_eq!(error.code, Code::NotFound);
        assert!(
            error_text(&error).contains("banger vm undelete"),
            "{error:?}"
        );
        let request = StartVm::default();
        let error = world.engine.start(&named(&reference), &request, &|_| {});
        assert_eq!(error.unwrap_err().code, Code::NotFound);
    }
    let back = undelete(&world, "web", None).unwrap();
    assert_eq!(
        back,
        world
            .engine
            .show(&before.id.into())
            .map(|vm| VmView {
                disks: Vec::new(),
                ..vm
            })
            .unwrap()
    );
    assert_eq!(
        (back.id, &back.spec, back.address),
        (before.id, &before.spec, before.address)
    );
    assert_eq!(in_trash(&world), [] as [String; 0]);
    world.start("web").unwrap();
    let _ = seq;
}

#[test]
fn readers_of_events_see_it_go_and_come() {
    let world = with_trash();
    let vm = world.create("web", false, false);
    let seq = newest(&world.engine);
    delete(&world, "web").unwrap();
    undelete(&world, "web", Some("api")).unwrap();
    let changes = after(&world.engine, seq);
    let seen: Vec<String> = changes
        .iter()
        .filter_map(|event| match &event.change {
            Change::Deleted { id, name } if *id == vm.id => Some(format!("-{name}")),
            Change::Vm(view) if view.id == vm.id => Some(format!("+{}", view.name)),
            _ => None,
        })
        .collect();
    assert_eq!(seen, ["-web", "+api"]);
}

#[test]
fn its_name_is_free_and_its_number_is_not() {
    let world = with_trash();
    let first = world.create("web", false, false);
    delete(&world, "web").unwrap();
    let second = world.create("web", false, false);
    assert_ne!(first.address, second.address);
    let error = undelete(&world, "web", None).unwrap_err();
    assert_eq!(error.code, Code::Conflict, "{error:?}");
    assert!(error_text(&error).contains("--name NAME"), "{error:?}");
    let error = undelete(&world, "web", Some("A.b")).unwrap_err();
    assert_eq!(error.code, Code::Invalid);
    assert_eq!(in_trash(&world), ["web"]);
    let back = undelete(&world, "web", Some("api")).unwrap();
    assert_eq!((back.id, back.name.as_str()), (first.id, "api"));
    // Two VMs with one name; the one deleted later comes first.
    delete(&world, "web").unwrap();
    world.create("web", false, false);
    delete(&world, "web").unwrap();
    assert_eq!(in_trash(&world), ["web", "web"]);
    assert_eq!(purge(&world, "web").unwrap_err().code, Code::Conflict);
    purge(&world, &second.id.to_string()).unwrap();
    purge(&world, "web").unwrap();
    assert_eq!(purge(&world, "web").unwrap_err().code, Code::NotFound);
}

#[test]
fn its_image_stays_until_it_is_purged() {
    let world = with_trash();
    let vm = world.create("web", false, false);
    world.replace_bundle("newer");
    delete(&world, "web").unwrap();
    world.create("other", false, false);
    let name: ImageName = "default".parse().unwrap();
    world.engine.image(&name).unwrap();
    let images = world.images().len();
    undelete(&world, "web", None).unwrap();
    world.assert_images_are_whole("after the trash");
    delete(&world, "web").unwrap();
    let purged = purge(&world, "web").unwrap();
    assert_eq!((purged.id, purged.disks.len()), (vm.id, 2));
    assert!(world.images().len() < images);
    let left: Vec<_> = world.persistent().into_keys().collect();
    let is_of_it = |path: &std::path::PathBuf| path.to_string_lossy().contains(&vm.id.to_string());
    assert!(!left.iter().any(is_of_it), "{left:?}");
}

#[test]
fn without_a_trash_or_with_purge_a_delete_is_for_good() {
    let world = World::new();
    world.create("web", false, false);
    assert_eq!(delete(&world, "web").unwrap().deleted, None);
    assert_eq!(in_trash(&world), [] as [String; 0]);
    let world = with_trash();
    world.create("web", false, true);
    let request = DeleteVm {
        force: true,
        purge: true,
    };
    world
        .engine
        .delete(&named("web"), &request, &|_| {})
        .unwrap();
    assert_eq!(in_trash(&world), [] as [String; 0]);
    // A running VM is killed first, and protection applies.
    world.create("web", false, true);
    assert_eq!(delete(&world, "web").unwrap_err().code, Code::Conflict);
    let protect = VmSpecPatch {
        protected: Some(true),
        disk_size: Some(Mib(2048)),
        ..VmSpecPatch::default()
    };
    world.engine.set(&named("web"), &protect, &|_| {}).unwrap();
    let by_force = DeleteVm {
        force: true,
        ..DeleteVm::default()
    };
    assert!(
        world
            .engine
            .delete(&named("web"), &by_force, &|_| {})
            .is_err()
    );
    let lift = VmSpecPatch {
        protected: Some(false),
        ..VmSpecPatch::default()
    };
    world.engine.set(&named("web"), &lift, &|_| {}).unwrap();
    world
        .engine
        .delete(&named("web"), &by_force, &|_| {})
        .unwrap();
    assert_eq!(in_trash(&world), ["web"]);
    assert_eq!(world.run_time().processes.len(), 0);
}

#[test]
fn a_vm_that_starts_with_the_host_does_not_from_the_trash() {
    let mut world = with_trash();
    world.create("web", false, false);
    let autostart = VmSpecPatch {
        autostart: Some(true),
        ..VmSpecPatch::default()
    };
    world
        .engine
        .set(&named("web"), &autostart, &|_| {})
        .unwrap();
    delete(&world, "web").unwrap();
    world.sim.reboot();
    world.restart();
    world.engine.start_with_host();
    assert_eq!(world.run_time().processes.len(), 0);
    assert_eq!(undelete(&world, "web", None).unwrap().phase, Phase::Stopped);
}

#[test]
fn a_crash_or_a_fault_at_any_change_leaves_it_here_or_there_or_gone_whole() {
    type Verb = fn(&World) -> Result<VmView, Error>;
    let verbs: [(&str, Verb); 3] = [
        ("delete", |world| delete(world, "web")),
        ("undelete", |world| undelete(world, "old", Some("new"))),
        ("purge", |world| purge(world, "old")),
    ];
    for (verb, run) in verbs {
        for crash in [true, false] {
            for n in 0.. {
                let mut world = with_trash();
                world.create("web", false, false);
                world.create("old", false, false);
                delete(&world, "old").unwrap();
                let changes = world.sim.changes();
                if crash {
                    world.sim.crash_before(n);
                } else {
                    world.sim.fail_at(n);
                }
                let outcome = run(&world);
                let is_over = world.sim.changes() - changes <= n;
                world.restart();
                let context = format!("{verb}, change {n}, crash {crash}");
                let (listed, trashed) = (world.engine.list(), in_trash(&world));
                let mut all: Vec<&str> = listed.iter().map(|vm| vm.name.as_str()).collect();
                all.extend(trashed.iter().map(String::as_str));
                if outcome.is_ok() {
                    match verb {
                        "delete" => assert_eq!(trashed.len(), 2, "{context}"),
                        "undelete" => assert!(all.contains(&"new"), "{context}: {all:?}"),
                        _ => assert_eq!(all, ["web"], "{context}"),
                    }
                }
                let most = if verb == "purge" { 1..=2 } else { 2..=2 };
                assert!(most.contains(&all.len()), "{context}: {all:?}");
                assert_eq!(
                    world.engine.daemon().unexplained,
                    [] as [String; 0],
                    "{context}"
                );
                for vm in &listed {
                    let request = StartVm::default();
                    let started = world.engine.start(&vm.id.into(), &request, &|_| {});
                    started.unwrap_or_else(|error| panic!("{context}: {}", error_text(&error)));
                }
                if is_over {
                    assert!(outcome.is_ok() && n > 0, "{context}");
                    break;
                }
            }
        }
    }
}
