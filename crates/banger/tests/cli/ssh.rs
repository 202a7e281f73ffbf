//! `vm ssh` executes ssh. Here a stand-in records its arguments, and then runs the command by a
//! shell, as sshd would.

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::environment::{Run, TestEnvironment};
use crate::fake_daemon;

/// A running VM, and an ssh that writes its arguments to `argv`, each with a terminating zero, and
/// runs the words after the destination as the guest's shell would.
fn with_stand_in() -> TestEnvironment {
    let environment = TestEnvironment::for_fake();
    let (daemon, web) = (
        fake_daemon::daemon(&environment),
        fake_daemon::web(&environment),
    );
    fake_daemon::listen(&environment, daemon, web);
    put_stand_in(&environment);
    environment
}

fn put_stand_in(environment: &TestEnvironment) {
    environment.script(
        "ssh",
        &format!(
            "printf '%s\\0' \"$@\" > '{}'\n\
             while [ \"$1\" != -- ]; do shift; done\n\
             [ $# -eq 3 ] || exit 42\n\
             exec sh -c \"$3\"",
            environment.path("argv").display()
        ),
    );
}

fn argv(environment: &TestEnvironment) -> Vec<String> {
    let bytes = std::fs::read(environment.path("argv")).unwrap();
    let mut words: Vec<_> = bytes
        .split(|byte| *byte == 0)
        .map(|it| String::from_utf8(it.to_vec()).unwrap())
        .collect();
    words.pop();
    words
}

#[test]
fn the_command_gets_exactly_its_arguments() {
    let environment = with_stand_in();
    let nasty = [
        "a b", "", "*", "it's", "\"", "$HOME", "a\nb", "--", "-x", "é🦦", "\\", "`id`",
    ];
    let words = [
        &["vm", "ssh", "web", "--", "printf", "%s\\0"][..],
        &nasty[..],
    ]
    .concat();
    let run = environment.done(&words);
    let expected = nasty.map(|word| format!("{word}\0")).concat();
    assert_eq!(run.stdout.as_bytes(), expected.as_bytes());
}

#[test]
fn the_status_of_the_command_is_the_clients_own() {
    let environment = with_stand_in();
    for status in [0, 1, 2, 7, 126, 255] {
        let script = format!("exit {status}");
        let run = environment.run(&["vm", "ssh", "web", "--", "sh", "-c", &script]);
        assert_eq!(run.status, status, "{run:#?}");
    }
}

#[test]
fn a_command_that_a_signal_ended_has_a_shells_status() {
    let environment = with_stand_in();
    for (signal, status) in [("TERM", 143), ("KILL", 137), ("SEGV", 139)] {
        let script = format!("kill -{signal} $$");
        let run = environment.run(&["vm", "ssh", "web", "--", "sh", "-c", &script]);
        assert_eq!(run.status, status, "{run:#?}");
    }
}

#[test]
fn a_terminal_is_asked_for_in_a_script_too() {
    let environment = with_stand_in();
    environment.done(&["vm", "ssh", "web", "-t", "--", "true"]);
    assert!(argv(&environment).contains(&"-tt".to_owned()));
}

#[test]
fn an_option_of_ssh_is_accepted_or_gets_a_hint() {
    let environment = with_stand_in();
    environment.done(&["vm", "ssh", "web", "-A", "-l", "dev", "--", "true"]);
    let words = argv(&environment);
    assert!(words.contains(&"-A".to_owned()), "{words:?}");
    assert!(words.iter().any(|it| it.starts_with("dev@")), "{words:?}");
    for (option, hint) in [
        ("-v", "banger vm ssh NAME -o LogLevel=DEBUG"),
        ("-D", "banger vm ssh NAME -o DynamicForward=PORT"),
        ("-i", "banger vm show NAME"),
        ("-g", "-o KEY=VALUE"),
        ("ls", "banger vm ssh NAME -- COMMAND"),
    ] {
        let run = environment.run(&["vm", "ssh", "web", option]);
        assert_eq!(run.status, 255, "{run:#?}");
        assert!(run.stderr.trim_end().ends_with(hint), "{run:#?}");
    }
}

