//! Converts untrusted root file systems in various formats to ext4 file systems.
//!
//! ```text
//! *.gz *.xz *.zst ─► unpacked ─┬► ext4 ───────────────────────────────────► as it is
//!                              ├► a disk with partitions ─► its root, copied
//!                              ├► tar ───────────────┐
//!  OCI layout, registry ───────┼► OCI, docker save ──┴► one tree ─► one tar ─► mke2fs
//! ```
//!
//! The working folder is closed to other users of the host, and so is everything in it; the
//! programs that make the file system get its files open.
//!
//! This runs in a process of its own, not in the daemon, because it parses untrusted data. No file
//! system is mounted. A tree is unpacked as for a bundle, with the user's subordinate ids unless
//! the user is root, and only from an archive that this program has written.

mod disk;
mod entry;
mod footprint;
mod merge;
mod parts;
mod plain;
mod tree;
mod work;

use std::fs::File;
use std::path::{Path, PathBuf};

use banger_api::{Code, Error};

use super::bundle::{
    BuildDirectory, Bundle, InheritableFolder, InterruptSignal, StageSink, TREE, TREES,
    check_maker, make_image, with_guest_ids,
};
use super::ext4::{self, Ext4Tree};
use super::judge::{Verdict, judge, judge_archive};
use crate::error::{During, Result};
pub(crate) use footprint::Footprint;
pub(crate) use parts::FetchedImage;
use parts::Parts;
use plain::{Window, head, unreadable};
use tree::Tree;
use work::Work;

/// The maximum unpacked size of an image, in bytes: 256 GiB.
const LARGEST: u64 = 256 << 30;

/// The largest id of a user that every system has.
const LARGEST_ID: u64 = 65_535;

/// The name of what is made.
const IMAGE: &str = "root.ext4";

/// What is converted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// A file, or the directory of an OCI layout.
    Path(&'a Path),
    /// A container image.
    Image(&'a FetchedImage),
}

/// A root file system, removed when dropped unless it is the source itself.
#[derive(Debug)]
pub(crate) struct RootFileSystem {
    /// Its path.
    pub path: PathBuf,
    /// What its files take, if it is a tar of them that still lacks an init. Otherwise it is an ext4 file
    /// system that boots.
    pub lacks_init: Option<Footprint>,
    _work: BuildDirectory,
    _made: BuildDirectory,
}

/// Converts a source to an ext4 file system, or to a tar if it lacks an init that can be added. What is
/// made from an archive gets the modules of the bundle's kernel. The file system is made in a folder
/// in `above`, where the daemon takes it over.
///
/// # Errors
/// `invalid` if the source has an unknown format, is rejected, or cannot boot; `not-ready` if a
/// program is missing. Nothing remains after an error or ^C.
pub(crate) fn make(
    source: Source<'_>,
    bundle: &Path,
    above: &Path,
    progress: StageSink<'_>,
) -> Result<RootFileSystem> {
    let interruption = InterruptSignal::watch(|| {})?;
    let user = rustix::process::geteuid();
    let prefix = format!("banger-image-{}-", user.as_raw());
    let unshare = !user.is_root();
    let directory = BuildDirectory::create_for_tree(Path::new(TREES), &prefix, unshare)?;
    let to = BuildDirectory::create(above, "import-")?;
    let folder = directory.folder().join("work");
    let work = Work::new(folder, &interruption, progress);
    std::fs::DirBuilder::new()
        .create(&work.folder)
        .map_err(|cause| unreadable(&work.folder, &cause))?;
    let foreign = Foreign {
        bundle,
        work: &work,
        to: to.folder(),
        unshare,
    };
    let made = match source {
        Source::Path(path) => foreign.make(path, directory.folder()),
        Source::Image(image) => {
            let parts = Parts::Fetched(image.clone());
            foreign.of_layers(&parts, directory.folder())
        }
    };
    // After ^C, the messages of the interrupted program are not the cause.
    work.check()?;
    let (path, lacks_init) = made?;
    Ok(RootFileSystem {
        path,
        lacks_init,
        _work: directory,
        _made: to,
    })
}

/// The path of what has been made, and what its files take if it lacks an init.
type Made = (PathBuf, Option<Footprint>);

/// The conversion of one source.
struct Foreign<'a> {
    bundle: &'a Path,
    work: &'a Work<'a>,
    /// Where the file system is made.
    to: &'a Path,
    unshare: bool,
}

