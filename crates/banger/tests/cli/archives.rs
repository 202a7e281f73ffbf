//! `vm cp` with `-`: archives of GNU tar, and hostile ones.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use tar::{Builder, EntryType, Header};

use crate::environment::{Run, TestEnvironment};

fn with_vm() -> TestEnvironment {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "web"]);
    environment
}

/// Runs the command with this archive as its standard input.
fn with_input(environment: &TestEnvironment, words: &[&str], archive: &[u8]) -> Run {
    let mut command = environment.command(words);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let archive = archive.to_vec();
    // The command may end before it has read all.
    let typist = std::thread::spawn(move || drop(stdin.write_all(&archive)));
    let output = child.wait_with_output().unwrap();
    typist.join().unwrap();
    Run::of(output)
}

/// GNU tar, with these words.
fn tar(words: &[&str], input: Option<&[u8]>) -> Vec<u8> {
    let mut command = Command::new("tar");
    command.args(words).stdout(Stdio::piped());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.unwrap_or_default()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "tar {words:?}: {output:?}");
    output.stdout
}

/// A tree with a long name, a hole, links, a mode, and times of its own.
fn make_tree(tree: &Path) {
    let deep = tree.join("a".repeat(90)).join("b".repeat(90));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), "content").unwrap();
    fs::hard_link(deep.join("file"), tree.join("hard")).unwrap();
    symlink("c".repeat(150), tree.join("link")).unwrap();
    let sparse = fs::File::create(tree.join("sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    sparse.write_all_at(b"x", 20 << 20).unwrap();
    fs::set_permissions(tree.join("sparse"), fs::Permissions::from_mode(0o640)).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_600_000_000, 123_456_789);
    sparse.set_modified(time).unwrap();
}

fn assert_same(tree: &Path, other: &Path, has_fractions: bool) {
    let stat = |path: &Path| fs::symlink_metadata(path).unwrap();
    for name in ["hard", "sparse", "link"] {
        let (one, two) = (stat(&tree.join(name)), stat(&other.join(name)));
        assert_eq!((one.mode(), one.len()), (two.mode(), two.len()), "{name}");
        if !one.is_symlink() {
            let nanos = |it: &fs::Metadata| has_fractions.then_some(it.mtime_nsec());
            let time = |it: &fs::Metadata| (it.mtime(), nanos(it));
            assert_eq!(time(&one), time(&two), "{name}");
        }
    }
    let link = |tree: &Path| fs::read_link(tree.join("link")).unwrap();
    assert_eq!(link(tree), link(other));
    let content = |tree: &Path| fs::read(tree.join("sparse")).unwrap();
    assert!(content(tree) == content(other));
    let deep = other.join("a".repeat(90)).join("b".repeat(90)).join("file");
    assert_eq!(stat(&deep).ino(), stat(&other.join("hard")).ino());
}

/// Programs may give a file the permissions and time of any of its names.
fn assert_links_are_as_their_files(archive: &[u8]) {
    let mut archive = tar::Archive::new(archive);
    let mut hard = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        if path.ends_with("file") || path.ends_with("hard") {
            let header = entry.header();
            hard.push((header.mode().unwrap(), header.mtime().unwrap()));
        }
    }
    assert_eq!(hard.len(), 2);
    assert_eq!(hard[0], hard[1]);
}

