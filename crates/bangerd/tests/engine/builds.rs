//! Images that are built in a VM: the fate of the VM, and of an interrupted build.

use banger_api::{BuildImage, BuildStep, Code, CreateVm, ImageName, Mib};
use banger_host::Look as _;
use bangerd::config::RootDiskChoice;
use bangerd::layout::Layout;
use sha2::{Digest as _, Sha256};

use crate::world::World;

fn script(name: &str, script: &str) -> BuildStep {
    BuildStep {
        name: name.to_owned(),
        script: script.to_owned(),
        ..BuildStep::default()
    }
}

fn request(name: &str, steps: &[BuildStep]) -> BuildImage {
    BuildImage {
        name: name.to_owned(),
        steps: steps.to_vec(),
        ..BuildImage::default()
    }
}

fn build(world: &World, request: &BuildImage) -> banger_api::Result<Vec<String>> {
    let steps = std::sync::Mutex::new(Vec::new());
    let built = world.engine.build_image(request, &|step| {
        if step.seconds.is_none() {
            steps.lock().unwrap().push(step.step);
        }
    });
    built.map(|_| steps.into_inner().unwrap())
}

fn names(world: &World) -> Vec<String> {
    let images = world.engine.images().unwrap();
    images.iter().map(|it| it.name.to_string()).collect()
}

fn logs(world: &World) -> Vec<String> {
    let folder = "/state/image-build".as_ref();
    let files = world.sim.list(folder).unwrap();
    let read = |file: &String| {
        let path = format!("/state/image-build/{file}");
        world.sim.read(path.as_ref()).unwrap().unwrap()
    };
    let texts = files.iter().map(read);
    texts.map(|it| String::from_utf8(it).unwrap()).collect()
}

#[test]
fn a_build_becomes_an_image_and_nothing_of_its_vm_is_left() {
    for root_disk in [RootDiskChoice::Auto, RootDiskChoice::DmSnapshot] {
        let world = World::with_root_disks(root_disk);
        let before = (world.run_time(), world.persistent());
        let steps = [script("one", "echo 1"), script("two", "echo 2")];
        let seen = build(&world, &request("mine", &steps)).unwrap();
        let of_build = ["prepare", "one", "two", "tidy up", "make the image"];
        let seen: Vec<&String> = seen
            .iter()
            .filter(|it| of_build.contains(&&***it))
            .collect();
        assert_eq!(seen, of_build);
        assert_eq!(names(&world), ["default", "mine"]);
        assert!(world.engine.list().is_empty());
        assert_eq!((world.run_time(), world.persistent()), before);
        let log = logs(&world).concat();
        assert!(
            log.contains("==> one\necho 1\n==> two\necho 2\n==> tidy up\n"),
            "{log}"
        );
        let name: ImageName = "mine".parse().unwrap();
        assert!(world.engine.image(&name).unwrap().users.is_empty());
        let create = CreateVm {
            image: Some("mine".to_owned()),
            ..CreateVm::default()
        };
        world.engine.create(&create, &|_| {}).unwrap();
    }
}

#[test]
fn an_image_of_the_work_disk_has_its_size_and_is_not_tidied_up() {
    let world = World::new();
    let request = BuildImage {
        of_work_disk: true,
        size: Some(Mib(6000)),
        ..request("mine", &[script("fill", "tar -x")])
    };
    let vms = std::sync::Mutex::new(Vec::new());
    let built = world.engine.build_image(&request, &|step| {
        assert_ne!(step.step, "tidy up");
        vms.lock().unwrap().extend(world.engine.list());
    });
    let vm = vms.into_inner().unwrap().pop().unwrap();
    assert_eq!(vm.spec.disk_size, Mib(6000));
    // A simulated image is named by the path of its file.
    let disk = Layout::new("/state").vm(vm.id).in_machine("work.img");
    let mut digest = Sha256::new();
    for part in ["root", disk.to_str().unwrap()] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let digest: String = digest
        .finalize()
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect();
    assert_eq!(built.unwrap().digest, digest);
    assert!(world.engine.list().is_empty());
}

#[test]
fn a_client_may_name_the_vm_of_a_build() {
    let world = World::new();
    world.create("web", false, false);
    let named = |name: &str| BuildImage {
        vm: Some(name.to_owned()),
        ..request("mine", &[])
    };
    for name in ["web", "../x", ""] {
        build(&world, &named(name)).unwrap_err();
    }
    let seen = std::sync::Mutex::new(Vec::new());
    let built = world.engine.build_image(&named("shell-1"), &|_| {
        let vms = world.engine.list();
        seen.lock()
            .unwrap()
            .extend(vms.into_iter().map(|it| it.name.to_string()));
    });
    built.unwrap();
    assert!(seen.into_inner().unwrap().contains(&"shell-1".to_owned()));
    assert_eq!(world.engine.list().len(), 1);
}

