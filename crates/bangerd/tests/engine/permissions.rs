//! The permissions of the files of VMs, and the space that they take.

use std::path::Path;

use banger_host::SimState;
use bangerd::config::RootDiskChoice;

use crate::world::{STATE, World};

const ROOT_DISKS: [RootDiskChoice; 3] = [
    RootDiskChoice::Reflink,
    RootDiskChoice::Copy,
    RootDiskChoice::DmSnapshot,
];

/// Whether another user of the host can reach a file. The state directory itself counts as open,
/// like root's.
fn is_reachable(state: &SimState, path: &Path) -> bool {
    let mode = |path: &Path| state.permissions.get(path).map_or(0, |it| it.mode);
    let mut folders = path.ancestors().skip(1);
    mode(path) & 0o066 != 0
        && folders
            .all(|it| !it.starts_with(STATE) || it == Path::new(STATE) || mode(it) & 0o011 != 0)
}

#[test]
fn other_users_reach_no_file_but_those_of_images() {
    for root_disk in ROOT_DISKS {
        let world = World::with_root_disks(root_disk);
        world.create("calm-otter", true, true);
        let state = world.sim.state();
        let reached = state.files.keys().filter(|it| is_reachable(&state, it));
        let (images, others): (Vec<_>, Vec<_>) =
            reached.partition(|it| it.starts_with(Path::new(STATE).join("images")));
        assert!(images.iter().any(|it| it.ends_with("rootfs.ext4")));
        assert_eq!(others, Vec::<&std::path::PathBuf>::new(), "{root_disk:?}");
    }
}

#[test]
fn secrets_and_records_have_mode_0600() {
    let world = World::new();
    let vm = world.create("calm-otter", true, true);
    let state = world.sim.state();
    let folder = Path::new(STATE).join("vms").join(vm.id.to_string());
    for path in [
        folder.join("vm.json"),
        folder.join("machine/initramfs"),
        folder.join("machine/work.img"),
        Path::new(STATE).join("ssh/id_ed25519"),
    ] {
        assert_eq!(state.permissions[&path].mode, 0o600, "{}", path.display());
    }
}

#[test]
fn a_new_disk_takes_no_more_space_than_its_image() {
    for root_disk in ROOT_DISKS {
        let world = World::with_root_disks(root_disk);
        world.create("calm-otter", true, true);
        let files = world.sim.state().files;
        let is_in = |path: &Path, folder: &str| path.starts_with(Path::new(STATE).join(folder));
        let image = files
            .iter()
            .find(|(path, _)| is_in(path, "images") && path.ends_with("rootfs.ext4"))
            .unwrap()
            .1;
        let disks: Vec<_> = files
            .iter()
            .filter(|(path, file)| is_in(path, "vms") && file.length >= 1 << 30)
            .collect();
        assert_eq!(disks.len(), 2, "{root_disk:?}: {disks:?}");
        // A store has a header of its own.
        let most = image
            .allocated()
            .max(banger_host::cow::HEADER_LENGTH as u64);
        for (path, disk) in disks {
            assert!(disk.allocated() <= most, "{}", path.display());
        }
    }
}
