//! Recovery: what the next daemon does with each state that it finds.

mod unreadable;

use banger_api::{Code, DeleteVm, Mib, Phase, VmSpecPatch, VmView};
use banger_host::Host as _;
use banger_host::{FileOp, Op};

use crate::world::{World, error_text, named, request};

#[test]
fn a_running_vm_is_adopted_with_its_rules() {
    let mut world = World::new();
    let vm = world.create("calm-otter", true, true);
    let before = world.run_time();
    world.sim.tamper(|state| state.tables.clear());
    world.restart();
    let after = world.engine.show(&named("calm-otter")).unwrap();
    assert_eq!((after.phase, after.pid), (Phase::Running, vm.pid));
    assert_eq!(world.run_time(), before);
}

#[test]
fn a_process_number_that_belongs_to_another_now_is_never_signalled() {
    let mut world = World::new();
    let vm = world.create("calm-otter", false, true);
    let pid = vm.pid.unwrap();
    world.sim.tamper(|state| state.processes.remove(&pid));
    world.sim.tamper(|state| {
        state.processes.insert(
            pid + 1,
            banger_host::SimProcess {
                arguments: vec!["innocent".to_owned()],
                ..banger_host::SimProcess::default()
            },
        )
    });
    world.restart();
    assert_eq!(
        world.engine.show(&named("calm-otter")).unwrap().phase,
        Phase::Stopped
    );
    let left = world.run_time().processes;
    assert_eq!(left, [["innocent".to_owned()]]);
}

#[test]
fn a_foreign_process_with_a_vms_name_neither_delays_it_nor_is_killed() {
    let mut world = World::new();
    let vm = world.create("calm-otter", false, true);
    let name = world.run_time().processes[0][0].clone();
    assert!(name.ends_with(&vm.id.to_string()), "{name}");
    let stranger = |user, program: &str| banger_host::SimProcess {
        program: program.into(),
        user,
        arguments: vec!["stranger".to_owned(), name.clone()],
        ..banger_host::SimProcess::default()
    };
    // Another user's process, and a pager of the daemon's own user.
    world.sim.tamper(|state| {
        state.processes.insert(1, stranger(Some(4711), "/sim"));
        state.processes.insert(2, stranger(None, "/usr/bin/less"));
    });
    let wanted = named("calm-otter");
    world.restart();
    world
        .engine
        .stop(&wanted, &Default::default(), &|_| {})
        .unwrap();
    world.start("calm-otter").unwrap();
    world
        .engine
        .kill(&wanted, &Default::default(), &|_| {})
        .unwrap();
    let delete = banger_api::DeleteVm {
        force: true,
        ..banger_api::DeleteVm::default()
    };
    world.engine.delete(&wanted, &delete, &|_| {}).unwrap();
    let left = world.run_time().processes;
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.iter().all(|it| it[0] == "stranger"), "{left:?}");
}

/// A running VM whose daemon ended in this phase.
fn left_in(phase: &str) -> (World, VmView) {
    let mut world = World::new();
    let vm = world.create("calm-otter", false, true);
    let mut record = world.record(vm.id);
    record["vm"]["phase"] = phase.into();
    let path = format!("/state/vms/{}/vm.json", vm.id);
    world.write(path, record.to_string().as_bytes());
    world.restart();
    (world, vm)
}

#[test]
fn a_vm_that_was_being_suspended_runs_on_and_one_that_was_being_resumed_is_taken_down() {
    let (world, vm) = left_in("suspending");
    let adopted = world.engine.list().remove(0);
    assert_eq!((adopted.phase, adopted.pid), (Phase::Running, vm.pid));
    let (world, _) = left_in("resuming");
    assert_eq!(world.engine.list()[0].phase, Phase::Stopped);
    assert!(world.run_time().processes.is_empty());
}

#[test]
fn a_suspended_vm_stays_so_without_a_process_until_it_is_killed() {
    let (world, _) = left_in("suspended");
    assert_eq!(world.engine.list()[0].phase, Phase::Suspended);
    assert!(world.run_time().processes.is_empty());
    let error = world.start("calm-otter").unwrap_err();
    assert!(
        error_text(&error).contains("cannot resume it"),
        "{}",
        error_text(&error)
    );
    let kill = banger_api::KillVm::default();
    let killed = world.engine.kill(&named("calm-otter"), &kill, &|_| {});
    assert_eq!(killed.unwrap().vm.phase, Phase::Stopped);
}

#[test]
fn what_belongs_to_no_vm_is_reported_and_left_alone() {
    let mut world = World::new();
    let path = "/state/vms/holiday-photos".into();
    world
        .sim
        .change(&Op::File(FileOp::MakeDirectory {
            path,
            mode: 0o700,
            owner: None,
        }))
        .unwrap();
    world.restart();
    let unexplained = world.engine.daemon().unexplained;
    assert_eq!(unexplained.len(), 1);
    assert!(unexplained[0].contains("holiday-photos"), "{unexplained:?}");
    assert!(
        world
            .sim
            .state()
            .directories
            .contains(std::path::Path::new("/state/vms/holiday-photos"))
    );
}

/// Three VMs of an old bundle, the one with the lowest id half-deleted, and a newer bundle.
fn one_of_three_half_deleted(world: &World) -> Vec<String> {
    world.replace_bundle("old");
    let mut vms = ["a-cat", "a-dog", "a-fox"].map(|name| world.create(name, false, false));
    world.replace_bundle("new");
    vms.sort_by_key(|vm| vm.id);
    let mut record = world.record(vms[0].id);
    record["vm"]["phase"] = "deleting".into();
    world.write(
        format!("/state/vms/{}/vm.json", vms[0].id),
        record.to_string().as_bytes(),
    );
    vms.iter().map(|vm| vm.name.to_string()).collect()
}

