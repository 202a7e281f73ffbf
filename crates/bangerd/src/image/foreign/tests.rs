//! Archives, as others make them and as nobody should, and what becomes of them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use banger_host::command::Command;
use tar::{Builder, EntryType, Header};

use super::*;
use crate::image::bundle::uninterrupted;
use crate::image::bundle::{Stage, StageSink};
use crate::image::judge::Tree as _;
use crate::image::judge::tests::program;

mod containers;
mod odd;

/// One entry: its path, its kind, the target or the content.
type Entry<'a> = (&'a str, EntryType, &'a [u8]);

const FILE: EntryType = EntryType::Regular;
const LINK: EntryType = EntryType::Symlink;
const NAME: EntryType = EntryType::Link;
const FOLDER: EntryType = EntryType::Directory;

/// The media type of a layer.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Makes a file system while no other test sends ^C, in a folder that is closed to others.
fn make(source: &Path, bundle: &Path, progress: StageSink<'_>) -> Result<RootFileSystem> {
    let _uninterrupted = uninterrupted();
    let above = source.with_extension("imports");
    let made = super::make(Source::Path(source), bundle, &above, progress)?;
    let is_work =
        |it: &&Path| it.parent() == Some(&*above) || it.parent() == Some(Path::new(TREES));
    if let Some(work) = made.path.ancestors().find(is_work) {
        let mode = std::fs::metadata(work).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
    Ok(made)
}

/// An archive with these entries, whose paths and targets are taken as they are.
fn archive(entries: &[Entry<'_>]) -> File {
    let file = tempfile::tempfile().unwrap();
    let mut out = Builder::new(file);
    for (path, kind, content) in entries {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o4755);
        header.set_uid(12);
        header.set_gid(34);
        header.set_mtime(56);
        let is_link = [LINK, NAME].contains(kind);
        if is_link {
            header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content);
        }
        let content = if is_link { &[][..] } else { content };
        header.set_size(content.len() as u64);
        header.set_cksum();
        out.append(&header, content).unwrap();
    }
    out.into_inner().unwrap()
}

