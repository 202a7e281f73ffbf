use banger_host::Linux;

use super::*;
use crate::image::bundle::tests::bundle;

/// A kernel of this version, as far as anybody looks.
fn kernel_of(version: &str) -> Vec<u8> {
    // An ELF-64 header, and one program header that loads nothing.
    let mut kernel = b"\x7fELF\x02\x01\x01".to_vec();
    kernel.resize(120, 0);
    for (at, byte) in [(16, 2), (18, 62), (32, 64), (54, 56), (56, 1), (64, 1)] {
        kernel[at] = byte;
    }
    let banner = [BANNER, version.as_bytes(), b" (gcc)"].concat();
    kernel.extend(banner);
    kernel
}

struct World {
    folder: tempfile::TempDir,
    base: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("vmlinux"), kernel_of("6.99.1-mine")).unwrap();
        let modules = folder.path().join("6.99.1-mine");
        fs::create_dir(&modules).unwrap();
        fs::write(modules.join("modules.dep"), "").unwrap();
        let (base, _) = bundle();
        Self { folder, base }
    }

    fn own(&self) -> OwnKernel {
        OwnKernel {
            kernel: Some(self.folder.path().join("vmlinux")),
            modules: Some(self.folder.path().join("6.99.1-mine")),
            folder: self.folder.path().join("state/own-kernel"),
        }
    }
}

impl World {
    fn made(&self, own: &OwnKernel) -> Result<PathBuf> {
        own.bundle(self.base.path(), &Linux::new().unwrap())
    }

    /// Another kernel of the same version.
    fn change_kernel(&self) {
        let path = self.folder.path().join("vmlinux");
        fs::write(path, kernel_of("6.99.1-mine ")).unwrap();
    }

    /// The number of files and folders beside the bundles.
    fn count(&self) -> usize {
        fs::read_dir(self.own().folder).unwrap().count()
    }
}

#[test]
fn a_bundle_has_the_own_kernel_and_the_rest_of_the_other() {
    let world = World::new();
    let place = world.made(&world.own()).unwrap();
    let made = Bundle::load(&place).unwrap();
    made.verify().unwrap();
    assert_eq!(made.kernel_version(), "6.99.1-mine");
    let mode = made.vmlinux().metadata().unwrap().mode();
    assert_eq!(mode & 0o777, 0o644);
    let base = Bundle::load(world.base.path()).unwrap();
    assert_eq!(made.rootfs_digest(), base.rootfs_digest());
    assert_ne!(made.vmlinux_digest(), base.vmlinux_digest());
    let made_at = || place.join(MANIFEST).metadata().unwrap().ino();
    let before = made_at();
    assert_eq!(world.made(&world.own()).unwrap(), place);
    assert_eq!(made_at(), before);
    world.change_kernel();
    let other = world.made(&world.own()).unwrap();
    assert_ne!(other, place);
    // Somebody may be reading the first one.
    made.verify().unwrap();
    assert_eq!(made_at(), before);
    assert_ne!(
        Bundle::load(&other).unwrap().vmlinux_digest(),
        made.vmlinux_digest()
    );
    assert_eq!(world.count(), 2);
}

#[test]
fn a_bundle_that_is_not_used_any_more_is_removed_and_so_is_what_is_none() {
    let world = World::new();
    let place = world.made(&world.own()).unwrap();
    fs::write(world.own().folder.join(MANIFEST), "{}").unwrap();
    world.change_kernel();
    world.made(&world.own()).unwrap();
    assert_eq!(world.count(), 2);
    let stamp = File::open(place.join(STAMP)).unwrap();
    stamp.set_modified(SystemTime::now() - 2 * UNUSED).unwrap();
    let other = world.made(&world.own()).unwrap();
    assert_eq!(world.count(), 1);
    Bundle::load(&other).unwrap().verify().unwrap();
}

#[test]
fn many_at_once_make_it_once() {
    let world = World::new();
    let makers = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| world.made(&world.own()).unwrap()))
            .collect();
        makers
            .into_iter()
            .map(|it| it.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert!(makers.iter().all(|it| *it == makers[0]));
    Bundle::load(&makers[0]).unwrap().verify().unwrap();
    assert_eq!(world.count(), 1);
}

#[test]
fn what_does_not_fit_together_is_refused_with_the_reason() {
    let world = World::new();
    let refused = |change: fn(&mut OwnKernel)| {
        let mut own = world.own();
        change(&mut own);
        world.made(&own).unwrap_err().report()
    };
    for (change, why) in [
        (
            (|it| it.modules = None) as fn(&mut OwnKernel),
            "`default_modules_dir` is not",
        ),
        (|it| it.kernel = None, "`default_kernel` is not"),
        (|it| it.kernel = Some("/nonexistent".into()), "/nonexistent"),
        (|it| it.modules = Some("/nonexistent".into()), "depmod"),
        (|it| it.kernel = Some("/etc/os-release".into()), "bzImage"),
    ] {
        let said = refused(change);
        assert!(said.contains(why), "{said}");
    }
    let other = world.folder.path().join("6.1.0");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("modules.dep"), "").unwrap();
    let mut own = world.own();
    own.modules = Some(other);
    let said = world.made(&own).unwrap_err().report();
    assert!(
        said.contains("is Linux 6.99.1-mine") && said.contains("6.1.0"),
        "{said}"
    );
    let bare = world.folder.path().join("modules");
    fs::create_dir(&bare).unwrap();
    fs::write(bare.join("modules.dep"), "kernel/virtio_net.ko:\n").unwrap();
    fs::create_dir(bare.join("kernel")).unwrap();
    let module = |version: &str| format!("\0vermagic={version} SMP mod_unload\0");
    let path = bare.join("kernel/virtio_net.ko");
    let mut own = world.own();
    own.modules = Some(bare);
    fs::write(&path, module("6.1.0")).unwrap();
    let said = world.made(&own).unwrap_err().report();
    assert!(said.contains("has modules of 6.1.0"), "{said}");
    fs::write(&path, module("6.99.1-mine")).unwrap();
    world.made(&own).unwrap();
    let none = world.made(&OwnKernel::default()).unwrap();
    assert_eq!(none, world.base.path());
}