#[test]
fn an_archive_goes_into_a_vm_and_comes_back() {
    let environment = with_vm();
    let (tree, back) = (environment.path("tree"), environment.path("back"));
    make_tree(&tree);
    let folder = environment.path("");
    let folder = folder.to_str().unwrap();
    for format in ["gnu", "posix"] {
        let archive = tar(&["-C", folder, "--format", format, "-c", "tree"], None);
        let run = with_input(&environment, &["vm", "cp", "-", "web:"], &archive);
        assert_eq!(run.status, 0, "{run:#?}");
        assert!(run.stdout.contains("2 files"), "{run:#?}");
        let output = environment
            .command(&["vm", "cp", "web:tree", "-"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_links_are_as_their_files(&output.stdout);
        fs::create_dir(&back).unwrap();
        tar(&["-C", back.to_str().unwrap(), "-x"], Some(&output.stdout));
        // Archives of the older format have whole seconds.
        assert_same(&tree, &back.join("tree"), format == "posix");
        fs::remove_dir_all(&back).unwrap();
    }
    // A hole of an archive, and zeros, are holes there.
    let archive = tar(&["-C", folder, "-S", "-c", "tree"], None);
    assert!(archive.len() < 1 << 20);
    let run = with_input(&environment, &["vm", "cp", "-", "web:"], &archive);
    assert_eq!(run.status, 0, "{run:#?}");
    environment.done(&["vm", "cp", "-r", "web:tree", back.to_str().unwrap()]);
    assert_same(&tree, &back, false);
    assert!(fs::metadata(back.join("sparse")).unwrap().blocks() < 1 << 10);
}

#[test]
fn contents_and_files_are_packed_under_their_names() {
    let environment = with_vm();
    let tree = environment.path("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "content").unwrap();
    environment.done(&["vm", "cp", "-r", tree.to_str().unwrap(), "web:"]);
    for (words, names) in [
        (&["web:tree/."][..], "./\nfile\n"),
        (&["web:tree/file", "web:tree"], "file\ntree/\ntree/file\n"),
    ] {
        let words = [&["vm", "cp"], words, &["-"]].concat();
        let output = environment.command(&words).output().unwrap();
        let listed = tar(&["-t"], Some(&output.stdout));
        assert_eq!(String::from_utf8(listed).unwrap(), names);
    }
    let run = environment.run(&["vm", "cp", "web:nothing", "-"]);
    assert_eq!((run.status, run.stdout.as_str()), (1, ""), "{run:#?}");
    assert!(run.stderr.contains("there is no"), "{run:#?}");
}

/// Adds an entry whose name no well-meant program would write.
fn add(builder: &mut Builder<Vec<u8>>, name: &str, kind: EntryType, link: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    let fields = header.as_gnu_mut().unwrap();
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o6755);
    header.set_size(content.len() as u64);
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

#[test]
fn a_hostile_archive_stays_in_its_place() {
    let environment = with_vm();
    let outside = environment.path("outside");
    fs::create_dir(&outside).unwrap();
    let outside = outside.to_str().unwrap();
    let place = environment.path("place");
    fs::create_dir(&place).unwrap();
    environment.done(&["vm", "cp", "-r", place.to_str().unwrap(), "web:"]);
    let mut builder = Builder::new(Vec::new());
    let absolute = format!("{outside}/absolute");
    add(&mut builder, "good", EntryType::Regular, "", b"good");
    add(&mut builder, "../up", EntryType::Regular, "", b"x");
    add(&mut builder, "a/../../up", EntryType::Directory, "", b"");
    add(&mut builder, &absolute, EntryType::Regular, "", b"x");
    add(&mut builder, "way", EntryType::Symlink, outside, b"");
    add(&mut builder, "way/file", EntryType::Regular, "", b"x");
    add(
        &mut builder,
        "hard",
        EntryType::Link,
        "../../etc/passwd",
        b"",
    );
    add(&mut builder, "hard", EntryType::Link, "never/came", b"");
    add(&mut builder, "device", EntryType::Char, "", b"");
    let archive = builder.into_inner().unwrap();
    let run = with_input(&environment, &["vm", "cp", "-", "web:place"], &archive);
    assert_eq!(run.status, 1, "{run:#?}");
    for words in [
        "../up: its name leads out",
        "absolute: its name is absolute",
        "way: no directory is in its place",
        "hard: a hard link: its name leads out",
        "was not copied",
        "1 device,",
    ] {
        assert!(run.stderr.contains(words), "{words}: {run:#?}");
    }
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    let back = environment.path("back");
    environment.done(&["vm", "cp", "-r", "web:", back.to_str().unwrap()]);
    let mut names: Vec<_> = fs::read_dir(back.join("place"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["good", "way"]);
    let good = fs::metadata(back.join("place/good")).unwrap();
    assert_eq!(good.mode() & 0o7777, 0o755);
    assert!(!back.join("up").exists());
}

#[test]
fn what_is_no_archive_is_said_and_what_ends_early_has_no_half_file() {
    let environment = with_vm();
    let words = ["vm", "cp", "-", "web:"];
    for (input, reason) in [
        (&b"\x1f\x8b\x08 and so on"[..], "gunzip"),
        (&[b'x'; 2048], "read the archive"),
    ] {
        let run = with_input(&environment, &words, input);
        assert_eq!(run.status, 1, "{run:#?}");
        assert!(run.stderr.contains(reason), "{run:#?}");
    }
    let mut builder = Builder::new(Vec::new());
    add(&mut builder, "first", EntryType::Regular, "", b"first");
    add(&mut builder, "second", EntryType::Regular, "", &[7; 4096]);
    let archive = builder.into_inner().unwrap();
    let run = with_input(&environment, &words, &archive[..3 * 512 + 700]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stderr.contains("ends by an error"), "{run:#?}");
    let output = environment.command(&["vm", "cp", "web:.", "-"]).output();
    let listed = tar(&["-t"], Some(&output.unwrap().stdout));
    assert_eq!(String::from_utf8(listed).unwrap(), "./\nfirst\n");
}