impl Foreign<'_> {
    fn make(&self, source: &Path, folder: &Path) -> Result<Made> {
        let found = source
            .metadata()
            .map_err(|cause| unreadable(source, &cause))?;
        if found.is_dir() {
            let parts = Parts::of_directory(source).ok_or_else(|| {
                Error::new(Code::Invalid, format!("`{}` is no OCI layout", source.display())).hint(
                    format!("to import a tree of files: tar --xattrs -C {0} -cf root.tar . && banger image import root.tar", source.display()),
                )
            })?;
            return self.of_layers(&parts, folder);
        }
        if !found.is_file() {
            return Err(Error::new(
                Code::Invalid,
                format!("`{}` is not a file", source.display()),
            ));
        }
        let file = File::open(source).map_err(|cause| unreadable(source, &cause))?;
        let beginning = head::<8>(&file, 0).map_err(|cause| unreadable(source, &cause))?;
        if !plain::is_compressed(&beginning) {
            return self.of_file(source, file, folder);
        }
        // It may be the file system itself.
        let unpacked = self.to.join("unpacked");
        self.work.stage("unpack", || {
            plain::write(Window::whole(source)?, &unpacked, LARGEST, self.work)
        })?;
        plain::make_readable(&unpacked)?;
        let file = File::open(&unpacked).map_err(|cause| unreadable(&unpacked, &cause))?;
        self.of_file(&unpacked, file, folder)
    }

    /// Converts an uncompressed file.
    fn of_file(&self, path: &Path, file: File, folder: &Path) -> Result<Made> {
        let io_error = |cause: std::io::Error| unreadable(path, &cause);
        if ext4::length_at(&file, 0).map_err(io_error)?.is_some() {
            judge(&Ext4Tree::open(path)?)?;
            return Ok((path.to_owned(), None));
        }
        if head::<5>(&file, 257).map_err(io_error)? == b"ustar" {
            let parts = self
                .work
                .stage("read the archive", || Parts::of_archive(&file, self.work))?;
            return match parts {
                Some(parts) => self.of_layers(&parts, folder),
                None => {
                    plain::refuse_cut_archive(&file).during(path.display().to_string())?;
                    let mut tree = Tree::new(LARGEST);
                    self.work
                        .stage("read the files", || tree.add(file, false, self.work))?;
                    self.of_tree(&tree, folder)
                }
            };
        }
        if let Some(partitions) = disk::partitions(&file).map_err(io_error)? {
            let root = disk::root(&file, &partitions)?;
            let to = self.to.join(IMAGE);
            self.work.stage("copy the root partition", || {
                let part = Window::part(&file, root.offset, root.length).map_err(io_error)?;
                plain::write(part, &to, LARGEST, self.work)
            })?;
            plain::make_readable(&to)?;
            judge(&Ext4Tree::open(&to)?)?;
            return Ok((to, None));
        }
        Err(unknown(&head::<8>(&file, 0).map_err(io_error)?))
    }

    fn of_layers(&self, parts: &Parts, folder: &Path) -> Result<Made> {
        let layers = self
            .work
            .stage("unpack the layers", || parts.layers(self.work))?;
        let mut tree = Tree::new(LARGEST);
        self.work.stage("read the files", || {
            let mut layers = layers.into_iter();
            layers.try_for_each(|layer| tree.add(layer, true, self.work))
        })?;
        self.of_tree(&tree, folder)
    }

    /// Converts a tree, after checking that it can boot, or at least be made to.
    fn of_tree(&self, tree: &Tree, folder: &Path) -> Result<Made> {
        let verdict = judge_archive(tree)?;
        if verdict == Verdict::Boots {
            check_maker(self.unshare)?;
        }
        let bundle = Bundle::load(self.bundle)?;
        let archive = self.work.folder.join("root.tar");
        self.work.stage("put the files together", || {
            let modules = bundle.modules();
            let modules = (modules.as_path(), bundle.kernel_version());
            merge::write(tree, &archive, Some(modules), self.work)
        })?;
        if verdict == Verdict::LacksInit {
            return Ok((archive, Some(Footprint::of(tree))));
        }
        let image = self.to.join(IMAGE);
        self.work.stage("ext4 image", || {
            let unpacked = InheritableFolder::create(&folder.join(TREE))?;
            let root = unpacked.name().join("root");
            self.unpack(&archive, &root, tree.largest_owner())?;
            make_image(self.unshare, &root, &image)
        })?;
        Ok((image, None))
    }

    /// Unpacks an archive that this program has written into a new tree, with the guest's users.
    fn unpack(&self, archive: &Path, root: &Path, owner: Option<(u64, &Path)>) -> Result<()> {
        let doing = |what: &str| format!("{what} the new tree");
        let run = |command: banger_host::command::Command, what: &str| {
            command.run().map(drop).during(doing(what))
        };
        run(with_guest_ids(self.unshare, "mkdir").arg(root), "make")?;
        let tar = with_guest_ids(self.unshare, "tar")
            .args([
                "--extract",
                "--same-owner",
                "--numeric-owner",
                "--preserve-permissions",
            ])
            .args(["--xattrs", "--xattrs-include=*", "--sparse", "--directory"])
            .arg(root)
            .args(["--file", "-"])
            .input_file(archive);
        run(tar, "unpack the files into").map_err(|error| match owner {
            Some((id, path)) if id > LARGEST_ID => error.hint(format!(
                "`{}` belongs to the id {id}, and this user may give files to few ids; pack it with small ones: tar --numeric-owner --owner=1000 --group=1000",
                path.display()
            )),
            _ => error,
        })?;
        std::fs::remove_file(archive).map_err(|cause| unreadable(archive, &cause))
    }
}

