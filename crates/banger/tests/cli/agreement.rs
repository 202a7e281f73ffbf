//! The user's paths, and the daemon that answers.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::environment::{Run, TestEnvironment};
use crate::fake_daemon;

/// Runs it with these variables.
fn run(environment: &TestEnvironment, variables: &[(&str, &Path)], arguments: &[&str]) -> Run {
    let mut command = environment.command(arguments);
    Run::of(command.envs(variables.iter().copied()).output().unwrap())
}

/// An environment with a daemon and a VM, which verbs would affect.
fn with_vm() -> TestEnvironment {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "--name", "web"]);
    environment
}

/// Requests of every kind to the daemon.
const VERBS: [&[&str]; 7] = [
    &["vm", "list"],
    &["vm", "show", "web"],
    &["vm", "create", "--name", "api"],
    &["vm", "delete", "--force", "web"],
    &["vm", "ssh", "web", "--", "true"],
    &["doctor"],
    &["daemon", "start"],
];

fn is_refused(run: &Run, what: &str, wanted: &Path) {
    // `vm ssh` fails with 255.
    assert!([1, 255].contains(&run.status), "{run:#?}");
    assert_eq!(run.stdout, "", "{run:#?}");
    assert!(
        run.stderr.starts_with(&format!(
            "error: the running daemon uses a different {what}\n"
        )),
        "{run:#?}"
    );
    let wanted = format!("you asked for `{}`", wanted.display());
    assert!(run.stderr.contains(&wanted), "{run:#?}");
    assert!(run.stderr.contains("hint: "), "{run:#?}");
}

#[test]
fn a_state_directory_that_is_not_the_daemons_is_refused_and_nothing_is_done() {
    let environment = with_vm();
    let (socket, other) = (environment.socket(), environment.path("other"));
    let other_text = other.to_str().unwrap();
    for verb in VERBS
        .into_iter()
        .chain([&["daemon", "status"][..], &["daemon", "stop"]])
    {
        let by_variables = [("BANGER_SOCKET", &*socket), ("BANGER_STATE", &*other)];
        is_refused(
            &run(&environment, &by_variables, verb),
            "state directory",
            &other,
        );
        let by_option = [verb, &["--state", other_text][..]].concat();
        let (verb, command) = by_option.split_at(verb.len());
        let words = [command, verb].concat();
        let by_socket = [("BANGER_SOCKET", &*socket)];
        is_refused(
            &run(&environment, &by_socket, &words),
            "state directory",
            &other,
        );
    }
    assert!(!other.exists());
    let vms = environment.json(&["vm", "list"]);
    assert_eq!(
        (vms[0]["name"].as_str(), vms.as_array().unwrap().len()),
        (Some("web"), 1)
    );
}

#[test]
fn another_home_under_the_same_runtime_directory_is_refused() {
    let environment = TestEnvironment::new();
    let runtime = environment.path("run");
    let here = [("XDG_RUNTIME_DIR", &*runtime)];
    let started = run(&environment, &here, &["vm", "create", "--name", "web"]);
    assert_eq!(started.status, 0, "{started:#?}");
    let other = environment.path("other");
    let elsewhere = [here[0], ("XDG_STATE_HOME", &*other)];
    let refused = run(
        &environment,
        &elsewhere,
        &["vm", "delete", "--force", "web"],
    );
    is_refused(&refused, "state directory", &other.join("banger"));
    let hint = format!("banger --state {}", environment.state().display());
    assert!(refused.stderr.contains(&hint), "{refused:#?}");
    let stopped = run(&environment, &here, &["daemon", "stop"]);
    assert_eq!(stopped.status, 0, "{stopped:#?}");
}

