//! Rejected requests: their messages, and no side effects.

use serde_json::{Value, json};

use crate::environment::{Run, TestEnvironment};

#[test]
fn wrong_usage_ends_with_2_before_anything_is_done() {
    let environment = TestEnvironment::new();
    for (arguments, words) in [
        (
            &["vm", "create", "--name", "Not_A_Label"][..],
            "is not a VM name",
        ),
        (
            &["vm", "create", "--memory", "0"],
            "is not a size: it is zero",
        ),
        (&["vm", "create", "--disk-size", "-5"], "is not a size"),
        (&["vm", "create", "--disk-size", "1e9"], "is not a size"),
        (&["vm", "create", "--vcpu", "0"], "--vcpu"),
        (&["vm", "stop", "web", "--timeout", "-1"], "--timeout"),
        (&["vm", "show", "../etc"], "names no VM"),
        (
            &["vm", "kill", "web", "--signal", "SEGV"],
            "is not a signal",
        ),
        (&["vm", "list", "Extra"], "lower-case letters"),
    ] {
        let run = environment.run(arguments);
        assert_eq!(
            (run.status, run.stdout.as_str()),
            (2, ""),
            "{arguments:?}: {run:#?}"
        );
        assert!(run.stderr.contains(words), "{arguments:?}: {run:#?}");
    }
    assert!(!environment.state().exists());
}

#[test]
fn an_error_is_one_json_object_on_standard_error_when_json_is_asked_for() {
    let environment = TestEnvironment::new();
    let run = environment.run(&["vm", "show", "nobody", "--json"]);
    assert_eq!((run.status, run.stdout.as_str()), (1, ""));
    let error: Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(error["code"], "not-found");

    let run = environment.run(&["vm", "create", "--json", "--memory", "0"]);
    assert_eq!(run.status, 2);
    let error: Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(error["code"], "invalid");

    for (arguments, message, hint) in [
        (
            &["vm", "show"][..],
            "the following required arguments",
            "usage: banger vm show",
        ),
        (
            &["vm", "stopp"],
            "unrecognized subcommand 'stopp'",
            "a similar subcommand exists: 'stop'",
        ),
        (&["vm"], "a command is missing", "usage: banger vm"),
        (
            &["vm", "ssh", "web", "-v"],
            "unexpected argument '-v'",
            "-o LogLevel=DEBUG",
        ),
    ] {
        let run = environment.run(&[&["--json"], arguments].concat());
        let error: Value = serde_json::from_str(&run.stderr).unwrap();
        assert_eq!(error["code"], "invalid", "{run:#?}");
        let text = error["message"].as_str().unwrap();
        assert!(text.starts_with(message), "{run:#?}");
        assert!(
            !text.contains("Usage") && !run.stderr.contains("try '--help'"),
            "{run:#?}"
        );
        assert!(error["hints"].to_string().contains(hint), "{run:#?}");
    }
}

#[test]
fn every_command_answers_in_json_when_it_is_asked_for() {
    let environment = TestEnvironment::new();
    let version = environment.json(&["--version"]);
    assert_eq!(version["api"], banger_api::API_VERSION);
    assert_eq!(
        environment.json(&["daemon", "stop"]),
        json!({ "already": true })
    );
    let started = environment.json(&["daemon", "start"]);
    let ended = environment.json(&["daemon", "stop"]);
    assert_eq!(
        (&ended["pid"], &ended["already"]),
        (&started["pid"], &json!(false))
    );
    let run = environment.run(&["bundle", "build", "--json", "--suite", "no such suite"]);
    assert_eq!((run.status, run.stdout.as_str()), (1, ""), "{run:#?}");
    let error: Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(error["message"], "build the bundle");
}

#[test]
fn an_unknown_vm_is_reported() {
    let environment = TestEnvironment::new();
    for verb in [
        "show", "start", "stop", "restart", "kill", "delete", "ssh", "logs",
    ] {
        let run = environment.run(&["vm", verb, "nobody"]);
        let failed = if verb == "ssh" { 255 } else { 1 };
        assert_eq!(
            (run.status, run.stdout.as_str()),
            (failed, ""),
            "{verb}: {run:#?}"
        );
        assert!(run.stderr.starts_with("error: "), "{verb}: {run:#?}");
        assert!(run.stderr.contains("`nobody`"), "{verb}: {run:#?}");
    }
}

