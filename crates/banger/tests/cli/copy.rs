//! `vm cp` with a simulated guest, whose files are real.

use std::fs;
use std::os::unix::fs::symlink;

use crate::environment::TestEnvironment;

fn with_vm() -> TestEnvironment {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "web"]);
    environment
}

#[test]
fn a_tree_goes_into_a_vm_and_comes_back() {
    let environment = with_vm();
    let tree = environment.path("tree");
    fs::create_dir_all(tree.join("below")).unwrap();
    fs::write(tree.join("below/file"), "content").unwrap();
    symlink("below/file", tree.join("link")).unwrap();
    let tree = tree.to_str().unwrap();
    let run = environment.run(&["vm", "cp", tree, "web:"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stderr.contains("-r"), "{run:#?}");
    let report = environment.json(&["vm", "cp", "-r", tree, "web:"]);
    assert_eq!((&report["files"], &report["links"]), (&1.into(), &1.into()));
    let back = environment.path("back");
    let back = back.to_str().unwrap();
    let said = environment.done(&["vm", "cp", "-r", "web:tree/.", back]);
    assert!(said.stdout.contains("1 file,"), "{said:#?}");
    let content = fs::read_to_string(environment.path("back/below/file"));
    assert_eq!(content.unwrap(), "content");
    let file = environment.path("back/link");
    assert_eq!(fs::read_link(file).unwrap().to_str(), Some("below/file"));
    let run = environment.done(&["vm", "cp", "--quiet", "web:/root/tree/link", back]);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    let content = fs::read_to_string(environment.path("back/link"));
    assert_eq!(content.unwrap(), "content");
}

#[test]
fn a_tree_goes_from_a_vm_to_another_one() {
    let environment = with_vm();
    environment.done(&["vm", "create", "lab"]);
    let tree = environment.path("tree");
    fs::create_dir_all(tree.join("below")).unwrap();
    fs::write(tree.join("below/file"), "content").unwrap();
    environment.done(&["vm", "cp", "-r", tree.to_str().unwrap(), "web:"]);
    let run = environment.run(&["vm", "cp", "web:tree", "lab:"]);
    assert!(run.stderr.contains("add -r"), "{run:#?}");
    let report = environment.json(&["vm", "cp", "-r", "web:tree", "lab:there"]);
    assert_eq!(
        (&report["files"], &report["failed"]),
        (&1.into(), &0.into())
    );
    environment.done(&["vm", "cp", "-r", "lab:there/.", "lab:again"]);
    let back = environment.path("back");
    let back = back.to_str().unwrap();
    environment.done(&["vm", "cp", "lab:again/below/file", back]);
    assert_eq!(fs::read_to_string(back).unwrap(), "content");
    let run = environment.run(&["vm", "cp", "-r", "web:tree", "lab:no/such/place"]);
    assert!(run.stderr.contains("copy with `lab`"), "{run:#?}");
    assert!(run.stderr.contains("there is no directory"), "{run:#?}");
}

#[test]
fn a_directory_is_not_copied_into_itself() {
    let environment = with_vm();
    let tree = environment.path("tree");
    fs::create_dir_all(tree.join("below")).unwrap();
    fs::write(tree.join("file"), "content").unwrap();
    environment.done(&["vm", "cp", "-r", tree.to_str().unwrap(), "web:"]);
    let id = environment.json(&["vm", "show", "web"])["id"].clone();
    let by_id = format!("{}:tree/new", id.as_str().unwrap());
    for to in ["web:tree/below", "web:tree/new", "web:~", &by_id] {
        let run = environment.run(&["vm", "cp", "-r", "web:tree", to]);
        assert_eq!(run.status, 1, "{run:#?}");
        assert!(
            run.stderr.contains("cannot copy a directory into itself"),
            "{run:#?}"
        );
    }
    environment.done(&["vm", "cp", "-r", "web:tree", "web:other"]);
    environment.done(&["vm", "cp", "-r", "web:tree/below", "web:other/new"]);
    let back = environment.path("back");
    environment.done(&["vm", "cp", "-r", "web:tree", back.to_str().unwrap()]);
    assert_eq!(fs::read_dir(back).unwrap().count(), 2);
}

#[test]
fn what_cannot_be_copied_is_said() {
    let environment = with_vm();
    let file = environment.path("file");
    fs::write(&file, "content").unwrap();
    let file = file.to_str().unwrap();
    for (words, reason) in [
        (vec!["web:nothing", "."], "there is no"),
        (vec!["web:", "."], "is a directory: add -r"),
        (vec![file, "web:no/such/file"], "there is no directory"),
        (vec![file, file, "web:new"], "there is no directory"),
        (vec!["web:a", "web:b"], "there is no `"),
        (vec!["web:a", file, "web:"], "some sources are here"),
        (vec!["web:a", "lab:a", "web:"], "several VMs"),
        (vec!["-", "-"], "none of the paths"),
        (vec!["-", file, "web:"], "is the only source"),
        (vec!["-", "web:"], "it is empty"),
        (vec![file, file], "none of the paths"),
        (vec!["/no/such/file", "web:"], "No such file"),
        (vec![file, "nobody:"], "nobody"),
        (vec![file, "A B:"], "./"),
    ] {
        let mut line = vec!["vm", "cp"];
        line.extend(words);
        let run = environment.run(&line);
        assert_eq!(run.status, 1, "{run:#?}");
        assert!(run.stderr.contains(reason), "{run:#?}");
    }
    environment.done(&["vm", "stop", "web"]);
    let run = environment.run(&["vm", "cp", file, "web:"]);
    assert!(run.stderr.contains("banger vm start web"), "{run:#?}");
}
