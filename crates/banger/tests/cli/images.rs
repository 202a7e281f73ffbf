//! `banger image`, on a simulated host, where every path is a root file system.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::environment::TestEnvironment;

/// A tree of files that passes the checks of a bootable image.
fn tree(environment: &TestEnvironment, name: &str) -> PathBuf {
    let tree = environment.path(name).with_extension("tree");
    let mut program = vec![0; 64];
    program[..5].copy_from_slice(b"\x7fELF\x02");
    program[18] = 62;
    for path in ["usr/lib/systemd/systemd", "usr/sbin/sshd"] {
        let path = tree.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &program).unwrap();
    }
    tree
}

/// Runs a program of the host, which must succeed.
fn run(program: &str, arguments: &[&OsStr]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

/// Imports an image of this name, from an ext4 file system.
pub(crate) fn import(environment: &TestEnvironment, name: &str) {
    let (tree, file) = (tree(environment, name), environment.path(name));
    let (tree, image) = (tree.as_os_str(), file.as_os_str());
    let options = ["-q", "-t", "ext4", "-d"].map(OsStr::new);
    let arguments = [&options[..], &[tree, image, OsStr::new("8M")]].concat();
    run("mke2fs", &arguments);
    environment.done(&["image", "import", file.to_str().unwrap(), "--name", name]);
}

#[test]
fn a_source_is_taken_for_what_it_is_and_nothing_is_left_of_one_that_is_refused() {
    let environment = TestEnvironment::new();
    let tree = tree(&environment, "tar");
    let archive = environment.path("root.tar");
    let pack = |directory: &OsStr| {
        let options = ["-cf"].map(OsStr::new);
        let directory = [OsStr::new("-C"), directory, OsStr::new(".")];
        let arguments = [&options[..], &[archive.as_os_str()], &directory].concat();
        run("tar", &arguments);
    };
    pack(tree.join("usr/sbin").as_os_str());
    let file = archive.to_str().unwrap();
    let refused = environment.run(&["image", "import", file, "--name", "mine"]);
    assert_eq!((refused.status, &*refused.stdout), (1, ""), "{refused:#?}");
    assert!(refused.stderr.contains("cannot boot"), "{refused:#?}");
    let refused = environment.run(&["--json", "image", "import", "nosuch", "--name", "mine"]);
    let error: serde_json::Value = serde_json::from_str(&refused.stderr).unwrap();
    assert_eq!(error["code"], "not-found");
    assert_eq!(environment.done(&["image", "ls", "-q"]).stdout, "default\n");
}

/// A registry with one image, `ada/tool`, whose only layer has these bytes. It answers for as long as
/// the test runs.
fn registry(layer: Vec<u8>) -> String {
    let digest = |bytes: &[u8]| {
        let digits = Sha256::digest(bytes);
        let digits: String = digits.iter().map(|it| format!("{it:02x}")).collect();
        format!("sha256:{digits}")
    };
    let layer_digest = digest(&layer);
    let configuration =
        json!({"rootfs": {"type": "layers", "diff_ids": [layer_digest]}}).to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "config": {"digest": digest(configuration.as_bytes()), "size": configuration.len()},
        "layers": [{"digest": layer_digest, "size": layer.len()}],
    });
    let found = [
        (
            "manifests/latest".to_owned(),
            manifest.to_string().into_bytes(),
        ),
        (
            format!("blobs/{}", digest(configuration.as_bytes())),
            configuration.into_bytes(),
        ),
        (format!("blobs/{layer_digest}"), layer),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines
                .next()
                .and_then(Result::ok)
                .is_some_and(|it| !it.is_empty())
            {}
            let path = first.split(' ').nth(1).unwrap_or_default();
            let path = path.strip_prefix("/v2/ada/tool/").unwrap_or_default();
            let content = found.iter().find(|it| it.0 == path).map(|it| &*it.1);
            let status = if content.is_some() {
                "200 OK"
            } else {
                "404 Not Found"
            };
            let content = content.unwrap_or_default();
            let length = content.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
            );
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(content));
        }
    });
    address
}

