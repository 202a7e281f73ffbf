//! The machine that the cases run in: an initramfs, disks, QEMU.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use banger_host::command::Command;
use banger_host::{FileOp, Host as _, Linux, Op};

pub(crate) const QEMU: &str = "/usr/bin/qemu-system-x86_64";

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// What the cases need of the kernel, where it is not built in.
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

/// An archive with this program as `/init`, other programs, libraries, and modules.
pub(crate) fn initramfs(bundle: &Path, programs: &[&str]) -> Vec<u8> {
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap();
    let mut libraries = BTreeSet::from([LOADER.to_owned()]);
    for program in programs.iter().chain([&own]) {
        let listed = Command::new(LOADER)
            .args(["--list", program])
            .run()
            .unwrap();
        let paths = listed.text();
        let paths = paths
            .split_ascii_whitespace()
            .filter(|word| word.starts_with("/lib") || word.starts_with("/usr/lib"));
        libraries.extend(paths.map(str::to_owned));
    }
    let mut archive = Archive::default();
    for folder in ["proc", "sys", "dev", "state", "small", "guest", "modules"] {
        archive.folder(folder);
    }
    archive.file("init", &fs::read(own).unwrap());
    for path in libraries
        .iter()
        .map(String::as_str)
        .chain(programs.iter().copied())
    {
        archive.file(path.trim_start_matches('/'), &fs::read(path).unwrap());
    }
    let modules = bundle.join("modules");
    for (place, file) in loading_order(&modules).into_iter().enumerate() {
        let bytes = uncompressed(&modules.join(file));
        archive.file(&format!("modules/{place:02}.ko"), &bytes);
    }
    archive.finish()
}

/// Modules after what they need; see modules.dep(5).
fn loading_order(modules: &Path) -> Vec<String> {
    let text = fs::read_to_string(modules.join("modules.dep")).unwrap();
    let name = |file: &str| {
        let name = file.rsplit('/').next().unwrap();
        name.split(".ko").next().unwrap().replace('_', "-")
    };
    let lines: BTreeMap<String, (&str, Vec<&str>)> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(file, needs)| (name(file), (file, needs.split_whitespace().collect())))
        .collect();
    let mut order: Vec<String> = Vec::new();
    for wanted in MODULES {
        let Some((file, needs)) = lines.get(&wanted.replace('_', "-")) else {
            continue;
        };
        // The farthest comes last in a line.
        for file in needs.iter().rev().chain([file]) {
            if !order.iter().any(|it| it == file) {
                order.push((*file).to_owned());
            }
        }
    }
    order
}

fn uncompressed(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    if path.extension().is_none_or(|it| it != "xz") {
        return bytes;
    }
    let mut out = Vec::new();
    xz2::read::XzDecoder::new(bytes.as_slice())
        .read_to_end(&mut out)
        .unwrap();
    out
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<PathBuf>,
    entries: u32,
}

impl Archive {
    fn folder(&mut self, path: &str) {
        let above: Vec<PathBuf> = Path::new(path).ancestors().map(Path::to_owned).collect();
        for folder in above.into_iter().rev() {
            if folder != Path::new("") && self.folders.insert(folder.clone()) {
                self.entry(folder.to_str().unwrap(), 0o040_755, &[]);
            }
        }
    }

    fn file(&mut self, path: &str, content: &[u8]) {
        if let Some(folder) = Path::new(path).parent() {
            self.folder(folder.to_str().unwrap());
        }
        self.entry(path, 0o100_755, content);
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let builder = cpio::NewcBuilder::new(path)
            .ino(self.entries)
            .mode(mode)
            .nlink(1);
        let mut writer = builder.write(&mut self.bytes, u32::try_from(content.len()).unwrap());
        std::io::Write::write_all(&mut writer, content).unwrap();
        writer.finish().unwrap();
    }

    fn finish(mut self) -> Vec<u8> {
        cpio::newc::trailer(&mut self.bytes).unwrap();
        self.bytes
    }
}

/// Runs the machine to its end, and returns what it said. `words` are the cases' to read.
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
    // KVM would do, too, but what is here is the same everywhere, and quick enough.
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
