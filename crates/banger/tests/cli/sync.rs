//! `vm sync` with a simulated guest, whose files are real.

mod watch;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::environment::TestEnvironment;

fn with_vm() -> TestEnvironment {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "web"]);
    environment
}

/// Makes a tree with what people have in one.
fn make_tree(environment: &TestEnvironment) -> PathBuf {
    let tree = environment.path("tree");
    fs::create_dir_all(tree.join("src/deep")).unwrap();
    fs::create_dir_all(tree.join("target")).unwrap();
    fs::create_dir_all(tree.join(".git")).unwrap();
    for (name, text) in [
        ("src/main", "one"),
        ("src/deep/file", "two"),
        ("target/built", "large"),
        (".git/HEAD", "ref"),
        (".gitignore", "/target\n*.log\n"),
        ("a.log", "noise"),
    ] {
        fs::write(tree.join(name), text).unwrap();
    }
    symlink("src/main", tree.join("link")).unwrap();
    tree
}

fn sync(environment: &TestEnvironment, more: &[&str]) -> Value {
    let tree = environment.path("tree");
    let words = ["vm", "sync", tree.to_str().unwrap(), "web:app"];
    environment.json(&[&words, more].concat())
}

/// The home of the simulated guest.
fn home(environment: &TestEnvironment) -> PathBuf {
    fn find(directory: &Path) -> Option<PathBuf> {
        let entries = fs::read_dir(directory).ok()?.flatten();
        let below = entries.map(|entry| entry.path()).filter(|it| it.is_dir());
        let mut below: Vec<PathBuf> = below.collect();
        if let Some(found) = below.iter().find(|it| it.ends_with("root/app")) {
            return found.parent().map(Path::to_owned);
        }
        below.drain(..).find_map(|it| find(&it))
    }
    find(&environment.state()).unwrap()
}

#[test]
fn only_what_differs_is_sent_and_nothing_is_removed_without_being_told() {
    let environment = with_vm();
    let tree = make_tree(&environment);
    let report = sync(&environment, &[]);
    assert_eq!((&report["files"], &report["links"]), (&3.into(), &1.into()));
    let there = home(&environment).join("app");
    let read = |name: &str| fs::read_to_string(there.join(name)).unwrap();
    assert_eq!(read("src/deep/file"), "two");
    for left_out in ["target", ".git", "a.log"] {
        assert!(!there.join(left_out).exists(), "{left_out}");
    }
    assert_eq!(sync(&environment, &[])["files"], 0);
    // One file that changed, one that only may be run now, one that is new.
    fs::write(tree.join("src/main"), "other").unwrap();
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(tree.join("src/deep/file"), mode).unwrap();
    fs::write(tree.join("new"), "new").unwrap();
    fs::remove_file(tree.join("link")).unwrap();
    let before = fs::metadata(there.join("src/main")).unwrap().ino();
    let report = sync(&environment, &[]);
    let counts = ["files", "touched", "removed"].map(|it| report[it].as_u64().unwrap());
    assert_eq!(counts, [2, 1, 0], "{report}");
    assert_eq!(
        (read("src/main"), read("new")),
        ("other".into(), "new".into())
    );
    let after = fs::metadata(there.join("src/main")).unwrap().ino();
    assert_ne!(before, after, "a file is replaced, not written over");
    let mode = fs::metadata(there.join("src/deep/file")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o755);
    assert!(there.join("link").is_symlink(), "removed without --delete");
}

#[test]
fn delete_spares_what_is_ignored() {
    let environment = with_vm();
    let tree = make_tree(&environment);
    sync(&environment, &[]);
    let there = home(&environment).join("app");
    for directory in ["target/deep", "old/deep", "old/kept"] {
        fs::create_dir_all(there.join(directory)).unwrap();
    }
    for file in [
        "target/deep/object",
        "b.log",
        "old/file",
        "old/kept/c.log",
        "extra",
    ] {
        fs::write(there.join(file), "there").unwrap();
    }
    fs::remove_file(tree.join("src/main")).unwrap();
    let preview = sync(&environment, &["--delete", "--dry-run"]);
    assert_eq!(
        preview["send"],
        Value::from(Vec::<String>::new()),
        "{preview}"
    );
    assert!(there.join("extra").exists(), "a dry run changes nothing");
    let report = sync(&environment, &["--delete"]);
    assert_eq!(report["removed"], 4, "{report}");
    for gone in ["extra", "old/file", "old/deep", "src/main"] {
        assert!(!there.join(gone).exists(), "{gone}");
    }
    for kept in ["target/deep/object", "b.log", "old/kept/c.log"] {
        assert!(there.join(kept).exists(), "{kept}");
    }
    let listed: Vec<&str> = preview["remove"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        listed.contains(&"extra") && listed.contains(&"old/file"),
        "{preview}"
    );
}

