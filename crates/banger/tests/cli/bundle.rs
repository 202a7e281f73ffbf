//! Packaged and fetched bundles, with a small one that boots nothing. The examples of
//! docs/bundle.md run as they are printed.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use crate::environment::{Run, TestEnvironment, program};

/// Makes a bundle in the directory `$1`: its digests are right, and nothing else.
const BUNDLE: &str = r#"
set -e
mkdir -p "$1/modules"; cd "$1"
printf kernel > vmlinux; printf guest > banger-guest; printf '' > modules/modules.dep
head -c 4000000 /dev/urandom > rootfs.ext4
digest() { sha256sum | cut -c1-64; }
part() { printf '{"sha256":"%s","size":%s}' "$(digest < "$1")" "$(stat -c %s "$1")"; }
cat > bundle.json <<END
{"schema": 1, "suite": "trixie", "architecture": "amd64", "created": "2026-01-01T00:00:00Z",
 "kernel_version": "6.12.0", "vmlinux": $(part vmlinux), "rootfs": $(part rootfs.ext4),
 "guest": $(part banger-guest),
 "modules": {"sha256": "$(cd modules && sha256sum modules.dep | digest)", "size": 0}}
END
"#;

fn make_bundle(folder: &Path) {
    let mut shell = Command::new("/bin/sh");
    let made = shell.args(["-c", BUNDLE, "sh"]).arg(folder).status();
    assert!(made.unwrap().success());
}

fn with_bundle() -> TestEnvironment {
    let environment = TestEnvironment::new();
    make_bundle(&environment.path("home/.local/share/banger/bundle"));
    environment
}

/// All lines of the page that a user is to type.
fn examples() -> String {
    let page = include_str!("../../../../docs/bundle.md");
    let blocks = page.split("```sh\n").skip(1);
    blocks.filter_map(|it| it.split("```").next()).collect()
}

#[test]
fn the_examples_of_the_page_work_as_they_are_printed() {
    let environment = with_bundle();
    let examples = examples();
    assert!(examples.lines().count() >= 5, "{examples}");
    let mut shell = environment.command(&[]);
    let environment_of_shell: Vec<_> = shell
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    let folder = program().parent().unwrap().display().to_string();
    shell = Command::new("/bin/sh");
    shell
        .args(["-ec", &examples])
        .env_clear()
        .envs(environment_of_shell)
        .env("PATH", format!("{folder}:/usr/bin:/bin"))
        .current_dir(environment.path(""));
    let run = Run::of(shell.output().unwrap());
    assert_eq!(run.status, 0, "{run:#?}");
    let archive = environment.path("dist/banger-runtime.tar.gz");
    let mut summed = Command::new("sha256sum");
    let sum = Run::of(summed.arg(&archive).output().unwrap()).stdout;
    let digest = &sum[..64];
    assert!(run.stdout.contains(digest), "{run:#?}");
    let manifest = environment.path("dist/runtime-bundle.toml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    assert!(manifest.contains(digest), "{manifest}");
    let reason = "bundles/trixie (`--bundle` or BANGER_RUNTIME_DIR)";
    assert!(run.stdout.contains(reason), "{run:#?}");
}

#[test]
fn a_fetch_that_is_killed_at_any_moment_leaves_the_old_bundle_or_the_new() {
    let environment = with_bundle();
    environment.done(&["bundle", "package"]);
    let fetch = [
        "bundle",
        "fetch",
        "--manifest",
        "dist/runtime-bundle.toml",
        "--dir",
        "place",
    ];
    environment.done(&fetch);
    let check = [
        "bundle",
        "package",
        "--dir",
        "place",
        "--out",
        "other/b.tar.gz",
    ];
    let (_keep, never) = mpsc::channel::<()>();
    for moment in 0..25 {
        let mut fetching = environment.command(&fetch).spawn().unwrap();
        let _ = never.recv_timeout(Duration::from_millis(moment * 8));
        fetching.kill().unwrap();
        fetching.wait().unwrap();
        if moment % 5 == 0 {
            environment.done(&check);
        }
    }
    environment.done(&fetch);
    environment.done(&check);
    let entries = std::fs::read_dir(environment.path("")).unwrap();
    let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names.filter(|it| it.starts_with(".place")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_failed_fetch_is_reported_without_passwords() {
    let environment = with_bundle();
    let write = |text: &str| std::fs::write(environment.path("m.toml"), text).unwrap();
    let fetch = || environment.run(&["bundle", "fetch", "--manifest", "m.toml"]);
    write("url = \"\"\nsha256 = \"\"\n");
    let run = fetch();
    assert_eq!(run.status, 1);
    assert!(run.stderr.contains("`url` is empty"), "{run:#?}");
    assert!(run.stderr.contains("hint: "), "{run:#?}");
    let digest = "0".repeat(64);
    write(&format!(
        "url = \"ftp://ada:secret@h/b\"\nsha256 = \"{digest}\"\n"
    ));
    let run = fetch();
    assert!(run.stderr.contains("`ftp:`"), "{run:#?}");
    assert!(!run.stderr.contains("secret"), "{run:#?}");
    write(&format!("url = \"absent.tar.gz\"\nsha256 = \"{digest}\"\n"));
    let run = fetch();
    assert!(run.stderr.contains("No such file"), "{run:#?}");
    let run = environment.run(&["bundle", "fetch"]);
    assert_eq!(run.status, 2, "{run:#?}");
}

#[test]
fn an_older_name_of_a_key_works_with_a_warning() {
    let environment = with_bundle();
    let place = environment.path("place");
    make_bundle(&place);
    let folder = environment.path("home/.config/banger");
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!("bundle = {:?}\n", place.to_str().unwrap());
    std::fs::write(folder.join("config.toml"), text).unwrap();
    let status = environment.done(&["daemon", "start"]);
    let shown = format!("{} (`runtime_dir` of the configuration)", place.display());
    assert!(status.stdout.contains(&shown), "{status:#?}");
    let report = environment.run(&["doctor"]);
    assert!(
        report
            .stdout
            .contains("`bundle` of the configuration is called `runtime_dir` now"),
        "{report:#?}"
    );
}