#[test]
fn of_ten_creates_of_one_name_one_wins() {
    let environment = TestEnvironment::new();
    environment.done(&["daemon", "start"]);
    let arguments = ["vm", "create", "--name", "same", "--no-start"];
    let clients: Vec<_> = (0..10)
        .map(|_| environment.command(&arguments).spawn().unwrap())
        .collect();
    let runs: Vec<_> = clients
        .into_iter()
        .map(|it| Run::of(it.wait_with_output().unwrap()))
        .collect();
    assert_eq!(
        runs.iter().filter(|run| run.status == 0).count(),
        1,
        "{runs:#?}"
    );
    assert!(
        runs.iter()
            .all(|run| run.status == 0 || run.stderr.contains("`same`")),
        "{runs:#?}"
    );
    assert_eq!(
        environment.json(&["vm", "list"]).as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn a_name_that_is_taken_or_an_unknown_image_makes_nothing() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "--name", "web", "--no-start"]);
    for arguments in [
        &["vm", "create", "--name", "web"][..],
        &[
            "vm",
            "create",
            "--name",
            "mail",
            "--image",
            "nothing-like-it",
        ],
        &["vm", "create", "--name", "mail", "--memory", "60T"],
    ] {
        let run = environment.run(arguments);
        assert_eq!(run.status, 1, "{arguments:?}: {run:#?}");
    }
    let list = environment.json(&["vm", "list"]);
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
}

#[test]
fn a_socket_path_that_is_too_long_is_refused_before_anything_is_made() {
    let environment = TestEnvironment::new();
    let state = environment.path(&"long/".repeat(30));
    for verb in [&["vm", "list"][..], &["daemon", "status"], &["doctor"]] {
        let run = Run::of(
            environment
                .command(verb)
                .env("BANGER_STATE", &state)
                .output()
                .unwrap(),
        );
        assert_eq!(run.status, 1, "{run:#?}");
        assert!(run.stderr.contains("107"), "{run:#?}");
        assert!(
            run.stderr
                .ends_with("hint: set BANGER_SOCKET to a shorter path\n"),
            "{run:#?}"
        );
    }
    assert!(!environment.path("long").exists());
    let short = environment.path("s");
    let mut command = environment.command(&["daemon", "socket", "--json"]);
    command
        .env("BANGER_STATE", &state)
        .env("BANGER_SOCKET", &short);
    let run = Run::of(command.output().unwrap());
    assert_eq!(
        serde_json::from_str::<Value>(&run.stdout).unwrap(),
        json!({ "socket": short })
    );
}

#[test]
fn a_state_directory_of_any_spelling_works_and_an_unwritable_one_is_reported() {
    let environment = TestEnvironment::new();
    for name in [
        "a b",
        "it's \"mine\"",
        "größe 日本 🦦",
        "100%",
        "$HOME;x",
        "-x",
    ] {
        let state = environment.path(name);
        let with = |arguments: &[&str]| {
            let mut command = environment.command(arguments);
            Run::of(command.env("BANGER_STATE", &state).output().unwrap())
        };
        let run = with(&["vm", "create", "--name", "web"]);
        assert_eq!(run.status, 0, "{name}: {run:#?}");
        let run = with(&["vm", "list"]);
        assert!(run.stdout.contains("web"), "{name}: {run:#?}");
        assert_eq!(with(&["daemon", "stop"]).status, 0);
    }
    // A file in place of a folder acts like a read-only file system, and stops even root.
    let file = environment.path("file");
    std::fs::write(&file, "").unwrap();
    let mut command = environment.command(&["vm", "list"]);
    command.env("BANGER_STATE", file.join("state"));
    let run = Run::of(command.output().unwrap());
    assert_eq!((run.status, run.stdout.as_str()), (1, ""), "{run:#?}");
    assert!(
        run.stderr
            .contains("hint: choose another: banger --state DIR"),
        "{run:#?}"
    );
}

#[test]
fn the_console_of_a_vm_that_was_never_started_is_said_to_be_empty() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "--name", "web", "--no-start"]);
    let run = environment.done(&["vm", "logs", "web"]);
    assert_eq!(run.stdout, "");
    assert!(
        run.stderr.contains("note: the console is empty"),
        "{run:#?}"
    );
    let run = environment.done(&["vm", "logs", "web", "--json"]);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
}