/// What the layers come to, the lowest first.
fn tree(layers: &[&[Entry<'_>]]) -> Result<Tree> {
    let interruption = InterruptSignal::default();
    let mut silent = nothing;
    let work = Work::new("/none".into(), &interruption, &mut silent);
    let mut tree = Tree::new(1 << 20);
    for layer in layers {
        tree.add(archive(layer), layers.len() > 1, &work)?;
    }
    Ok(tree)
}

fn paths(tree: &Tree) -> Vec<&str> {
    let paths = tree.nodes.keys().map(|it| it.to_str().unwrap());
    paths.filter(|it| !it.is_empty()).collect()
}

#[test]
fn a_layer_hides_what_it_says_and_replaces_what_it_has() {
    let lower: &[Entry<'_>] = &[
        ("a/", FOLDER, b""),
        ("a/gone", FILE, b"1"),
        ("a/stays", FILE, b"2"),
        ("b/old/deep", FILE, b"3"),
        ("c", FILE, b"4"),
        ("d/e", FILE, b"5"),
    ];
    let upper: &[Entry<'_>] = &[
        ("a/.wh.gone", FILE, b""),
        ("b/new", FILE, b"6"),
        ("b/.wh..wh..opq", FILE, b""),
        ("c/", FOLDER, b""),
        ("d", FILE, b"7"),
    ];
    let tree = tree(&[lower, upper]).unwrap();
    assert_eq!(paths(&tree), ["a", "a/stays", "b", "b/new", "c", "d"]);
    assert_eq!(tree.head("d").unwrap().unwrap(), b"7");
}

#[test]
fn a_name_that_hides_is_an_ordinary_one_in_an_archive_of_files() {
    let tree = tree(&[&[("a", FILE, b""), (".wh.a", FILE, b"")]]).unwrap();
    assert_eq!(paths(&tree), [".wh.a", "a"]);
}

#[test]
fn a_further_name_keeps_its_content_when_the_first_goes() {
    let lower: &[Entry<'_>] = &[("a", FILE, b"1"), ("b", NAME, b"a")];
    let tree = tree(&[lower, &[(".wh.a", FILE, b"")]]).unwrap();
    assert_eq!(paths(&tree), ["b"]);
    assert_eq!(tree.head("b").unwrap().unwrap(), b"1");
}

#[test]
fn every_file_takes_a_block_and_an_inode_and_its_further_names_none() {
    let of = |entries: &[Entry<'_>]| Footprint::of(&tree(&[entries]).unwrap());
    let root = of(&[]);
    assert_eq!((root.inodes, root.bytes / 4096), (1, 1));
    let small = of(&[("a", FILE, b"1"), ("b", NAME, b"a"), ("c", LINK, b"a")]);
    assert_eq!((small.inodes, small.bytes / 4096), (3, 3));
    let large = of(&[("a", FILE, &[7; 9000])]);
    assert_eq!((large.inodes, large.bytes / 4096), (2, 4));
}

#[test]
fn links_on_the_way_lead_within_the_tree_only() {
    let tree = tree(&[&[
        ("usr/lib/", FOLDER, b""),
        ("lib", LINK, b"usr/lib"),
        ("run/", FOLDER, b""),
        ("var/run", LINK, b"/run"),
        ("lib/x", FILE, b"1"),
        ("var/run/y", FILE, b"2"),
    ]])
    .unwrap();
    let found = paths(&tree);
    assert!(
        found.contains(&"usr/lib/x") && found.contains(&"run/y"),
        "{found:?}"
    );
    assert_eq!(tree.head("lib/x").unwrap().unwrap(), b"1");
}

#[test]
fn what_is_hostile_is_refused() {
    let large = vec![1; (1 << 20) + 1];
    for entries in [
        &[("../etc/passwd", FILE, &b""[..])][..],
        &[("a/../../b", FILE, b"")],
        &[("up", LINK, b"../../.."), ("up/b", FILE, b"")],
        &[("a", LINK, b"b"), ("b", LINK, b"a"), ("a/c", FILE, b"")],
        &[("a", NAME, b"/etc/shadow")],
        &[("a", NAME, b"../b")],
        &[("sda", EntryType::Block, b"")],
        &[("etc/null", EntryType::Char, b"")],
        &[("a", LINK, b"")],
        &[("large", FILE, &large)],
    ] {
        let error = tree(&[entries]).map(|tree| paths(&tree).join(" "));
        assert_eq!(error.unwrap_err().code, Code::Invalid, "{:?}", entries[0].0);
    }
    let dev = tree(&[&[("./dev/null", EntryType::Char, b""), ("/a", FILE, b"")]]).unwrap();
    assert_eq!(
        paths(&dev),
        ["a", "dev"],
        "an absolute path begins at the tree's root"
    );
}

/// A bundle's folder, and a folder to work in.
fn place() -> (tempfile::TempDir, tempfile::TempDir) {
    let (bundle, _) = crate::image::bundle::tests::bundle();
    (bundle, tempfile::tempdir().unwrap())
}

fn nothing(_: Stage) {}

/// An archive of files that boot.
fn bootable(more: &[Entry<'_>]) -> Vec<u8> {
    let program = program(62);
    let mut entries: Vec<Entry<'_>> = vec![
        ("usr/lib/systemd/systemd", FILE, &program),
        ("usr/sbin/sshd", FILE, &program),
        ("lib", LINK, b"usr/lib"),
        ("usr/bin/sudo", FILE, b"sudo"),
        ("usr/bin/sudo-too", NAME, b"usr/bin/sudo"),
    ];
    entries.extend(more);
    let file = archive(&entries);
    let length = file.metadata().unwrap().len();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut Window::part(&file, 0, length).unwrap(), &mut bytes).unwrap();
    bytes
}

/// What debugfs prints of a file in an image that we have made.
fn seen(image: &Path, request: &str) -> String {
    let command = Command::new("debugfs").args(["-R", request]).arg(image);
    command.run().unwrap().text()
}

#[test]
fn an_archive_becomes_a_file_system_with_its_owners_links_and_modules() {
    let (bundle, folder) = place();
    let source = folder.path().join("root.tar.gz");
    let mut gz =
        flate2::write::GzEncoder::new(File::create(&source).unwrap(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &bootable(&[])).unwrap();
    gz.finish().unwrap();
    let made = make(&source, bundle.path(), &mut nothing).unwrap();
    let sudo = seen(&made.path, "stat /usr/bin/sudo");
    for expected in ["Mode:  04755", "User:    12", "Group:    34", "Links: 2"] {
        assert!(sudo.contains(expected), "{expected}: {sudo}");
    }
    assert!(seen(&made.path, "stat /lib").contains("\"usr/lib\""));
    let modules = seen(&made.path, "ls /usr/lib/modules/6.12.0");
    assert!(
        modules.contains("modules.dep") && modules.contains("veth.ko"),
        "{modules}"
    );
    let work = made.path.parent().unwrap().to_owned();
    drop(made);
    assert!(!work.exists(), "{}", work.display());
}

#[test]
fn the_bytes_of_a_large_file_are_told() {
    let (bundle, folder) = place();
    let source = folder.path().join("root.tar");
    std::fs::write(&source, bootable(&[("large", FILE, &vec![0; 40 << 20])])).unwrap();
    let mut told = Vec::new();
    let made = make(&source, bundle.path(), &mut |stage| {
        if let Stage::Begun(line) | Stage::Remark(line) = stage {
            told.push(line);
        }
    });
    made.unwrap();
    let is_told = |line: &String| line.ends_with("of 40 MiB");
    assert!(told.iter().any(is_told), "{told:?}");
}

fn archive_names(path: &Path) -> Vec<String> {
    let mut archive = tar::Archive::new(File::open(path).unwrap());
    let entries = archive.entries().unwrap();
    let path = |entry: tar::Entry<'_, File>| entry.path().unwrap().display().to_string();
    entries.map(|it| path(it.unwrap())).collect()
}

#[test]
fn what_cannot_boot_is_refused_before_anything_is_made() {
    let (bundle, folder) = place();
    let source = folder.path().join("root.tar");
    let file = archive(&[("bin/sh", FILE, &program(62))]);
    let length = file.metadata().unwrap().len();
    let mut from = Window::part(&file, 0, length).unwrap();
    std::io::copy(&mut from, &mut File::create(&source).unwrap()).unwrap();
    let mut stages = Vec::new();
    let error = make(&source, bundle.path(), &mut |stage| stages.push(stage)).unwrap_err();
    assert!(error.to_string().contains("it has no init"), "{error}");
    let is_late = |it: &Stage| matches!(it, Stage::Begun(name) if name == "ext4 image");
    assert!(!stages.iter().any(is_late));
    let file = archive(&[
        ("bin/sh", FILE, &program(62)),
        ("usr/bin/apt-get", FILE, &program(62)),
        ("usr/bin/dpkg", FILE, &program(62)),
    ]);
    let length = file.metadata().unwrap().len();
    let mut from = Window::part(&file, 0, length).unwrap();
    std::io::copy(&mut from, &mut File::create(&source).unwrap()).unwrap();
    let made = make(&source, bundle.path(), &mut nothing).unwrap();
    assert!(made.lacks_init.is_some());
    let names = archive_names(&made.path);
    assert!(names.contains(&"usr/bin/apt-get".to_owned()), "{names:?}");
    assert!(names.iter().any(|it| it.ends_with("veth.ko")), "{names:?}");
    for (content, what) in [(&b"QFI\xfbxxxxx"[..], "qcow2"), (b"", "nothing")] {
        std::fs::write(&source, content).unwrap();
        let error = make(&source, bundle.path(), &mut nothing).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}