#[test]
fn a_delete_that_is_finished_after_a_crash_leaves_the_images_of_other_vms() {
    let mut world = World::new();
    let names = one_of_three_half_deleted(&world);
    world.restart();
    assert!(world.engine.show(&named(&names[0])).is_err());
    world.assert_images_are_whole("after recovery");
    for name in &names[1..] {
        world
            .start(name)
            .unwrap_or_else(|error| panic!("{}", error_text(&error)));
    }
}

#[test]
fn unused_images_are_removed_after_recovery() {
    let mut world = World::new();
    world.replace_bundle("old");
    let vm = world.create("calm-otter", false, false);
    world.replace_bundle("new");
    world.create("brisk-heron", false, false);
    let mut record = world.record(vm.id);
    record["vm"]["phase"] = "deleting".into();
    world.write(
        format!("/state/vms/{}/vm.json", vm.id),
        record.to_string().as_bytes(),
    );
    assert_eq!(world.images().len(), 4);
    world.restart();
    assert_eq!(world.images().len(), 2);
    world.assert_images_are_whole("after recovery");
}

#[test]
fn no_image_is_removed_while_a_record_cannot_be_read() {
    type Damage = fn(&str) -> Vec<u8>;
    let damages: [(&str, Damage); 3] = [
        ("empty", |_| Vec::new()),
        ("cut off", |text| text.as_bytes()[..text.len() / 2].to_vec()),
        ("newer", |text| {
            text.replace("\"phase\":", "\"mood\":1,\"phase\":")
                .into_bytes()
        }),
    ];
    for (what, damage) in damages {
        let mut world = World::new();
        world.replace_bundle("old");
        let vm = world.create("calm-otter", false, false);
        world.replace_bundle("new");
        world.create("brisk-heron", false, false);
        let (images, path) = (world.images(), format!("/state/vms/{}/vm.json", vm.id));
        let text = world.record(vm.id).to_string();
        world.write(&path, &damage(&text));
        world.restart();
        let delete = |world: &World, name| {
            let request = DeleteVm::default();
            world
                .engine
                .delete(&named(name), &request, &|_| {})
                .unwrap();
        };
        delete(&world, "brisk-heron");
        assert_eq!(world.images(), images, "{what}");
        // With its record restored it starts, and later its images are removed with it.
        world.write(&path, text.as_bytes());
        world.restart();
        world
            .start("calm-otter")
            .unwrap_or_else(|error| panic!("{what}: {}", error_text(&error)));
        let request = DeleteVm {
            force: true,
            ..DeleteVm::default()
        };
        world
            .engine
            .delete(&named("calm-otter"), &request, &|_| {})
            .unwrap();
        assert!(world.images().len() < images.len(), "{what}");
    }
}

#[test]
fn what_runs_after_the_state_directory_was_removed_is_listed_until_it_is_gone() {
    let mut world = World::new();
    let vm = world.create("calm-otter", true, true);
    let path = "/state/vms".into();
    let remove = Op::File(FileOp::RemoveDirectory { path });
    world.sim.change(&remove).unwrap();
    let (pid, tap) = world.sim.tamper(|state| {
        let pid = *state.processes.keys().next().unwrap();
        (pid, state.taps.keys().next().unwrap().clone())
    });
    world.restart();
    assert!(world.engine.list().is_empty());
    let seen = world.engine.daemon().unexplained;
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen[0].contains(&format!("kill {pid}")), "{seen:?}");
    assert!(seen[0].contains(&vm.id.to_string()), "{seen:?}");
    assert!(seen[1].contains(&tap), "{seen:?}");

    world.sim.tamper(|state| {
        state.processes.remove(&pid);
    });
    assert_eq!(world.engine.daemon().unexplained, seen[1..]);
    world.sim.tamper(|state| {
        state.taps.remove(&tap);
    });
    assert_eq!(world.engine.daemon().unexplained, [] as [String; 0]);
}

#[test]
fn a_copy_that_lost_its_owners_does_not_start_and_says_how_to_mend_them() {
    let world = World::new();
    let vm = world.create("calm-otter", true, false);
    let machine = format!("/state/vms/{}/machine", vm.id);
    let work = std::path::PathBuf::from(&machine).join("work.img");
    let give_to = |uid: u32| {
        world.sim.tamper(|state| {
            let permission = state.permissions.get_mut(&work).unwrap();
            std::mem::replace(&mut permission.uid, uid)
        })
    };
    let right = give_to(4711);
    let error = world.start("calm-otter").unwrap_err();
    assert_eq!(error.code, Code::NotReady);
    let text = error_text(&error);
    assert!(text.contains("belongs to user 4711"), "{text}");
    assert!(
        text.contains("sudo chown -RPh") && text.contains(&machine),
        "{text}"
    );
    give_to(right);
    world.start("calm-otter").unwrap();
}

#[test]
fn a_vm_from_when_less_memory_was_enough_can_still_be_set() {
    let mut world = World::new();
    let vm = world.create("calm-otter", false, false);
    let mut record = world.record(vm.id);
    record["vm"]["spec"]["memory_mib"] = 128.into();
    world.write(
        format!("/state/vms/{}/vm.json", vm.id),
        record.to_string().as_bytes(),
    );
    world.restart();
    let set = |request| world.engine.set(&named("calm-otter"), &request, &|_| {});
    let nat = VmSpecPatch {
        nat: Some(true),
        ..VmSpecPatch::default()
    };
    set(nat).unwrap();
    let less = VmSpecPatch {
        memory: Some(Mib(129)),
        ..VmSpecPatch::default()
    };
    let error = set(less).expect_err("it is accepted");
    assert!(
        error_text(&error).contains("at least 192M"),
        "{}",
        error_text(&error)
    );
}
