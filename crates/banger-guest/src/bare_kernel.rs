//! Ignored tests, on a kernel that has what they need: QEMU boots the bundle's kernel with an
//! initramfs of nothing but this test program, its libraries and the modules.

#![expect(
    clippy::disallowed_methods,
    reason = "a test starts QEMU, and is told where the bundle is"
)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::time::Duration;

use rustix::system::finit_module;

use crate::system::wait;

const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// Finds the others; the program's own system calls need it in this place.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// Where the initramfs has the modules, named so that they sort in the order of loading.
const MODULES: &str = "/modules";

/// How long the kernel and the tests may take; four seconds are usual in software.
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

/// The bundle's folder, or why there is none to boot.
pub(crate) fn bundle() -> Result<PathBuf, String> {
    if !Path::new(QEMU).exists() {
        return Err("QEMU is not installed".to_owned());
    }
    std::env::var_os("BANGER_TEST_BUNDLE")
        .map(PathBuf::from)
        .ok_or_else(|| "BANGER_TEST_BUNDLE names no bundle (make test-boot does)".to_owned())
}

/// The files of these modules in the order of loading: modules.dep(5) has it the other way round.
/// Those that are not there may be in the kernel itself.
pub(crate) fn modules(bundle: &Path, wanted: &[&str]) -> Vec<PathBuf> {
    let folder = bundle.join("modules");
    let table = fs::read_to_string(folder.join("modules.dep")).unwrap_or_default();
    let rows: BTreeMap<&str, &str> = table.lines().filter_map(|it| it.split_once(':')).collect();
    let mut files: Vec<PathBuf> = Vec::new();
    for name in wanted {
        let row = rows.iter().find(|(file, _)| {
            let found = file.rsplit('/').next().unwrap_or_default();
            found.split(".ko").next() == Some(name)
        });
        let needs = row.map(|(file, needs)| needs.split_whitespace().rev().chain([*file]));
        for file in needs.into_iter().flatten().map(|it| folder.join(it)) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    files
}

fn unpacked(module: &Path) -> Vec<u8> {
    let packed = fs::read(module).unwrap();
    if module.extension().is_some_and(|it| it == "ko") {
        return packed;
    }
    let mut bytes = Vec::new();
    let mut reader = xz2::read::XzDecoder::new(packed.as_slice());
    reader.read_to_end(&mut bytes).unwrap();
    bytes
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

/// The initramfs: <https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>
fn initramfs(modules: &[PathBuf]) -> Vec<u8> {
    let (mut archive, mut number) = (Vec::new(), 0);
    let mut add = |name: &str, mode: u32, content: &[u8]| {
        number += 1;
        let builder = cpio::NewcBuilder::new(name.trim_start_matches('/'));
        let builder = builder.ino(number).mode(mode).nlink(1);
        let length = u32::try_from(content.len()).unwrap();
        let mut writer = builder.write(&mut archive, length);
        writer.write_all(content).unwrap();
        writer.finish().unwrap();
    };
    let mut files = vec![(
        "/init".to_owned(),
        fs::read(std::env::current_exe().unwrap()).unwrap(),
    )];
    for library in libraries() {
        let content = fs::read(&library).unwrap();
        files.push((library, content));
    }
    for (index, module) in modules.iter().enumerate() {
        files.push((format!("{MODULES}/{index:02}.ko"), unpacked(module)));
    }
    let mut folders: Vec<&Path> = files
        .iter()
        .flat_map(|(path, _)| Path::new(path).ancestors().skip(1))
        .filter(|path| path.parent().is_some())
        .collect();
    // Where a test mounts what the kernel tells.
    folders.extend(["/dev", "/sys"].map(Path::new));
    folders.sort();
    folders.dedup();
    for folder in folders {
        add(folder.to_str().unwrap(), 0o040_755, &[]);
    }
    for (path, content) in &files {
        add(path, 0o100_755, content);
    }
    cpio::newc::trailer(&mut archive).unwrap();
    archive
}

/// Boots this program with these modules and perhaps a disk, runs the ignored tests whose names
/// have `filter` in them, and returns what the kernel and they said.
pub(crate) fn run(bundle: &Path, modules: &[PathBuf], disk: Option<&Path>, filter: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (archive, console) = (
        folder.path().join("initramfs"),
        folder.path().join("console"),
    );
    fs::write(&archive, initramfs(modules)).unwrap();
    // The first process ends with its tests, at which the kernel panics and QEMU ends.
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