#[test]
fn the_commands_input_and_output_are_the_clients_own() {
    let environment = with_stand_in();
    let mut client = environment
        .command(&["vm", "ssh", "web", "--", "cat"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    client
        .stdin
        .take()
        .unwrap()
        .write_all("in\n".as_bytes())
        .unwrap();
    let run = Run::of(client.wait_with_output().unwrap());
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("in\n", ""));
}

#[test]
fn the_host_key_is_always_checked_against_the_one_that_is_pinned() {
    let environment = with_stand_in();
    environment.done(&[
        "vm",
        "ssh",
        "web",
        "-o",
        "StrictHostKeyChecking=no",
        "--",
        "true",
    ]);
    let words = argv(&environment);
    let position = |word: &str| words.iter().position(|it| it == word);
    assert!(
        position("StrictHostKeyChecking=yes") < position("StrictHostKeyChecking=no"),
        "ssh takes the first: {words:?}"
    );
    assert!(position("StrictHostKeyChecking=yes").is_some());
    let pinned = words
        .iter()
        .find_map(|it| it.strip_prefix("UserKnownHostsFile="))
        .unwrap();
    assert!(
        pinned
            .as_bytes()
            .starts_with(environment.state().as_os_str().as_bytes()),
        "{pinned}"
    );
    assert!(
        words.iter().any(|it| it.starts_with("HostKeyAlias=")),
        "{words:?}"
    );
}

/// A login that is rejected because of these fields of the daemon's view, or of the VM's.
fn refused(of_daemon: &[(&str, Value)], of_web: &[(&str, Value)]) -> Run {
    let environment = TestEnvironment::for_fake();
    let mut daemon = fake_daemon::daemon(&environment);
    let mut web = fake_daemon::web(&environment);
    for (field, value) in of_daemon {
        daemon[field] = value.clone();
    }
    for (field, value) in of_web {
        web[field] = value.clone();
    }
    fake_daemon::listen(&environment, daemon, web);
    put_stand_in(&environment);
    let run = environment.run(&["vm", "ssh", "web", "--", "true"]);
    assert_eq!((run.status, run.stdout.as_str()), (255, ""), "{run:#?}");
    assert!(!environment.path("argv").exists(), "ssh was started");
    run
}

#[test]
fn ssh_to_a_stopped_vm_prints_the_command_that_starts_it() {
    let run = refused(&[], &[("phase", json!("stopped")), ("ssh", json!(null))]);
    assert!(run.stderr.contains("`web` is not running"), "{run:#?}");
    assert!(
        run.stderr.ends_with("hint: banger vm start web\n"),
        "{run:#?}"
    );
}

#[test]
fn a_rescue_is_reported_with_the_command_for_its_console() {
    let run = refused(&[], &[("rescue", json!(true)), ("ssh", json!(null))]);
    assert!(
        run.stderr
            .contains("`web` is running in rescue, without SSH"),
        "{run:#?}"
    );
    assert!(
        run.stderr
            .contains("hint: read its console: banger vm logs web\n"),
        "{run:#?}"
    );
}

#[test]
fn a_simulated_vm_is_never_connected_to() {
    // Even if its daemon reports an address and a key.
    let run = refused(&[("mode", json!("sim"))], &[]);
    assert!(run.stderr.contains("`web` is simulated"), "{run:#?}");

    let environment = TestEnvironment::new();
    put_stand_in(&environment);
    let run = environment.done(&["vm", "create", "--name", "web"]);
    assert!(!run.stdout.contains("vm ssh"), "{run:#?}");
    let run = environment.run(&["vm", "ssh", "web", "--", "true"]);
    assert_eq!(run.status, 255, "{run:#?}");
    assert!(run.stderr.contains("`web` is simulated"), "{run:#?}");
    assert!(!environment.path("argv").exists(), "ssh was started");
    let shown = environment.json(&["vm", "show", "web"]);
    assert_eq!(shown["ssh"], json!(null));
}

#[test]
fn a_missing_ssh_is_reported() {
    let environment = with_stand_in();
    std::fs::remove_file(environment.path("bin/ssh")).unwrap();
    let mut command = environment.command(&["vm", "ssh", "web"]);
    let run = Run::of(
        command
            .env("PATH", environment.path("bin"))
            .output()
            .unwrap(),
    );
    assert_eq!(run.status, 255);
    assert!(
        run.stderr
            .contains("hint: sudo apt-get install openssh-client"),
        "{run:#?}"
    );
}
