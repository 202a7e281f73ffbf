//! `make install` and `make uninstall`, without the build.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::environment::{Run, TestEnvironment, program};

const TOOL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/install");

/// The programs as `make build` leaves them, and a bundle of a few bytes.
fn built(environment: &TestEnvironment) -> (PathBuf, PathBuf) {
    let (dist, bundle) = (environment.path("dist"), environment.path("bundle"));
    for folder in [&dist, &bundle] {
        fs::create_dir(folder).unwrap();
    }
    for name in ["banger", "bangerd"] {
        fs::hard_link(program().with_file_name(name), dist.join(name))
            .or_else(|_| fs::copy(program().with_file_name(name), dist.join(name)).map(|_| ()))
            .unwrap();
    }
    for name in ["banger-mcp", "banger-root", "banger-guest"] {
        fs::copy("/bin/true", dist.join(name)).unwrap();
    }
    for name in ["bundle.json", "rootfs.ext4"] {
        fs::write(bundle.join(name), name).unwrap();
    }
    (dist, bundle)
}

fn tool(environment: &TestEnvironment, verb: &str, prefix: &Path) -> Run {
    let mut command = Command::new(TOOL);
    command
        .arg(verb)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", environment.path("home"))
        .env("PREFIX", prefix)
        .env("DIST", environment.path("dist"))
        .env("BUNDLE", environment.path("bundle"));
    Run::of(command.output().unwrap())
}

/// Every path below a folder.
fn below(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(below(&path));
        }
        found.insert(path);
    }
    found
}

#[test]
fn what_is_installed_works_without_the_checkout_and_goes_whole() {
    let environment = TestEnvironment::new();
    let prefix = environment.path("home/.local");
    let strangers = [
        prefix.join("bin/other"),
        prefix.join("share/man/man1/other.1"),
    ];
    for stranger in &strangers {
        fs::create_dir_all(stranger.parent().unwrap()).unwrap();
        fs::write(stranger, "").unwrap();
    }
    let before = below(&prefix);
    built(&environment);
    let run = tool(&environment, "install", &prefix);
    assert_eq!(run.status, 0, "{run:#?}");
    for file in [
        "bin/bangerd",
        "bin/banger-mcp",
        "bin/banger-root",
        "bin/banger-guest",
        "lib/banger/bundle.json",
        "share/man/man1/banger-vm-create.1",
        "share/man/man1/bangerd.1",
        "share/bash-completion/completions/banger",
        "share/zsh/site-functions/_banger",
        "share/fish/vendor_completions.d/banger.fish",
        "share/systemd/user/bangerd.service",
    ] {
        assert!(prefix.join(file).is_file(), "{file}");
    }
    let unit = fs::read_to_string(prefix.join("share/systemd/user/bangerd.service")).unwrap();
    let starts = format!("ExecStart=\"{}\"", prefix.join("bin/bangerd").display());
    assert!(unit.contains(&starts), "{unit}");

    // An upgrade removes files that only the old version had.
    fs::remove_dir_all(environment.path("bundle")).unwrap();
    fs::create_dir(environment.path("bundle")).unwrap();
    fs::write(environment.path("bundle/bundle.json"), "").unwrap();
    assert_eq!(tool(&environment, "install", &prefix).status, 0);
    assert!(!prefix.join("lib/banger/rootfs.ext4").exists());

    fs::remove_dir_all(environment.path("dist")).unwrap();
    fs::remove_dir_all(environment.path("bundle")).unwrap();
    let installed = |words: &[&str]| {
        let mut command = Command::new(prefix.join("bin/banger"));
        let wanted = environment.command(&[]);
        command.args(words).env_clear();
        for (variable, value) in wanted.get_envs() {
            command.env(variable, value.unwrap_or_default());
        }
        Run::of(command.output().unwrap())
    };
    let run = installed(&["create", "web"]);
    assert!(run.stdout.starts_with("web is running"), "{run:#?}");
    let run = installed(&["version"]);
    assert!(run.stdout.contains("by make install"), "{run:#?}");
    installed(&["daemon", "stop"]);

    let run = tool(&environment, "uninstall", &prefix);
    assert_eq!(run.status, 0, "{run:#?}");
    // The state directory is the user's, and stays.
    let after = below(&prefix);
    let left: Vec<_> = after
        .iter()
        .filter(|path| !path.starts_with(prefix.join("state")))
        .collect();
    assert_eq!(left, before.iter().collect::<Vec<_>>());
    assert_eq!(tool(&environment, "uninstall", &prefix).status, 0);
}

#[test]
fn a_prefix_that_is_no_place_is_refused() {
    let environment = TestEnvironment::new();
    built(&environment);
    let run = tool(&environment, "install", Path::new("here"));
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stderr.contains("PREFIX must begin with"), "{run:#?}");
}
