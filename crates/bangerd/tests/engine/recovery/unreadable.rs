//! Records that are damaged, or of a newer banger.

use super::*;

#[test]
fn a_state_directory_with_a_record_of_a_newer_banger_is_refused_and_left_as_it_is() {
    for name in ["vm.json", "deleting.json"] {
        let world = World::new();
        world.create("brisk-heron", true, true);
        let half_way = world.create("calm-otter", false, false);
        let newer = "/state/vms/0000000a";
        let (path, mode, owner) = (newer.into(), 0o700, None);
        let made = world
            .sim
            .change(&Op::File(FileOp::MakeDirectory { path, mode, owner }));
        made.unwrap();
        world.write(format!("{newer}/{name}"), br#"{"schema": 99, "vm": {}}"#);
        let mut record = world.record(half_way.id);
        record["vm"]["phase"] = "starting".into();
        let path = format!("/state/vms/{}/vm.json", half_way.id);
        world.write(path, record.to_string().as_bytes());
        let before = world.sim.state();
        let engine = World::unrecovered(&world.sim, &world.config);
        let changes = world.sim.changes();
        let error = engine.recover().unwrap_err();
        assert_eq!(error.code, Code::Conflict);
        let text = error_text(&error);
        for words in [
            &format!("{newer}/{name}"),
            "schema 99",
            "up to 3",
            "mv '",
            "install",
        ] {
            assert!(text.contains(words), "{text}");
        }
        assert!(engine.list().is_empty());
        assert_eq!((world.sim.changes(), world.sim.state()), (changes, before));
    }
}

#[test]
fn a_vm_whose_record_cannot_be_read_keeps_its_name_address_and_user() {
    let mut world = World::new();
    let vm = world.create("calm-otter", false, false);
    let text = world.record(vm.id).to_string();
    let path = format!("/state/vms/{}/vm.json", vm.id);
    world.write(&path, &text.as_bytes()[..text.len() - 4]);
    world.restart();
    let other = world.create("brisk-heron", false, false);
    assert_ne!(other.address, vm.address);
    let again = world
        .engine
        .create(&request("calm-otter", false, false), &|_| {});
    assert_eq!(again.unwrap_err().code, banger_api::Code::Conflict);
    let shown = world.engine.show(&named("calm-otter")).unwrap_err();
    assert!(
        error_text(&shown).contains("cannot be read"),
        "{}",
        error_text(&shown)
    );
    world.write(&path, text.as_bytes());
    world.restart();
    assert_eq!(
        world.engine.show(&named("calm-otter")).unwrap().address,
        vm.address
    );
}

#[test]
fn the_tap_of_a_vm_whose_record_cannot_be_read_is_no_stranger() {
    let mut world = World::new();
    let vm = world.create("calm-otter", true, true);
    world.write(format!("/state/vms/{}/vm.json", vm.id), b"{");
    world.restart();
    let text = world.engine.daemon().unexplained.join("\n");
    assert!(!text.contains("ip link delete"), "{text}");
    assert_eq!(world.run_time().taps.len(), 1);
}

#[test]
fn a_record_with_a_field_of_a_newer_banger_is_refused_by_its_name_and_kept() {
    for (pointer, name) in [
        ("/vm", "vm.mood"),
        ("/vm/spec", "vm.spec.mood"),
        ("/vm/last_end", "vm.last_end.?.mood"),
        ("", "mood"),
    ] {
        let mut world = World::new();
        let vm = world.create("calm-otter", false, true);
        let kill = banger_api::KillVm::default();
        let calm_otter = named("calm-otter");
        world.engine.kill(&calm_otter, &kill, &|_| {}).unwrap();
        let mut record = world.record(vm.id);
        record.pointer_mut(pointer).unwrap()["mood"] = "sunny".into();
        let path = format!("/state/vms/{}/vm.json", vm.id);
        world.write(&path, record.to_string().as_bytes());
        world.restart();
        assert!(world.engine.list().is_empty());
        let text = world.engine.daemon().unexplained.join("\n");
        assert!(text.contains(&format!("`{name}`")), "{text}");
        assert_eq!(world.record(vm.id), record, "it is left as it is");
    }
}