#[test]
fn a_configuration_or_a_bundle_that_is_not_the_daemons_is_refused_until_it_is_stopped() {
    for (what, option, variable) in [
        ("configuration", "--config", "BANGER_CONFIG"),
        ("bundle", "--bundle", "BANGER_RUNTIME_DIR"),
        ("bundle", "--bundle", "BANGER_BUNDLE"),
    ] {
        let environment = with_vm();
        let other = environment.path("other");
        for verb in VERBS.into_iter().chain([&["daemon", "status"][..]]) {
            is_refused(
                &run(&environment, &[(variable, &*other)], verb),
                what,
                &other,
            );
        }
        let by_option = ["vm", "list", option, other.to_str().unwrap()];
        let refused = environment.run(&by_option);
        is_refused(&refused, what, &other);
        assert!(
            refused.stderr.contains("banger daemon stop"),
            "{refused:#?}"
        );
        // The command of the hint works with the option still set.
        let with_option = [(variable, &*other)];
        let stopped = run(&environment, &with_option, &["daemon", "stop"]);
        assert_eq!(stopped.status, 0, "{stopped:#?}");
        let started = run(&environment, &with_option, &["daemon", "start", "--json"]);
        assert_eq!(started.status, 0, "{started:#?}");
        let field = if what == "bundle" { "bundle" } else { "config" };
        let view: serde_json::Value = serde_json::from_str(&started.stdout).unwrap();
        assert_eq!(view[field], other.to_str().unwrap());
    }
}

#[test]
fn one_place_in_another_spelling_is_no_contradiction() {
    let environment = TestEnvironment::new();
    let config = environment.path("config.toml");
    std::fs::write(&config, "vcpu = 3\n").unwrap();
    let state = environment.path("state");
    let first = [("BANGER_STATE", &*state), ("BANGER_CONFIG", &*config)];
    let created = run(&environment, &first, &["vm", "create", "--name", "web"]);
    assert_eq!(created.status, 0, "{created:#?}");
    symlink(&state, environment.path("link")).unwrap();
    symlink(&config, environment.path("link.toml")).unwrap();
    let socket = state.join("run/bangerd.sock");
    for (state, config) in [
        ("state/", "config.toml"),
        ("link", "link.toml"),
        ("./home/../state/.", "./home/../config.toml"),
    ] {
        let arguments = ["vm", "list", "--state", state, "--config", config, "--json"];
        for variables in [&[][..], &[("BANGER_SOCKET", &*socket)]] {
            let listed = run(&environment, variables, &arguments);
            assert_eq!(listed.status, 0, "{listed:#?}");
            assert!(listed.stdout.contains("\"web\""), "{listed:#?}");
        }
    }
    let stopped = run(&environment, &first, &["daemon", "stop"]);
    assert_eq!(stopped.status, 0, "{stopped:#?}");
}

#[test]
fn real_vms_are_not_taken_for_simulated_ones() {
    let environment = TestEnvironment::for_fake();
    let (daemon, web) = (
        fake_daemon::daemon(&environment),
        fake_daemon::web(&environment),
    );
    fake_daemon::listen(&environment, daemon, web);
    for verb in [
        &["vm", "delete", "--force", "web"][..],
        &["vm", "list"],
        &["daemon", "start"],
        &["daemon", "stop"],
    ] {
        let simulated = [("BANGER_SIM", Path::new("1"))];
        let refused = run(&environment, &simulated, verb);
        assert_eq!(
            (refused.status, refused.stdout.as_str()),
            (1, ""),
            "{refused:#?}"
        );
        assert!(
            refused
                .stderr
                .contains("are real, and you asked for simulated"),
            "{refused:#?}"
        );
    }
    let listed = environment.done(&["vm", "list"]);
    assert!(listed.stdout.contains("web"), "{listed:#?}");
}

#[test]
fn a_daemon_of_another_version_can_be_looked_at_and_stopped_and_nothing_else() {
    let environment = TestEnvironment::for_fake();
    let (socket, web) = (environment.path("s"), fake_daemon::web(&environment));
    fake_daemon::listen_on(
        &socket,
        banger_api::API_VERSION + 1,
        fake_daemon::daemon(&environment),
        web,
    );
    let run = |arguments: &[&str]| {
        let by_socket = [("BANGER_SOCKET", &*socket)];
        self::run(&environment, &by_socket, arguments)
    };
    let listed = run(&["vm", "list"]);
    assert_eq!(
        (listed.status, listed.stdout.as_str()),
        (1, ""),
        "{listed:#?}"
    );
    let theirs = format!("uses version {}", banger_api::API_VERSION + 1);
    assert!(listed.stderr.contains(&theirs), "{listed:#?}");
    assert!(listed.stderr.contains("banger daemon stop"), "{listed:#?}");
    assert_eq!(run(&["daemon", "status"]).status, 0);
    assert_eq!(
        run(&["daemon", "stop"]).stdout,
        "bangerd is stopped; one VM keeps running\n"
    );
}