#[test]
fn what_is_in_the_way_goes_only_with_delete() {
    let environment = with_vm();
    let tree = make_tree(&environment);
    sync(&environment, &[]);
    let (there, outside) = (home(&environment).join("app"), environment.path("outside"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("main"), "outside").unwrap();
    // A guest that wants to have something of its own overwritten by root.
    fs::remove_dir_all(there.join("src")).unwrap();
    symlink(&outside, there.join("src")).unwrap();
    fs::remove_file(there.join("link")).unwrap();
    fs::create_dir_all(there.join("link/full")).unwrap();
    let words = ["vm", "sync", tree.to_str().unwrap(), "web:app"];
    let run = environment.run(&words);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(
        run.stderr
            .contains("src: something that is not a directory"),
        "{run:#?}"
    );
    assert!(
        run.stderr.contains("link: a directory is in its place"),
        "{run:#?}"
    );
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    environment.done(&[&words[..], &["--delete"]].concat());
    assert_eq!(
        fs::read_to_string(there.join("src/deep/file")).unwrap(),
        "two"
    );
    assert!(there.join("link").is_symlink());
    assert_eq!(fs::read_to_string(outside.join("main")).unwrap(), "outside");
}

#[test]
fn contents_are_compared_when_asked() {
    let environment = with_vm();
    let tree = make_tree(&environment);
    sync(&environment, &[]);
    let there = home(&environment).join("app/src/main");
    let time = fs::metadata(&there).unwrap().modified().unwrap();
    fs::write(&there, "ONE").unwrap();
    let file = fs::File::options().write(true).open(&there).unwrap();
    file.set_modified(time).unwrap();
    let new = std::time::SystemTime::now();
    let touched = fs::File::options()
        .write(true)
        .open(tree.join("src/deep/file"))
        .unwrap();
    touched.set_modified(new).unwrap();
    let report = sync(&environment, &["--checksum"]);
    let counts = ["files", "touched"].map(|it| report[it].as_u64().unwrap());
    assert_eq!(counts, [1, 1], "{report}");
    assert_eq!(fs::read_to_string(&there).unwrap(), "one");
    assert_eq!(sync(&environment, &[])["files"], 0);
}

#[test]
fn what_cannot_be_synchronized_is_said() {
    let environment = with_vm();
    let tree = make_tree(&environment);
    let tree = tree.to_str().unwrap();
    let file = environment.path("tree/a.log");
    for (words, reason) in [
        (vec![tree, "."], "not in a VM"),
        (vec!["web:app", "."], "vm cp -r"),
        (vec![tree, "web:", "--delete"], "whole home"),
        (vec![tree, "web:/", "--delete"], "whole home"),
        (vec![tree, "web:..", "--delete"], "whole home"),
        (
            vec![file.to_str().unwrap(), "web:app"],
            "is not a directory",
        ),
        (vec!["/no/such", "web:app"], "No such file"),
        (vec![tree, "nobody:app"], "nobody"),
        (vec![tree, "web:app", "--exclude", "{a"], "is not a pattern"),
    ] {
        let run = environment.run(&[&["vm", "sync"][..], &words].concat());
        assert_eq!(run.status, 1, "{run:#?}");
        assert!(run.stderr.contains(reason), "{reason}: {run:#?}");
    }
    // A dry run makes nothing at all.
    let preview = sync(&environment, &["--dry-run", "--exclude", "/link"]);
    let sent: Vec<&str> = preview["send"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(
        sent,
        [".gitignore", "src", "src/deep", "src/deep/file", "src/main"]
    );
    let run = environment.run(&["vm", "cp", "-r", "web:app", "nowhere"]);
    assert!(run.stderr.contains("there is no"), "{run:#?}");
}

#[test]
fn what_cannot_be_read_here_removes_nothing_there() {
    let environment = with_vm();
    let tree = make_tree(&environment);
    fs::create_dir(tree.join("data")).unwrap();
    fs::write(tree.join("data/file"), "kept").unwrap();
    sync(&environment, &[]);
    let there = home(&environment).join("app");
    fs::write(there.join("data/object.tmp"), "of the VM").unwrap();
    // Rules that were there, on a disk that is not.
    symlink("/no/such/disk/rules", tree.join("data/.bangerignore")).unwrap();
    fs::remove_file(tree.join("data/file")).unwrap();
    fs::write(tree.join("src/main"), "beside it").unwrap();
    let words = ["vm", "sync", tree.to_str().unwrap(), "web:app", "--delete"];
    let run = environment.run(&words);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(
        run.stderr.contains("data/.bangerignore` cannot be read"),
        "{run:#?}"
    );
    assert!(there.join("data/object.tmp").exists() && there.join("data/file").exists());
    let main = fs::read_to_string(there.join("src/main")).unwrap();
    assert_eq!(main, "beside it", "the rest goes on");
}

#[test]
fn parts_of_files_are_files_and_what_holds_something_is_not_said_to_go() {
    let environment = with_vm();
    let tree = make_tree(&environment);
    fs::write(tree.join(".own.banger-partial"), "a file like others").unwrap();
    assert_eq!(sync(&environment, &[])["files"], 4);
    assert_eq!(sync(&environment, &[])["files"], 0);
    let there = home(&environment).join("app");
    fs::create_dir_all(there.join("old/deep")).unwrap();
    fs::create_dir_all(there.join("held/deep")).unwrap();
    for part in [
        "old/deep/.x.banger-partial",
        "held/deep/a.log",
        ".y.banger-partial",
    ] {
        fs::write(there.join(part), "there").unwrap();
    }
    fs::write(there.join(".new.banger-partial"), "goes on").unwrap();
    fs::write(tree.join("new"), "new").unwrap();
    let preview = sync(&environment, &["--delete", "--dry-run"]);
    let removed = [
        ".y.banger-partial",
        "old",
        "old/deep",
        "old/deep/.x.banger-partial",
    ];
    let mut found: Vec<&str> = preview["remove"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    found.sort_unstable();
    assert_eq!(found, removed, "{preview}");
    assert_eq!(sync(&environment, &["--delete"])["removed"], 4);
    assert!(there.join("held/deep/a.log").exists() && !there.join("old").exists());
}