#[test]
fn a_step_that_fails_is_named_and_leaves_the_log_alone() {
    let world = World::new();
    let before = (world.run_time(), world.persistent());
    let images = world.images();
    let steps = [
        script("good", "true"),
        script("bad", "exit 1"),
        script("later", "true"),
    ];
    let error = build(&world, &request("mine", &steps)).unwrap_err();
    assert_eq!(error.code, Code::Guest);
    let text = error.report();
    assert!(
        text.contains("step `bad`") && text.contains("/state/image-build/mine."),
        "{text}"
    );
    assert_eq!(names(&world), ["default"]);
    assert!(world.engine.list().is_empty());
    assert_eq!((world.run_time(), world.persistent()), before);
    assert!(images.is_subset(&world.images()));
    let log = logs(&world).concat();
    assert!(
        log.contains("==> bad") && !log.contains("==> later"),
        "{log}"
    );
}

#[test]
fn the_vm_of_a_failure_is_kept_where_that_is_asked_and_is_an_ordinary_one_then() {
    let mut world = World::new();
    let request = BuildImage {
        keep_on_failure: true,
        ..request("mine", &[script("bad", "exit 1")])
    };
    let error = build(&world, &request).unwrap_err();
    let [vm] = &*world.engine.list() else {
        panic!("{error}");
    };
    assert!(
        error
            .report()
            .contains(&format!("banger vm ssh {}", vm.name)),
        "{error}"
    );
    let id = vm.id;
    world.restart();
    assert_eq!(world.engine.list()[0].id, id, "no daemon takes it away");
}

#[test]
fn a_daemon_that_ends_at_any_change_of_a_build_leaves_an_image_or_nothing() {
    let mut crashes = 0;
    for change in (0..).step_by(3) {
        let mut world = World::new();
        let before = (world.run_time(), world.persistent());
        world.sim.crash_before(change);
        let built = build(&world, &request("mine", &[script("one", "true")]));
        world.restart();
        assert!(world.engine.list().is_empty(), "after {change} changes");
        assert_eq!(world.run_time(), before.0, "after {change} changes");
        let vms = world.sim.list("/state/vms".as_ref()).unwrap();
        assert_eq!(vms, [] as [String; 0], "after {change} changes");
        let work = world.sim.list("/state/image-work".as_ref()).unwrap();
        assert_eq!(work, [] as [String; 0], "after {change} changes");
        if names(&world) == ["default"] {
            build(&world, &request("mine", &[])).unwrap();
        }
        if built.is_ok() {
            break;
        }
        crashes += 1;
    }
    assert!(crashes > 10, "{crashes}");
}

#[test]
fn what_cannot_be_built_is_refused_before_there_is_a_vm() {
    let world = World::new();
    build(&world, &request("taken", &[])).unwrap();
    let long = "x".repeat(100_001);
    let with = |change: fn(&mut BuildImage)| {
        let mut wrong = request("mine", &[script("one", "true")]);
        change(&mut wrong);
        wrong
    };
    for (wrong, code) in [
        (request("taken", &[]), Code::Conflict),
        (request("default", &[]), Code::Conflict),
        (request("A b", &[]), Code::Invalid),
        (request("mine", &[script("one", &long)]), Code::Invalid),
        (request("mine", &[script("one", "a\0b")]), Code::Invalid),
        (
            with(|it| it.base = Some("nosuch".to_owned())),
            Code::NotFound,
        ),
        (with(|it| it.size = Some(Mib(1))), Code::Invalid),
        (
            with(|it| it.steps[0].timeout_seconds = Some(0)),
            Code::Invalid,
        ),
        (
            with(|it| it.steps[0].input = Some("../x".to_owned())),
            Code::Invalid,
        ),
    ] {
        let changes = world.sim.changes();
        let error = build(&world, &wrong).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert_eq!(world.sim.changes(), changes, "{error}");
    }
}

#[test]
fn no_more_logs_are_kept_than_the_last_twenty() {
    let world = World::new();
    build(&world, &request("first", &[])).unwrap();
    for number in 0..25 {
        world.write(format!("/state/image-build/old.{number}.log"), b"old");
    }
    build(&world, &request("mine", &[])).unwrap();
    let files = world.sim.list("/state/image-build".as_ref()).unwrap();
    assert_eq!(files.len(), 20, "{files:?}");
    assert!(!files.contains(&"old.5.log".to_owned()));
    assert!(files.contains(&"old.24.log".to_owned()));
}
