//! Runs ignored tests on a kernel that has what they need: QEMU boots the bundle's kernel with an
//! initramfs of only this test program, its libraries and the modules.

#![expect(
    clippy::disallowed_methods,
    reason = "a test starts QEMU, and is told where the bundle is"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::time::Duration;

use rustix::system::finit_module;

use crate::system::wait;
use initramfs::{LOADER, initramfs};

pub(crate) use initramfs::modules;

#[path = "../../banger-host/tests/kernel/initramfs.rs"]
mod initramfs;

const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// The initramfs's folder of modules, whose names sort in the order of loading.
const MODULES: &str = "/modules";

/// How long the kernel and the tests may take; four seconds are usual in software emulation.
const PATIENCE: Duration = Duration::from_secs(180);

/// Loads the modules of the initramfs, once.
pub(crate) fn load_modules() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut paths: Vec<PathBuf> = fs::read_dir(MODULES)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        for path in paths {
            finit_module(File::open(&path).unwrap(), c"", 0).unwrap();
        }
    });
}

/// The bundle's folder, or the reason why there is none to boot.
pub(crate) fn bundle() -> Result<PathBuf, String> {
    if !Path::new(QEMU).exists() {
        return Err("QEMU is not installed".to_owned());
    }
    std::env::var_os("BANGER_TEST_BUNDLE")
        .map(PathBuf::from)
        .ok_or_else(|| "BANGER_TEST_BUNDLE names no bundle (make test-boot does)".to_owned())
}

/// The libraries that this program has open, which are all that it needs.
fn libraries() -> Vec<String> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut paths: Vec<String> = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .filter(|path| path.contains(".so"))
        .map(str::to_owned)
        .collect();
    paths.push(LOADER.to_owned());
    paths.sort();
    paths.dedup();
    paths
}

/// Boots this program with these modules and optionally a disk, runs the ignored tests whose names
/// contain `filter`, and returns the output of the kernel and the tests.
pub(crate) fn run(bundle: &Path, modules: &[PathBuf], disk: Option<&Path>, filter: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (archive, console) = (
        folder.path().join("initramfs"),
        folder.path().join("console"),
    );
    let files = libraries();
    let files = files.iter().map(String::as_str);
    // The mount points of kernel file systems that the tests use.
    let folders = ["/dev", "/sys"];
    fs::write(&archive, initramfs(files, modules, &folders)).unwrap();
    // The first process ends with its tests; the kernel panics then, and QEMU ends.
    let append = format!(
        "console=ttyS0 panic=-1 loglevel=4 -- {filter} --ignored --nocapture --test-threads=1"
    );
    let mut command = Command::new(QEMU);
    command
        .args(["-M", "q35", "-accel", "tcg", "-cpu", "max,la57=off"])
        .args(["-m", "512M", "-nodefaults", "-no-user-config"])
        .args(["-no-reboot", "-display", "none", "-kernel"])
        .arg(bundle.join("vmlinux"))
        .arg("-initrd")
        .arg(&archive)
        .args(["-append", &append, "-serial"])
        .arg(format!("file:{}", console.display()))
        .stdin(Stdio::null());
    if let Some(disk) = disk {
        let drive = format!("if=virtio,format=raw,file={}", disk.display());
        command.args(["-drive", &drive]);
    }
    let mut qemu = command.spawn().unwrap();
    let ended = wait::until(PATIENCE, || qemu.try_wait().unwrap());
    if ended.is_none() {
        qemu.kill().unwrap();
        qemu.wait().unwrap();
    }
    fs::read_to_string(&console).unwrap()
}
