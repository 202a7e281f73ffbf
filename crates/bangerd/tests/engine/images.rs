//! Images: their names, their users, and their state after a crash.

use std::sync::Mutex;

use banger_api::{
    Code, CreateVm, DeleteVm, ExportImage, ImageName, ImportImage, Progress, PruneImages,
};
use banger_api::{RenameImage, VmRef};
use banger_host::Look as _;

use crate::world::World;

fn image(name: &str) -> ImageName {
    name.parse().unwrap()
}

fn import(world: &World, name: &str) -> banger_api::Result<banger_api::ImageView> {
    let request = ImportImage {
        name: name.to_owned(),
        path: format!("/files/{name}"),
        origin: None,
    };
    world.engine.import_image(&request, &|_| {})
}

fn create(world: &World, name: &str, from: &str) {
    let request = CreateVm {
        name: Some(name.to_owned()),
        image: Some(from.to_owned()),
        no_start: true,
        ..CreateVm::default()
    };
    world.engine.create(&request, &|_| {}).unwrap();
}

fn names(world: &World) -> Vec<String> {
    let images = world.engine.images().unwrap();
    images.iter().map(|it| it.name.to_string()).collect()
}

fn folders(world: &World) -> usize {
    world.sim.list("/state/images".as_ref()).unwrap().len()
}

#[test]
fn an_image_with_a_name_stays_without_users_and_across_daemons() {
    let mut world = World::new();
    import(&world, "mine").unwrap();
    create(&world, "web", "mine");
    let reference: VmRef = "web".parse().unwrap();
    world
        .engine
        .delete(&reference, &DeleteVm::default(), &|_| {})
        .unwrap();
    world.restart();
    assert_eq!(names(&world), ["default", "mine"]);
    create(&world, "web", "mine");
    assert_eq!(world.engine.image(&image("mine")).unwrap().users.len(), 1);
}

#[test]
fn an_image_in_use_is_not_deleted_and_its_users_are_named() {
    let world = World::new();
    import(&world, "mine").unwrap();
    create(&world, "web", "mine");
    create(&world, "api", "mine");
    let error = world.engine.delete_image(&image("mine"));
    let error = error.unwrap_err();
    assert_eq!(error.code, Code::Conflict);
    assert!(error.to_string().contains("by api, web"), "{error}");
    let request = RenameImage {
        name: "ours".to_owned(),
    };
    let renamed = world.engine.rename_image(&image("mine"), &request).unwrap();
    assert_eq!(renamed.users.len(), 2, "VMs follow the image, not its name");
    assert!(world.engine.delete_image(&image("ours")).is_err());
    let all = PruneImages { all: true };
    assert_eq!(world.engine.prune_images(&all, &|_| {}).unwrap().names, []);
}

#[test]
fn a_vm_whose_record_cannot_be_read_uses_its_image() {
    let mut world = World::new();
    let mine = import(&world, "mine").unwrap();
    create(&world, "web", "mine");
    let id = world.engine.list()[0].id;
    let path = format!("/state/vms/{id}/vm.json");
    let text = world.sim.read(path.as_ref()).unwrap().unwrap();
    world.write(&*path, &text[..text.len() - 3]);
    world.restart();
    let error = world.engine.delete_image(&image("mine"));
    assert!(error.unwrap_err().to_string().contains(&id.to_string()));
    world.write("/state/image-names/mine.json", b"{}");
    world.restart();
    // Now neither the name nor the VM tells which images it needs.
    world.engine.delete_image(&image("mine")).unwrap();
    let root = format!("/state/images/{}/rootfs.ext4", mine.digest);
    assert!(world.sim.stat(root.as_ref()).unwrap().is_some());
}

#[test]
fn a_name_that_cannot_be_read_keeps_all_images_until_it_is_given_up() {
    let mut world = World::new();
    import(&world, "mine").unwrap();
    let before = folders(&world);
    world.write("/state/image-names/mine.json", b"not json");
    world.restart();
    assert_eq!(names(&world), ["default", "mine"]);
    assert_eq!(folders(&world), before);
    assert!(import(&world, "mine").is_err(), "the name is taken");
    world.engine.delete_image(&image("mine")).unwrap();
    assert!(folders(&world) < before);
    import(&world, "mine").unwrap();
}

