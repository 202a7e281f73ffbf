//! The initramfs for a test program: the program as `/init`, files of this machine, and modules of
//! a bundle.
//!
//! The tests of banger-guest include this file by its path, because neither crate depends on the
//! other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The dynamic loader; programs name it by this path.
pub(crate) const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// The files of these modules in the order of loading, which is the reverse of modules.dep(5). A
/// missing one may be built into the kernel.
pub(crate) fn modules(bundle: &Path, wanted: &[&str]) -> Vec<PathBuf> {
    let folder = bundle.join("modules");
    let table = fs::read_to_string(folder.join("modules.dep")).unwrap_or_default();
    let name = |file: &str| {
        let name = file.rsplit('/').next().unwrap_or_default();
        name.split(".ko")
            .next()
            .unwrap_or_default()
            .replace('_', "-")
    };
    let rows: BTreeMap<String, (&str, &str)> = table
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(file, needs)| (name(file), (file, needs)))
        .collect();
    let mut files: Vec<PathBuf> = Vec::new();
    for (file, needs) in wanted
        .iter()
        .filter_map(|it| rows.get(&it.replace('_', "-")))
    {
        for file in needs.split_whitespace().rev().chain([*file]) {
            let path = folder.join(file);
            if !files.contains(&path) {
                files.push(path);
            }
        }
    }
    files
}

/// The archive: this program, these files at their own paths, these modules as `/modules/NN.ko` in
/// order, and these folders.
pub(crate) fn initramfs<'a>(
    files: impl IntoIterator<Item = &'a str>,
    modules: &[PathBuf],
    folders: &[&str],
) -> Vec<u8> {
    let mut archive = Archive::default();
    for folder in folders {
        archive.folder(folder);
    }
    archive.file(
        "/init",
        &fs::read(std::env::current_exe().unwrap()).unwrap(),
    );
    for path in files {
        archive.file(path, &fs::read(path).unwrap());
    }
    for (index, module) in modules.iter().enumerate() {
        archive.file(&format!("/modules/{index:02}.ko"), &uncompressed(module));
    }
    archive.finish()
}

fn uncompressed(module: &Path) -> Vec<u8> {
    let bytes = fs::read(module).unwrap();
    if module.extension().is_none_or(|it| it != "xz") {
        return bytes;
    }
    let mut out = Vec::new();
    let mut reader = xz2::read::XzDecoder::new(bytes.as_slice());
    reader.read_to_end(&mut out).unwrap();
    out
}

/// <https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<PathBuf>,
    entries: u32,
}

impl Archive {
    fn folder(&mut self, path: &str) {
        let above: Vec<&Path> = Path::new(path).ancestors().collect();
        for folder in above.into_iter().rev().skip(1) {
            if self.folders.insert(folder.to_owned()) {
                self.entry(folder.to_str().unwrap(), 0o040_755, &[]);
            }
        }
    }

    fn file(&mut self, path: &str, content: &[u8]) {
        let above = Path::new(path).parent().unwrap();
        self.folder(above.to_str().unwrap());
        self.entry(path, 0o100_755, content);
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let builder = cpio::NewcBuilder::new(path.trim_start_matches('/'));
        let builder = builder.ino(self.entries).mode(mode).nlink(1);
        let mut writer = builder.write(&mut self.bytes, u32::try_from(content.len()).unwrap());
        std::io::Write::write_all(&mut writer, content).unwrap();
        writer.finish().unwrap();
    }

    fn finish(mut self) -> Vec<u8> {
        cpio::newc::trailer(&mut self.bytes).unwrap();
        self.bytes
    }
}
