//! Archives: an import restores the exported VM, and rejects hostile and incomplete files.

use std::sync::Mutex;

use banger_api::{
    CloneVm, Code, Error, ExportVm, ExportedVm, ImportVm, Phase, Progress, VmSpecPatch, VmView,
};
use banger_host::{FileOp, Look as _, Op, Sim};
use bangerd::config::{Config, RootDiskChoice};

use crate::world::{World, error_text, named};

const FILE: &str = "/state/golden.banger";

fn export(world: &World, vm: &str, force: bool) -> Result<ExportedVm, Error> {
    let path = FILE.to_owned();
    let request = ExportVm { path, force };
    world.engine.export(&named(vm), &request, &|_| {})
}

fn import(world: &World, name: Option<&str>) -> Result<VmView, Error> {
    let request = ImportVm {
        path: FILE.to_owned(),
        name: name.map(str::to_owned),
    };
    world.engine.import(&request, &|_| {})
}

/// A world with the VM `golden`, whose disks have content, and its archive.
fn exported(config: Config) -> (World, VmView, Vec<u8>) {
    let world = World::configured(Sim::new(), config);
    let vm = world.create("golden", true, false);
    let folder = format!("/state/vms/{}/machine", vm.id);
    world.write(format!("{folder}/work.img"), b"its work");
    if vm.root_disk != "dm-snapshot" {
        world.write(format!("{folder}/root.img"), b"its system");
    }
    export(&world, "golden", false).unwrap();
    let archive = world.sim.read(FILE.as_ref()).unwrap().unwrap();
    (world, vm, archive)
}

fn on_devices_with_vm() -> World {
    let world = World::configured(Sim::new(), World::on_devices());
    world.create("golden", true, false);
    world
}

/// Another host that has this file.
fn elsewhere(archive: &[u8], config: Config) -> World {
    let world = World::configured(Sim::new(), config);
    world.write(FILE, archive);
    world
}

fn grounds() -> [Config; 2] {
    [Config::default(), World::on_devices()]
}

#[test]
fn a_vm_comes_out_on_another_host_with_another_driver_as_it_went_in() {
    for (from, to) in grounds().into_iter().zip(grounds().into_iter().rev()) {
        let (first, of, archive) = exported(from);
        let other = elsewhere(&archive, to);
        let vm = import(&other, None).unwrap();
        assert_eq!(
            (vm.name.as_str(), vm.phase, &vm.spec),
            ("golden", Phase::Stopped, &of.spec)
        );
        let work = format!("/state/vms/{}/machine/work.img", vm.id);
        let bytes = other.sim.read(work.as_ref()).unwrap().unwrap();
        assert!(bytes.starts_with(b"its work"), "{bytes:?}");
        let (old, new) = (first.record(of.id), other.record(vm.id));
        let root = new["vm"]["images"]["root"].as_str().unwrap();
        let root = format!("/state/images/{root}/rootfs.ext4");
        let bytes = other.sim.read(root.as_ref()).unwrap().unwrap();
        let expected = if of.root_disk == "dm-snapshot" {
            "simulated"
        } else {
            "its system"
        };
        assert!(bytes.starts_with(expected.as_bytes()), "{bytes:?}");
        for key in ["id", "machine_id", "host_key"] {
            assert_ne!(old["vm"][key], new["vm"][key], "{key}");
        }
        let former = serde_json::json!([old["vm"]["machine_id"]]);
        assert_eq!(new["vm"]["former_machine_ids"], former);
        other.start("golden").unwrap();
        other.assert_images_are_whole("after an import");
        let work = other.sim.list("/state/image-work".as_ref()).unwrap();
        assert_eq!(work, [] as [String; 0]);
        let text = String::from_utf8_lossy(&archive);
        assert!(!text.contains("PRIVATE KEY"), "a key is in the archive");
    }
}

#[test]
fn an_import_beside_the_vm_needs_another_name_and_gives_its_images_back() {
    let (world, of, _) = exported(Config::default());
    let error = import(&world, None).unwrap_err();
    assert_eq!(error.code, Code::Conflict);
    assert!(
        error_text(&error).contains("--name"),
        "{}",
        error_text(&error)
    );
    let images = world.images();
    let vm = import(&world, Some("copy")).unwrap();
    assert_ne!(vm.id, of.id);
    assert_eq!(world.images().len(), images.len() + 2);
    let delete = banger_api::DeleteVm::default();
    world
        .engine
        .delete(&named("copy"), &delete, &|_| {})
        .unwrap();
    assert_eq!(world.images(), images);
}