#[test]
fn a_crash_at_any_change_of_an_import_leaves_all_of_an_image_or_nothing() {
    let mut crashes = 0;
    for change in 0.. {
        let mut world = World::new();
        world.create("web", false, false);
        let before = folders(&world);
        world.sim.crash_before(change);
        let imported = import(&world, "mine");
        world.restart();
        let work = world.sim.list("/state/image-work".as_ref()).unwrap();
        assert_eq!(work, [] as [String; 0], "after {change} changes");
        if names(&world) == ["default"] {
            assert_eq!(folders(&world), before, "after {change} changes");
            import(&world, "mine").unwrap();
        }
        create(&world, "api", "mine");
        if imported.is_ok() {
            break;
        }
        crashes += 1;
    }
    assert!(crashes > 5, "{crashes}");
}

#[test]
fn an_export_writes_to_the_given_path_and_replaces_files_only_on_request() {
    let world = World::new();
    import(&world, "mine").unwrap();
    let export = |path: &str, force| {
        let path = path.to_owned();
        let request = ExportImage { path, force };
        world.engine.export_image(&image("mine"), &request, &|_| {})
    };
    let copy = export("/state/mine.ext4", false).unwrap();
    assert_eq!(
        copy.sha256,
        world.engine.image(&image("mine")).unwrap().digest
    );
    assert_eq!(
        export("/state/mine.ext4", false).unwrap_err().code,
        Code::Conflict
    );
    export("/state/mine.ext4", true).unwrap();
    for path in ["mine.ext4", "/files/../mine", ""] {
        assert_eq!(
            export(path, false).unwrap_err().code,
            Code::Invalid,
            "{path}"
        );
    }
}

#[test]
fn a_second_name_of_the_bundles_image_is_deleted_beside_its_vms() {
    let world = World::new();
    create(&world, "web", "default");
    let default = world.engine.image(&image("default")).unwrap();
    let copy = import(&world, "copy").unwrap();
    // The record of an import with the same content as the bundle's image.
    let path = "/state/image-names/copy.json";
    let record = world.sim.read(path.as_ref()).unwrap().unwrap();
    let record = String::from_utf8(record)
        .unwrap()
        .replace(&copy.digest, &default.digest);
    world.write(path, record.as_bytes());
    world.engine.delete_image(&image("copy")).unwrap();
    assert_eq!(names(&world), ["default"]);
    assert_eq!(world.engine.image(&image("default")).unwrap(), default);
}

#[test]
fn an_export_tells_its_bytes_and_ends_with_its_client() {
    let world = World::new();
    import(&world, "mine").unwrap();
    let request = ExportImage {
        path: "/state/mine.ext4".to_owned(),
        force: false,
    };
    let export = |heard: &Mutex<Vec<Progress>>| {
        let hear = |it| heard.lock().unwrap().push(it);
        world.engine.export_image(&image("mine"), &request, &hear)
    };
    let heard = Mutex::default();
    let error = world
        .engine
        .for_client(|| true, || export(&heard))
        .unwrap_err();
    assert_eq!(error.code, Code::Conflict, "{error}");
    assert!(world.sim.stat(request.path.as_ref()).unwrap().is_none());
    assert!(heard.lock().unwrap().iter().all(|it| it.seconds.is_none()));
    let heard = Mutex::default();
    let copy = world
        .engine
        .for_client(|| false, || export(&heard))
        .unwrap();
    let heard = heard.into_inner().unwrap();
    let bytes: Vec<_> = heard.iter().filter_map(|it| it.bytes).collect();
    let last = bytes.last().unwrap();
    assert_eq!((last.done, last.whole), (copy.size_bytes, copy.size_bytes));
    assert!(bytes.len() == 2 && bytes[0].done < last.done, "{bytes:?}");
    assert!(heard[0].bytes.is_none() && heard.last().unwrap().seconds.is_some());
}