#[test]
fn an_image_of_a_registry_is_fetched_and_read_as_any_other() {
    let environment = TestEnvironment::new();
    let tree = tree(&environment, "layer");
    let archive = environment.path("layer.tar");
    let directory = tree.join("usr/sbin");
    let arguments = [
        "-cf",
        archive.to_str().unwrap(),
        "-C",
        directory.to_str().unwrap(),
        ".",
    ];
    run("tar", &arguments.map(OsStr::new));
    let registry = registry(std::fs::read(&archive).unwrap());
    let source = format!("docker://{registry}/ada/tool");
    let refused = environment.run(&["image", "import", &source, "--name", "mine"]);
    assert_eq!((refused.status, &*refused.stdout), (1, ""), "{refused:#?}");
    for said in ["download layer 1 of 1", "unpack the layers", "cannot boot"] {
        assert!(refused.stderr.contains(said), "{said}: {refused:#?}");
    }
    let source = format!("docker://{registry}/ada/nosuch:1");
    let refused = environment.run(&["image", "import", &source, "--name", "mine"]);
    assert!(refused.stderr.contains("there is no image"), "{refused:#?}");
    let source = "docker://ada:s3cret@mine.example/tool";
    let refused = environment.run(&["image", "import", source, "--name", "mine"]);
    assert_eq!(refused.status, 1, "{refused:#?}");
    assert!(!refused.stderr.contains("s3cret"), "{refused:#?}");
    assert!(refused.stderr.contains("docker login"), "{refused:#?}");
    let refused = environment.run(&["image", "import", "docker://debian", "--name", "mine"]);
    assert!(
        refused.stderr.contains("mirrors = { docker"),
        "{refused:#?}"
    );
    assert_eq!(environment.done(&["image", "ls", "-q"]).stdout, "default\n");
}

#[test]
fn an_image_is_imported_used_renamed_and_deleted_when_unused() {
    let environment = TestEnvironment::new();
    let names = |environment: &TestEnvironment| environment.done(&["image", "ls", "-q"]).stdout;
    assert_eq!(names(&environment), "default\n");
    import(&environment, "mine");
    assert_eq!(names(&environment), "default\nmine\n");
    let made = environment.json(&["vm", "create", "web", "--image", "mine"]);
    assert_eq!(made["image"], "mine");
    let shown = environment.json(&["image", "show", "mine"]);
    assert_eq!(
        (&shown["users"], &shown["is_default"]),
        (&json!(["web"]), &json!(false))
    );
    let default = environment.json(&["image", "show", "default"]);
    assert_eq!(default["is_default"], true);
    assert_ne!(default["digest"], shown["digest"]);

    let run = environment.done(&["image", "rename", "mine", "ours"]);
    assert_eq!(run.stdout, "mine is now ours\n");
    let run = environment.run(&["image", "delete", "ours"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(
        run.stderr.contains("the image `ours` is in use"),
        "{run:#?}"
    );
    assert!(run.stderr.contains("by web"), "{run:#?}");
    let run = environment.done(&["image", "prune", "--all"]);
    assert!(!run.stdout.contains("ours"), "{run:#?}");

    // The images outlive the daemon's process, but simulated ones do not, nor do VMs.
    environment.done(&["vm", "delete", "--force", "web"]);
    let run = environment.done(&["image", "delete", "ours"]);
    assert_eq!(run.stdout, "ours is deleted\n");
    assert_eq!(names(&environment), "default\n");
}

#[test]
fn unused_images_are_pruned_on_request() {
    let environment = TestEnvironment::new();
    import(&environment, "one");
    import(&environment, "two");
    environment.done(&["vm", "create", "web", "--image", "two", "--no-start"]);
    let run = environment.done(&["image", "prune"]);
    assert!(!run.stdout.contains("deleted"), "{run:#?}");
    let pruned = environment.json(&["image", "prune", "--all"]);
    assert_eq!(pruned["names"], json!(["one"]));
    let run = environment.run(&["image", "rm", "one", "default"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stderr.contains("there is no image `one`"), "{run:#?}");
    assert!(run.stderr.contains("the bundle's own image"), "{run:#?}");
    assert!(
        run.stderr.contains("banger config set default_rootfs"),
        "{run:#?}"
    );
}

#[test]
fn names_are_refused_before_anything_is_made() {
    let environment = TestEnvironment::new();
    import(&environment, "mine");
    for (name, status) in [("mine", 1), ("default", 1), ("../x", 2), ("A", 2), ("", 2)] {
        let run = environment.run(&["image", "import", "/file", "--name", name]);
        assert_eq!(run.status, status, "{name:?}: {run:#?}");
    }
    let run = environment.run(&["image", "rename", "mine", "default"]);
    assert!(run.stderr.contains("already"), "{run:#?}");
    let run = environment.run(&["vm", "create", "--image", "nosuch"]);
    assert!(
        run.stderr.contains("there is no image `nosuch`"),
        "{run:#?}"
    );
    assert!(run.stderr.contains("banger image list"), "{run:#?}");
}
