//! A file system whose growth was interrupted by a power cut, on a kernel of its own.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use rustix::system::{RebootCommand, reboot};

use super::*;
use crate::bare_kernel;
use crate::system::raw;

const MKE2FS: &str = "/usr/sbin/mke2fs";
const DISK: &str = "/dev/vda";
const AT: &str = "/disk";

/// Sizes in blocks of 4 KiB: of a new file system, of one that grew by half a flex group, and of
/// the whole disk. A block group has 128 MiB.
const NEW: u64 = 1 << 18;
const GROWN: u64 = 1 << 19;
const WHOLE: u64 = 1 << 22;

/// The offset of the superblock, and that of its incompatible feature flags.
const SUPERBLOCK: u64 = 1024;
const INCOMPATIBLE: usize = 0x60;
const RECOVER: u8 = 4;

fn prepare() {
    let ours =
        std::process::id() == 1 && Path::new("/init").exists() && !Path::new("/etc").exists();
    assert!(ours, "this machine is not for that");
    bare_kernel::load_modules();
    for (kind, at) in [("devtmpfs", "/dev"), ("sysfs", "/sys")] {
        mount_device(kind, at, kind, MountFlags::empty(), None).unwrap();
    }
    wait_for(DISK).unwrap();
}

#[test]
#[ignore = "needs a disk that it may write: run on a bare kernel"]
fn on_a_disk_that_grows_the_power_is_cut() {
    prepare();
    make_directory(Path::new(AT), 0o755).unwrap();
    mount_device(DISK, AT, "ext4", MountFlags::empty(), None).unwrap();
    raw::resize_ext4(File::open(AT).unwrap(), GROWN).unwrap();
    let mut file = File::create("/disk/file").unwrap();
    file.write_all(b"kept").unwrap();
    file.sync_all().unwrap();
    reboot(RebootCommand::Restart).unwrap();
}

#[test]
#[ignore = "needs a disk that it may write: run on a bare kernel"]
fn on_a_disk_whose_growth_was_cut_off_it_goes_on() {
    prepare();
    mount_sound(DISK, AT, || Err(Failure::new("it needs none"))).unwrap();
    assert_eq!(Superblock::read(DISK).unwrap().blocks, GROWN);
    grow::grow(DISK, AT).unwrap();
    assert_eq!(Superblock::read(DISK).unwrap().blocks, WHOLE);
    assert_eq!(fs::read("/disk/file").unwrap(), b"kept");
    unmount(AT, UnmountFlags::empty()).unwrap();
}

#[test]
#[ignore = "boots QEMU: make test-boot runs it"]
#[expect(clippy::print_stderr, reason = "skips are counted by what is printed")]
#[expect(clippy::disallowed_methods, reason = "a test makes a file system")]
fn a_growth_that_was_cut_off_goes_on_on_a_bare_kernel() {
    let bundle = bare_kernel::bundle().and_then(|bundle| match Path::new(MKE2FS).exists() {
        true => Ok(bundle),
        false => Err(format!("there is no `{MKE2FS}`")),
    });
    let bundle = match bundle {
        Ok(bundle) => bundle,
        Err(reason) => {
            eprintln!("SKIPPED: growing on a bare kernel: {reason}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let mut options = File::options();
    let options = options.create_new(true).read(true).write(true);
    let file = options.open(&disk).unwrap();
    file.set_len(WHOLE * 4096).unwrap();
    // The superblock has no checksum, because it is assembled below.
    let features = "^metadata_csum,^orphan_file";
    let made = Command::new(MKE2FS)
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-O", features])
        .args(["-E", "lazy_itable_init=1,lazy_journal_init=1"])
        .arg(&disk)
        .arg(NEW.to_string())
        .status();
    assert!(made.unwrap().success());
    let mut before = [0; 1024];
    file.read_exact_at(&mut before, SUPERBLOCK).unwrap();

    let modules = bare_kernel::modules(&bundle, &["virtio_pci", "virtio_blk", "ext4"]);
    let run = |filter: &str| bare_kernel::run(&bundle, &modules, Some(&disk), filter);
    let output = run("on_a_disk_that_grows_the_power_is_cut");
    assert!(!output.contains("test result"), "{output}");
    // The journal has the growth, and the superblock in its place does not yet. Either may reach
    // the disk first before a power cut, and this is the worse case.
    before[INCOMPATIBLE] |= RECOVER;
    file.write_all_at(&before, SUPERBLOCK).unwrap();
    let output = run("on_a_disk_whose_growth_was_cut_off_it_goes_on");
    assert!(
        output.contains("test result: ok. 1 passed; 0 failed"),
        "{output}"
    );
}
