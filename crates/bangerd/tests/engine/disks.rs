//! The disks of a VM: their sizes, and their devices on the host.

use banger_api::{Code, CreateVm, DeleteVm, Mib, StopVm, VmSpecPatch, VmView};
use banger_host::Look as _;
use bangerd::config::RootDiskChoice;

use crate::world::{World, error_text, named, request};

fn on_devices() -> World {
    World::with_root_disks(RootDiskChoice::DmSnapshot)
}

fn show(world: &World) -> VmView {
    world.engine.show(&named("calm-otter")).unwrap()
}

#[test]
fn the_outcome_of_a_deletion_tells_what_the_disks_took() {
    let world = World::new();
    world.create("calm-otter", false, false);
    let before = show(&world).disks;
    assert!(!before.is_empty());
    let deleted = world
        .engine
        .delete(&named("calm-otter"), &DeleteVm::default(), &|_| {});
    assert_eq!(deleted.unwrap().disks, before);
}

#[test]
fn disks_grow_at_the_next_start_and_never_shrink() {
    let world = World::new();
    let vm = world.create("calm-otter", false, false);
    let grow = VmSpecPatch {
        disk_size: Some(Mib(2048)),
        ..VmSpecPatch::default()
    };
    world
        .engine
        .set(&named("calm-otter"), &grow, &|_| {})
        .unwrap();
    world.start("calm-otter").unwrap();
    let work = format!("/state/vms/{}/machine/work.img", vm.id);
    assert_eq!(
        world.sim.stat(work.as_ref()).unwrap().unwrap().length,
        2048 << 20
    );
    let shrink = VmSpecPatch {
        disk_size: Some(Mib(1024)),
        ..VmSpecPatch::default()
    };
    let error = world
        .engine
        .set(&named("calm-otter"), &shrink, &|_| {})
        .unwrap_err();
    assert_eq!(error.code, Code::Conflict);
}

#[test]
fn a_disk_that_the_file_system_cannot_hold_is_refused_when_it_is_asked_for() {
    // The limit of ext4 with blocks of 4 KiB.
    const LARGEST: u64 = (16 << 40) - 4096;
    for root_disk in [RootDiskChoice::Auto, RootDiskChoice::DmSnapshot] {
        let world = World::with_root_disks(root_disk);
        world.sim.set_largest_file(LARGEST);
        world.create("calm-otter", false, false);
        let before = world.engine.show(&named("calm-otter")).unwrap();
        for (disk_size, system_disk_size) in [(Some(20 << 20), None), (None, Some(20 << 20))] {
            let change = VmSpecPatch {
                disk_size: disk_size.map(Mib),
                system_disk_size: system_disk_size.map(Mib),
                ..VmSpecPatch::default()
            };
            let error = world
                .engine
                .set(&named("calm-otter"), &change, &|_| {})
                .unwrap_err();
            assert_eq!(error.code, Code::Conflict, "{error:?}");
            assert!(
                error_text(&error).contains("files up to 1"),
                "{}",
                error_text(&error)
            );
            let create = CreateVm {
                spec: VmSpecPatch {
                    disk_size: change.disk_size,
                    system_disk_size: change.system_disk_size,
                    ..VmSpecPatch::default()
                },
                ..request("another", false, false)
            };
            let error = world.engine.create(&create, &|_| {}).unwrap_err();
            assert_eq!(error.code, Code::Conflict, "{error:?}");
        }
        let after = world.engine.show(&named("calm-otter")).unwrap();
        assert_eq!(after, before);
        world.start("calm-otter").unwrap();
    }
}

#[test]
fn a_disk_may_be_set_back_to_what_it_still_is() {
    for root_disk in [RootDiskChoice::Auto, RootDiskChoice::DmSnapshot] {
        let world = World::with_root_disks(root_disk);
        let vm = world.create("calm-otter", false, true);
        let set = |disk: Mib, system: Mib| {
            let request = VmSpecPatch {
                disk_size: Some(disk),
                system_disk_size: Some(system),
                ..VmSpecPatch::default()
            };
            world.engine.set(&named("calm-otter"), &request, &|_| {})
        };
        set(Mib(1 << 20), Mib(1 << 20)).unwrap();
        set(vm.spec.disk_size, vm.spec.system_disk_size).unwrap();
        set(vm.spec.disk_size, Mib(vm.spec.system_disk_size.0 - 1)).unwrap_err();
        set(Mib(vm.spec.disk_size.0 - 1), vm.spec.system_disk_size).unwrap_err();
        let request = StopVm::default();
        world
            .engine
            .restart(&named("calm-otter"), &request, &|_| {})
            .unwrap();
    }
}

#[test]
fn an_invalidated_disk_is_restored_and_reported() {
    let world = on_devices();
    let vm = world.create("calm-otter", true, true);
    let store = std::path::PathBuf::from(format!("/state/vms/{}/root.cow", vm.id));
    world.sim.tamper(|state| {
        state.files.get_mut(&store).unwrap().contents[4] = 0;
        for snapshot in state.snapshots.values_mut() {
            snapshot.given_up = true;
        }
    });
    let is_invalidated = |vm: &VmView| vm.notes.iter().any(|note| note.contains("invalidated"));
    assert!(is_invalidated(&show(&world)));
    let vm = world
        .engine
        .restart(&named("calm-otter"), &StopVm::default(), &|_| {})
        .unwrap();
    assert!(is_invalidated(&vm), "{:?}", vm.notes);
    let state = world.sim.state();
    assert_eq!(state.files[&store].contents[4], 1);
    assert!(state.snapshots.values().all(|it| !it.given_up));
    let vm = world
        .engine
        .restart(&named("calm-otter"), &StopVm::default(), &|_| {})
        .unwrap();
    assert!(!is_invalidated(&vm), "{:?}", vm.notes);
}

#[test]
fn a_device_without_a_vm_is_reported_and_left_alone() {
    let mut world = on_devices();
    let vm = world.create("calm-otter", true, true);
    let name = world.sim.state().snapshots.into_keys().next().unwrap();
    let stranger = name.replace(&vm.id.to_string(), "00000000");
    world.sim.tamper(|state| {
        let snapshot = state.snapshots[&name].clone();
        state.snapshots.insert(stranger.clone(), snapshot);
    });
    world.restart();
    let unexplained = world.engine.daemon().unexplained;
    assert!(unexplained[0].contains(&stranger), "{unexplained:?}");
    assert!(world.sim.state().snapshots.contains_key(&stranger));
}

#[test]
fn what_its_disks_take_is_shown() {
    let world = on_devices();
    world.create("calm-otter", true, false);
    let disks = show(&world).disks;
    let names: Vec<&str> = disks.iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["root", "work"]);
    assert!(disks[0].shared_bytes.is_some());
}
