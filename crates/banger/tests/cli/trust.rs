//! The peer of the client: a daemon of the same user, at a path that only this user can write.

use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;

use crate::environment::{Run, TestEnvironment};

/// The id of another user.
const SOMEBODY: u32 = 61_234;

/// Counts the test as skipped. The test harness would capture `eprintln` in a test that passes.
fn skipped(reason: &str) -> bool {
    let line = format!("SKIPPED: {}: {reason}\n", module_path!());
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    false
}

/// Whether a test can run the programs as another user.
fn somebody_is_there(environment: &TestEnvironment) -> bool {
    if !rustix::process::geteuid().is_root() {
        return skipped("not root");
    }
    let mut command = environment.command(&["--version"]);
    let runs = command
        .uid(SOMEBODY)
        .gid(SOMEBODY)
        .current_dir("/")
        .output();
    runs.is_ok_and(|it| it.status.success()) || skipped("another user may not run what was built")
}

fn give_to_somebody(environment: &TestEnvironment) {
    for below in ["", "home", "bin"] {
        chown(environment.path(below), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    }
}

#[test]
fn root_does_not_take_the_word_of_another_users_daemon() {
    let environment = TestEnvironment::new();
    if !somebody_is_there(&environment) {
        return;
    }
    give_to_somebody(&environment);
    let as_somebody = |arguments: &[&str]| {
        let mut command = environment.command(arguments);
        command.uid(SOMEBODY).gid(SOMEBODY);
        let run = Run::of(command.output().unwrap());
        assert_eq!(run.status, 0, "{run:#?}");
        run
    };
    as_somebody(&["vm", "create", "--name", "theirs"]);
    for arguments in [
        &["vm", "list"][..],
        &["vm", "ssh", "theirs"],
        &["daemon", "status"],
        &["daemon", "stop"],
    ] {
        let run = environment.run(arguments);
        let failed = if arguments[1] == "ssh" { 255 } else { 1 };
        assert_eq!(run.status, failed, "{arguments:?}: {run:#?}");
        let expected = format!("belongs to user {SOMEBODY}, and you are user 0");
        assert!(run.stderr.contains(&expected), "{arguments:?}: {run:#?}");
        assert!(!run.stdout.contains("theirs"), "{run:#?}");
    }
    as_somebody(&["daemon", "stop"]);
}

#[test]
fn a_runtime_directory_that_is_not_ones_own_is_passed_over_with_a_word() {
    let environment = TestEnvironment::new();
    let runtime = environment.path("runtime");
    std::fs::create_dir(&runtime).unwrap();
    let list = |arguments: &[&str]| {
        let mut command = environment.command(arguments);
        // If the user has a runtime directory, the daemon must not use it.
        let state = environment.state();
        std::fs::create_dir_all(&state).unwrap();
        command.env("XDG_RUNTIME_DIR", &runtime);
        Run::of(command.output().unwrap())
    };
    std::fs::set_permissions(&runtime, PermissionsExt::from_mode(0o777)).unwrap();
    let run = list(&["daemon", "socket"]);
    assert_eq!(run.status, 0, "{run:#?}");
    assert!(
        run.stderr.contains("XDG_RUNTIME_DIR is ignored") && run.stderr.contains("mode 777"),
        "{run:#?}"
    );
    assert!(!run.stdout.contains("runtime/banger"), "{run:#?}");
    // If the socket is elsewhere anyway, there is no warning.
    let socket = environment.path("s").display().to_string();
    let run = list(&["--socket", &socket, "daemon", "socket"]);
    assert_eq!((run.status, &*run.stderr), (0, ""), "{run:#?}");

    std::fs::set_permissions(&runtime, PermissionsExt::from_mode(0o700)).unwrap();
    let run = list(&["daemon", "socket"]);
    assert_eq!((run.status, &*run.stderr), (0, ""), "{run:#?}");
    assert!(run.stdout.contains("runtime/banger"), "{run:#?}");
}

#[test]
fn no_hint_names_a_place_where_everybody_may_write() {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut found = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(sources)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_test = |name: &str| name == "tests" || name.ends_with("tests.rs");
            if path
                .file_name()
                .and_then(|it| it.to_str())
                .is_none_or(is_test)
            {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let named = code.lines().filter(|line| {
                    let is_comment = line.trim_start().starts_with("//");
                    !is_comment && (line.contains(" /tmp") || line.contains("=/tmp"))
                });
                found.extend(named.map(|line| format!("{}: {line}", path.display())));
            }
        }
    }
    assert_eq!(found, Vec::<String>::new());
}