#[test]
fn what_cannot_be_exported_is_refused() {
    let world = World::new();
    world.create("golden", false, true);
    let error = export(&world, "golden", false).unwrap_err();
    assert_eq!(error.code, Code::Conflict);
    assert!(error_text(&error).contains("banger vm stop golden"));
    let (world, _, archive) = exported(Config::default());
    let error = export(&world, "golden", false).unwrap_err();
    assert_eq!(error.code, Code::Conflict);
    assert!(error_text(&error).contains("--force"));
    let again = export(&world, "golden", true).unwrap();
    assert_eq!(again.size_bytes, archive.len() as u64);
    assert_eq!(again.digest.len(), 64);
    for path in ["golden", "/state/../x", ""] {
        let path = path.to_owned();
        let request = ExportVm { path, force: true };
        let error = world.engine.export(&named("golden"), &request, &|_| {});
        assert_eq!(error.unwrap_err().code, Code::Invalid);
    }
}

#[test]
fn a_file_that_is_damaged_or_hostile_leaves_nothing() {
    let (_, _, archive) = exported(Config::default());
    let text = String::from_utf8_lossy(&archive).into_owned();
    let longer_name = text.replace("\"name\": \"golden\"", "\"name\": \"../lden\"");
    let claim = archive.len();
    let mut damaged: Vec<(String, Vec<u8>)> = [0, 17, 40, claim / 2, claim - 40, claim - 1]
        .map(|at| {
            let mut bytes = archive.clone();
            bytes[at] ^= 1;
            (format!("byte {at} is changed"), bytes)
        })
        .into();
    for length in [0, 5, 20, 100, claim / 2, claim - 1] {
        let bytes = archive[..length].to_vec();
        damaged.push((format!("it ends after {length}"), bytes));
    }
    damaged.push((
        "something follows".to_owned(),
        [&archive[..], b"x"].concat(),
    ));
    damaged.push(("another name".to_owned(), longer_name.into_bytes()));
    for (what, bytes) in damaged {
        let world = elsewhere(&bytes, Config::default());
        world.create("neighbour", false, false);
        let before = (world.images(), world.persistent());
        let error = import(&world, None).expect_err(&what);
        assert!(
            matches!(error.code, Code::Invalid | Code::Conflict | Code::Host),
            "{what}: {}",
            error_text(&error)
        );
        assert_eq!((world.images(), world.persistent()), before, "{what}");
        let work = world.sim.list("/state/image-work".as_ref()).unwrap();
        assert_eq!(work, [] as [String; 0], "{what}");
    }
    let world = World::new();
    assert_eq!(import(&world, None).unwrap_err().code, Code::NotFound);
}

#[test]
fn settings_that_this_host_cannot_give_are_refused_before_anything_is_unpacked() {
    let (_, _, archive) = exported(Config::default());
    let world = elsewhere(&archive, Config::default());
    let changes = world.sim.changes();
    world.sim.set_free_mib(100);
    let error = import(&world, None).unwrap_err();
    assert_eq!(error.code, Code::NotReady, "{}", error_text(&error));
    assert_eq!(world.sim.changes(), changes);
}

#[test]
fn a_crash_or_a_fault_at_any_change_leaves_all_of_it_or_nothing() {
    let (_, _, archive) = exported(Config::default());
    for config in grounds() {
        for crash in [true, false] {
            for n in 0.. {
                let mut world = elsewhere(&archive, config.clone());
                let before = world.persistent();
                let changes = world.sim.changes();
                if crash {
                    world.sim.crash_before(n);
                } else {
                    world.sim.fail_at(n);
                }
                let outcome = import(&world, None);
                let is_over = world.sim.changes() - changes <= n;
                world.restart();
                let context = format!("change {n}, crash {crash}");
                let unexplained = world.engine.daemon().unexplained;
                assert_eq!(unexplained, [] as [String; 0], "{context}");
                let is_there = world.engine.show(&named("golden")).is_ok();
                if outcome.is_ok() {
                    assert!(is_there, "{context}");
                }
                let left = world.images().len();
                if is_there {
                    world.assert_images_are_whole(&context);
                    world.start("golden").unwrap();
                } else {
                    assert_eq!(world.persistent(), before, "{context}");
                    assert_eq!(left, 0, "{context}");
                }
                if is_over {
                    assert!(outcome.is_ok() && n > 5, "{context}");
                    break;
                }
            }
        }
    }
}

