//! Clones: the content of another VM, and an identity of their own.

use banger_api::{CloneVm, Code, Error, Mib, Phase, VmSpecPatch, VmView};
use banger_host::Look as _;

use crate::world::{World, error_text, named};

fn clone_with(world: &World, of: &str, name: &str, spec: VmSpecPatch) -> Result<VmView, Error> {
    let name = name.to_owned();
    let request = CloneVm { name, spec };
    world.engine.clone_of(&named(of), &request, &|_| {})
}

fn clone_of(world: &World, of: &str, name: &str) -> Result<VmView, Error> {
    clone_with(world, of, name, VmSpecPatch::default())
}

fn on_each_ground(test: impl Fn(&World)) {
    for config in [World::on_devices(), bangerd::config::Config::default()] {
        test(&World::configured(banger_host::Sim::new(), config));
    }
}

#[test]
fn a_clone_has_the_disks_and_settings_of_the_other_and_an_identity_of_its_own() {
    on_each_ground(|world| {
        let of = world.create("golden", true, false);
        let disk = |vm: &VmView, name: &str| format!("/state/vms/{}/{name}", vm.id);
        let root = match of.root_disk.as_str() {
            "dm-snapshot" => "root.cow",
            _ => "machine/root.img",
        };
        // A store that was never written begins with zeros.
        let content = |text: &str| [&[0; 64], text.as_bytes()].concat();
        world.write(disk(&of, root), &content("its system"));
        world.write(disk(&of, "machine/work.img"), &content("its work"));
        let vm = clone_of(world, "golden", "copy").unwrap();
        assert_eq!(
            (vm.name.as_str(), vm.phase, &vm.spec),
            ("copy", Phase::Stopped, &of.spec)
        );
        for (name, text) in [(root, "its system"), ("machine/work.img", "its work")] {
            let path = disk(&vm, name);
            let bytes = world.sim.read(path.as_ref()).unwrap().unwrap();
            assert!(bytes.starts_with(&content(text)), "{name}");
        }
        let (old, new) = (world.record(of.id), world.record(vm.id));
        for key in ["id", "index", "address", "machine_id", "host_key"] {
            assert_ne!(old["vm"][key], new["vm"][key], "{key}");
        }
        for key in ["images", "root_disk", "shape"] {
            assert_eq!(old["vm"][key], new["vm"][key], "{key}");
        }
        let pin = |vm: &VmView| {
            let path = format!("/state/ssh/known_hosts.d/{}", vm.id);
            world.sim.read(path.as_ref()).unwrap().unwrap()
        };
        assert_ne!(pin(&of), pin(&vm));
        assert_eq!(new["vm"]["former_names"], serde_json::json!(["golden"]));
        let former = new["vm"]["former_machine_ids"].clone();
        assert_eq!(former, serde_json::json!([old["vm"]["machine_id"]]));
        // Both run at the same time, and the clone's guest has its new identity.
        world.start("golden").unwrap();
        world.start("copy").unwrap();
        let new = world.record(vm.id);
        assert!(new["vm"].get("former_names").is_none());
        assert!(new["vm"].get("former_machine_ids").is_none());
    });
}

#[test]
fn a_clone_of_a_clone_that_never_ran_knows_both_that_its_disk_may_name() {
    let world = World::new();
    world.create("first", false, false);
    clone_of(&world, "first", "second").unwrap();
    let third = clone_of(&world, "second", "third").unwrap();
    let record = world.record(third.id);
    let former = serde_json::json!(["first", "second"]);
    assert_eq!(record["vm"]["former_names"], former);
    let ids = record["vm"]["former_machine_ids"].as_array().unwrap();
    assert_eq!(ids.len(), 2);
}

#[test]
fn what_cannot_be_cloned_is_refused_and_nothing_is_made() {
    let world = World::new();
    world.create("running", false, true);
    world.create("stopped", false, false);
    let smaller = VmSpecPatch {
        disk_size: Some(Mib(512)),
        ..VmSpecPatch::default()
    };
    let before = world.sim.changes();
    for (of, name, spec, code, word) in [
        ("running", "copy", None, Code::Conflict, "is running"),
        ("none", "copy", None, Code::NotFound, "no VM `none`"),
        ("stopped", "running", None, Code::Conflict, "already"),
        ("stopped", "A.b", None, Code::Invalid, "A.b"),
        ("stopped", "copy", Some(smaller), Code::Conflict, "shrink"),
    ] {
        let error = clone_with(&world, of, name, spec.unwrap_or_default()).unwrap_err();
        assert_eq!(error.code, code, "{}", error_text(&error));
        assert!(error_text(&error).contains(word), "{}", error_text(&error));
        assert!(!error.hints.is_empty(), "{}", error_text(&error));
    }
    assert_eq!(world.engine.list().len(), 2);
    // The ssh configuration for VMs is unchanged.
    assert_eq!(world.sim.changes(), before);
}

#[test]
fn a_disk_of_a_clone_may_be_larger() {
    let world = World::new();
    world.create("golden", false, false);
    let spec = VmSpecPatch {
        disk_size: Some(Mib(4096)),
        ..VmSpecPatch::default()
    };
    let vm = clone_with(&world, "golden", "copy", spec).unwrap();
    let path = format!("/state/vms/{}/machine/work.img", vm.id);
    let stat = world.sim.stat(path.as_ref()).unwrap().unwrap();
    assert_eq!(stat.length, 4096 << 20);
}

#[test]
fn the_vm_that_is_cloned_is_held_meanwhile() {
    let world = World::new();
    let of = world.create("golden", false, false);
    let engine = world.engine.clone();
    let refused = std::sync::Mutex::new(None);
    let request = CloneVm {
        name: "copy".to_owned(),
        spec: VmSpecPatch::default(),
    };
    world
        .engine
        .clone_of(&of.id.into(), &request, &|_| {
            let start = engine.start(&of.id.into(), &banger_api::StartVm::default(), &|_| {});
            *refused.lock().unwrap() = start.err();
        })
        .unwrap();
    let refused = refused.into_inner().unwrap().unwrap();
    assert_eq!(refused.code, Code::Busy, "{}", error_text(&refused));
    world.start("golden").unwrap();
}