/// Formats that are recognised and not taken: how a file of them begins, and what to do with it.
const OTHER_FORMATS: [(&[u8], &str, &str); 7] = [
    (
        b"QFI\xfb",
        "it is a qcow2 disk",
        "convert it: qemu-img convert -O raw DISK disk.raw",
    ),
    (
        b"KDMV",
        "it is a VMDK disk",
        "convert it: qemu-img convert -O raw DISK disk.raw",
    ),
    (
        b"BZh",
        "it is compressed with bzip2",
        "unpack it: bunzip2 FILE",
    ),
    (
        b"PK\x03\x04",
        "it is a zip archive",
        "unpack it, and import what is in it: unzip FILE",
    ),
    (
        b"7z\xbc\xaf",
        "it is a 7z archive",
        "unpack it, and import what is in it: 7z x FILE",
    ),
    (
        b"\x04\x22\x4d\x18",
        "it is compressed with lz4",
        "unpack it: lz4 -d FILE",
    ),
    (
        b"hsqs",
        "it is a squashfs file system",
        "unpack it, and import a tar of its files: unsquashfs -d root FILE && tar -C root -cf root.tar .",
    ),
];

/// The hint for unsupported formats.
fn unknown(beginning: &[u8]) -> Error {
    let mut formats = OTHER_FORMATS.iter();
    let known = formats.find(|(magic, ..)| beginning.starts_with(magic));
    let (what, hint) = known.map_or(
        (
            "nothing in it is known",
            "import an ext4 file system, a raw disk, a tar of the files, an OCI layout or archive, or what `docker save` writes",
        ),
        |(_, what, hint)| (what, hint),
    );
    Error::new(Code::Invalid, "it is not a supported root file system")
        .cause(what)
        .hint(hint)
}

#[cfg(test)]
mod tests;