#[test]
fn an_export_that_breaks_off_leaves_no_file_and_a_vm_that_starts() {
    for n in 0.. {
        let mut world = on_devices_with_vm();
        let changes = world.sim.changes();
        world.sim.crash_before(n);
        let outcome = export(&world, "golden", false);
        let is_over = world.sim.changes() - changes <= n;
        world.restart();
        let is_there = world.sim.stat(FILE.as_ref()).unwrap().is_some();
        if outcome.is_ok() {
            assert!(is_there);
        }
        world.start("golden").unwrap();
        if is_over {
            break;
        }
    }
    let full = on_devices_with_vm();
    full.sim
        .refuse(|op| matches!(op, Op::File(FileOp::PackFiles { .. })));
    export(&full, "golden", false).unwrap_err();
    full.sim.revive();
    assert_eq!(full.sim.stat(FILE.as_ref()).unwrap(), None);
}

#[test]
fn whatever_copies_disks_tells_its_bytes_and_leaves_nothing_without_its_client() {
    type Sink<'a> = &'a (dyn Fn(Progress) + Sync);
    type Copies = fn(&World, Sink<'_>) -> Result<(), Error>;
    let verbs: [Copies; 3] = [
        |world, hear| {
            let path = "/state/other.banger".to_owned();
            let request = ExportVm { path, force: false };
            world
                .engine
                .export(&named("golden"), &request, hear)
                .map(drop)
        },
        |world, hear| {
            let request = ImportVm {
                path: FILE.to_owned(),
                name: Some("imported".to_owned()),
            };
            world.engine.import(&request, hear).map(drop)
        },
        |world, hear| {
            let request = CloneVm {
                name: "cloned".to_owned(),
                spec: VmSpecPatch::default(),
            };
            world
                .engine
                .clone_of(&named("golden"), &request, hear)
                .map(drop)
        },
    ];
    let copying = Config {
        root_disk: RootDiskChoice::Copy,
        ..Config::default()
    };
    for verb in verbs {
        let (world, ..) = exported(copying.clone());
        world.sim.share_no_blocks();
        let before = (world.persistent(), world.images(), world.engine.list());
        let heard = Mutex::new(Vec::new());
        let hear = |it: Progress| heard.lock().unwrap().extend(it.bytes);
        let error = world.engine.for_client(|| true, || verb(&world, &hear));
        let error = error.unwrap_err();
        assert_eq!(error.code, Code::Conflict, "{}", error_text(&error));
        let after = (world.persistent(), world.images(), world.engine.list());
        assert_eq!(before, after, "something half-made is left");
        heard.lock().unwrap().clear();
        world
            .engine
            .for_client(|| false, || verb(&world, &hear))
            .unwrap();
        let heard = heard.lock().unwrap();
        assert!(heard.iter().any(|it| it.done < it.whole), "{heard:?}");
        let last = heard.last().unwrap();
        assert_eq!(last.done, last.whole);
    }
}

#[test]
fn an_imported_disk_is_written_once_and_copied_at_most_for_the_copy_driver() {
    let (_first, _, archive) = exported(Config::default());
    for (root_disk, most) in [(RootDiskChoice::DmSnapshot, 0), (RootDiskChoice::Copy, 1)] {
        let config = Config {
            root_disk,
            ..World::on_devices()
        };
        let other = elsewhere(&archive, config);
        other.sim.share_no_blocks();
        let copies = std::sync::Arc::new(Mutex::new(Vec::new()));
        let seen = copies.clone();
        other.sim.refuse(move |op| {
            if let Op::File(FileOp::CopyFile { from, .. }) = op {
                seen.lock().unwrap().push(from.clone());
            }
            false
        });
        import(&other, None).unwrap();
        let copies = copies.lock().unwrap();
        assert!(copies.len() <= most, "{root_disk:?}: {copies:?}");
    }
}
