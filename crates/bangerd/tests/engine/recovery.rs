//! What the next daemon makes of what it finds.

use banger_api::Phase;
use banger_host::Host as _;
use banger_host::Op;

use crate::world::{World, named};

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
                directory: "/".into(),
                stopped: false,
                exit: None,
                jailed: None,
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
fn what_cannot_be_explained_is_told_and_left_alone() {
    let mut world = World::new();
    let path = "/state/vms/holiday-photos".into();
    world
        .sim
        .change(&Op::MakeDirectory {
            path,
            mode: 0o700,
            owner: None,
        })
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

#[test]
fn a_record_of_a_newer_banger_is_refused_in_words_and_kept() {
    let mut world = World::new();
    let vm = world.create("calm-otter", false, false);
    let path: std::path::PathBuf = format!("/state/vms/{}/vm.json", vm.id).into();
    let contents = br#"{"schema": 99, "vm": {}}"#.to_vec();
    let op = Op::WriteFile {
        path: path.clone(),
        contents: contents.clone(),
        mode: 0o600,
        owner: None,
    };
    world.sim.change(&op).unwrap();
    world.restart();
    assert!(world.engine.list().is_empty());
    let told = world.engine.daemon().unexplained.join("\n");
    assert!(told.contains("schema 99"), "{told}");
    assert_eq!(world.sim.state().files[&path].contents, contents);
}
