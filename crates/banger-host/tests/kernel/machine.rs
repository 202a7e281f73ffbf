//! The machine for the cases: an initramfs, disks, QEMU.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use banger_host::command::Command;
use banger_host::{FileOp, Host as _, Linux, Op};

use crate::initramfs::{self, LOADER};

pub(crate) const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// The modules that the cases need, unless they are built into the kernel.
const MODULES: [&str; 7] = [
    "virtio_pci",
    "virtio_blk",
    "ext4",
    "loop",
    "dm-mod",
    "dm-snapshot",
    "dm-zero",
];

/// A disk of the machine, in the order of `/dev/vda`, `/dev/vdb`.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// A fresh file system.
    pub(crate) fn ext4(folder: &Path, name: &str, size_mib: u64) -> Self {
        let path = folder.join(name);
        let op = Op::File(FileOp::MakeFilesystem {
            path: path.clone(),
            size_mib,
            label: name.to_owned(),
            owner: None,
        });
        Linux::new().unwrap().change(&op).unwrap();
        Self(path)
    }
}

/// An archive with this program as `/init`, other programs, their libraries, and modules.
pub(crate) fn initramfs(bundle: &Path, programs: &[&str]) -> Vec<u8> {
    let own = std::env::current_exe().unwrap();
    let mut files = BTreeSet::from([LOADER.to_owned()]);
    files.extend(programs.iter().map(|it| (*it).to_owned()));
    for program in programs.iter().map(Path::new).chain([own.as_path()]) {
        let listed = Command::new(LOADER).arg("--list").arg(program).run();
        let paths = listed.unwrap().text();
        let paths = paths
            .split_ascii_whitespace()
            .filter(|word| word.starts_with("/lib") || word.starts_with("/usr/lib"));
        files.extend(paths.map(str::to_owned));
    }
    let folders = [
        "/proc", "/sys", "/dev", "/state", "/small", "/guest", "/modules",
    ];
    let modules = initramfs::modules(bundle, &MODULES);
    initramfs::initramfs(files.iter().map(String::as_str), &modules, &folders)
}

/// Runs the machine until it ends, and returns its output. The cases read `words`.
pub(crate) fn run(
    bundle: &Path,
    folder: &Path,
    archive: &[u8],
    disks: &[Disk],
    words: &str,
) -> String {
    let initramfs = folder.join("initramfs");
    let console = folder.join("console");
    fs::write(&initramfs, archive).unwrap();
    // KVM would work, too, but emulation is the same on every machine, and fast enough.
    let mut command = Command::new("/usr/bin/timeout")
        .args(["--signal=KILL", "600", QEMU])
        .args(["-machine", "q35,accel=tcg", "-cpu", "max,la57=off"])
        .args(["-m", "1024", "-smp", "2", "-nodefaults", "-no-user-config"])
        .args(["-no-reboot", "-display", "none", "-serial"])
        .arg(format!("file:{}", console.display()))
        .arg("-kernel")
        .arg(bundle.join("vmlinux"))
        .arg("-initrd")
        .arg(&initramfs)
        .arg("-append")
        .arg(format!("console=ttyS0 panic=-1 quiet loglevel=4 {words}"));
    for (index, Disk(path)) in disks.iter().enumerate() {
        let drive = format!(
            "driver=raw,node-name=drive{index},discard=unmap,file.driver=file,file.filename={}",
            path.display()
        );
        command = command
            .args(["-blockdev", &drive, "-device"])
            .arg(format!("virtio-blk-pci,drive=drive{index}"));
    }
    let ended = command.run();
    let text = fs::read(&console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).replace('\r', "");
    match ended {
        Ok(_) => text,
        Err(error) => format!("{text}\n{error}"),
    }
}
