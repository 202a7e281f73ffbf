//! A state directory of an older daemon with a running VM: its records and images, as that daemon
//! wrote them. The machine, the host's boot and the VM's user are simulated.

use std::path::{Path, PathBuf};

use banger_api::{DeleteVm, Phase, StopVm};
use banger_host::{FileOp, Host as _, Look as _, Op, SimProcess};

use crate::world::{STATE, World, named};

const VM: &str = include_str!("older_state/vm.json");
const ROOT_IMAGE: &str = include_str!("older_state/root.json");
const KERNEL_IMAGE: &str = include_str!("older_state/kernel.json");

const ID: &str = "d17a3f95";
const PROCESS: u32 = 22178;

/// The first archive of an older image, which contains a guest program.
const BASE: &[u8] = b"base archive with an /init of an older build";

fn record() -> serde_json::Value {
    serde_json::from_str(VM).unwrap()
}

fn digests() -> [String; 2] {
    let images = &record()["vm"]["images"];
    ["root", "kernel"].map(|kind| images[kind].as_str().unwrap().to_owned())
}

fn make_directory(world: &World, path: impl Into<PathBuf>) {
    let (path, mode, owner) = (path.into(), 0o755, None);
    let op = Op::File(FileOp::MakeDirectory { path, mode, owner });
    world.sim.change(&op).unwrap();
}

/// A host on which an older daemon was killed beside its running VM.
fn older_host() -> World {
    let world = World::new();
    // Its process has the name for the first VM of this state directory; simulated VMs have no
    // user.
    let other = world.create("another", false, true);
    let name = world.run_time().processes[0][0].replace(&other.id.to_string(), ID);
    let mut record = record();
    record["vm"]["owner"] = serde_json::Value::Null;
    let request = DeleteVm {
        force: true,
        ..DeleteVm::default()
    };
    world
        .engine
        .delete(&named("another"), &request, &|_| {})
        .unwrap();
    let [root, kernel] = digests();
    for (digest, files) in [
        (
            root,
            [
                ("image.json", ROOT_IMAGE.as_bytes()),
                ("rootfs.ext4", b"rootfs"),
            ]
            .as_slice(),
        ),
        (
            kernel,
            &[
                ("image.json", KERNEL_IMAGE.as_bytes()),
                ("vmlinux", b"vmlinux"),
                ("base.cpio", BASE),
            ],
        ),
    ] {
        make_directory(&world, format!("{STATE}/images/{digest}"));
        for (name, contents) in files {
            world.write(format!("{STATE}/images/{digest}/{name}"), contents);
        }
    }
    let machine = SimProcess {
        program: "/sim".into(),
        arguments: vec![name],
        ..SimProcess::default()
    };
    world
        .sim
        .tamper(|state| state.processes.insert(PROCESS, machine));
    make_directory(&world, format!("{STATE}/vms/{ID}"));
    make_directory(&world, format!("{STATE}/vms/{ID}/machine"));
    for disk in ["root.img", "work.img"] {
        world.write(format!("{STATE}/vms/{ID}/machine/{disk}"), b"disk");
    }
    world.write(
        format!("{STATE}/vms/{ID}/vm.json"),
        record.to_string().as_bytes(),
    );
    world
}

#[test]
fn a_vm_that_an_older_daemon_started_is_adopted() {
    let mut world = older_host();
    world.restart();
    assert_eq!(world.engine.daemon().unexplained, Vec::<String>::new());
    let view = world.engine.show(&named("older")).unwrap();
    assert_eq!((view.phase, view.pid), (Phase::Running, Some(PROCESS)));
    assert_eq!(
        (view.spec.vcpu, view.spec.memory.0, view.spec.nat),
        (1, 256, false)
    );
    assert_eq!(view.address.unwrap().to_string(), "10.215.0.2");
    let machines = world.run_time().processes;
    assert_eq!(machines.len(), 1, "it was started again: {machines:?}");
}

#[test]
fn a_vm_that_an_older_daemon_made_stops_and_boots_from_its_own_image() {
    let mut world = older_host();
    world.restart();
    world
        .engine
        .stop(&named("older"), &StopVm::default(), &|_| {})
        .unwrap();
    let stopped = world.record(ID.parse().unwrap());
    assert_eq!(stopped["vm"].get("run"), None, "it does not run");
    assert_eq!(stopped["vm"]["last_boot"]["number"], 1);
    let view = world.start("older").unwrap();
    assert_eq!(view.phase, Phase::Running);
    let [root, kernel] = digests();
    assert!(world.images().is_superset(&[root, kernel].into()));
    let initramfs = format!("{STATE}/vms/{ID}/machine/initramfs");
    let initramfs = world.sim.read(Path::new(&initramfs)).unwrap().unwrap();
    let rest = initramfs.strip_prefix(BASE).unwrap();
    // A later archive replaces files of an earlier one.
    let second = String::from_utf8_lossy(rest);
    for part in ["init", "\"hostname\":\"older\"", "/modules/virtio_blk.ko"] {
        assert!(
            second.contains(part),
            "the start's own archive lacks {part}"
        );
    }
}
