//! The daemon: started when needed, one of it, and never without need.

use std::os::unix::net::UnixListener;

use crate::environment::{Run, TestEnvironment};

#[test]
fn only_what_needs_the_daemon_starts_it() {
    let environment = TestEnvironment::new();
    let run = environment.run(&["daemon", "status"]);
    assert_eq!(run.status, 1);
    assert!(run.stderr.contains("no daemon answers"), "{run:#?}");
    assert!(run.stderr.contains("banger daemon start"), "{run:#?}");
    let run = environment.done(&["daemon", "stop"]);
    assert_eq!(
        (run.stdout.as_str(), run.stderr.as_str()),
        ("", "bangerd does not run\n")
    );
    let run = environment.done(&["daemon", "socket"]);
    assert_eq!(run.stdout, format!("{}\n", environment.socket().display()));
    environment.done(&["completion", "bash"]);
    environment.done(&["--help"]);
    assert_eq!(environment.daemons(), []);
    assert!(!environment.state().exists(), "nothing was made");
}

#[test]
fn the_daemon_starts_tells_how_it_is_and_is_gone_when_it_was_stopped() {
    let environment = TestEnvironment::new();
    let run = environment.done(&["daemon", "start"]);
    assert!(run.stdout.contains("in sim mode"), "{run:#?}");
    let view = environment.json(&["daemon", "status"]);
    assert_eq!(view["socket"], environment.socket().to_str().unwrap());
    assert_eq!(environment.daemons().len(), 1);
    let run = environment.done(&["daemon", "stop"]);
    assert_eq!(run.stdout, "bangerd is stopped\n");
    assert_eq!(environment.daemons(), [], "it is gone when `stop` returns");
}

#[test]
fn every_way_to_a_state_directory_leads_to_the_same_daemon_and_names() {
    let environment = TestEnvironment::new();
    let state = environment.path("state");
    std::fs::create_dir(&state).unwrap();
    std::os::unix::fs::symlink("state", environment.path("link")).unwrap();
    let shown = state.display();
    let ways = [
        format!("{shown}"),
        format!("{shown}/"),
        format!("{shown}/../state/."),
        environment.path("link").display().to_string(),
    ];
    for way in &ways {
        let view = environment.json(&["--state", way, "daemon", "start"]);
        assert_eq!(view["state"], shown.to_string(), "{way}");
        environment.done(&["--state", way, "vm", "list"]);
        environment.done(&["--state", &ways[0], "daemon", "stop"]);
    }
}

#[test]
fn many_clients_at_once_end_with_one_daemon() {
    let environment = TestEnvironment::new();
    let clients: Vec<_> = (0..8)
        .map(|_| environment.command(&["vm", "list"]).spawn().unwrap())
        .collect();
    for client in clients {
        let run = Run::of(client.wait_with_output().unwrap());
        assert_eq!(run.status, 0, "{run:#?}");
    }
    assert_eq!(environment.daemons().len(), 1);
}

#[test]
fn a_socket_that_nobody_listens_on_is_no_daemon() {
    let environment = TestEnvironment::new();
    std::fs::create_dir_all(environment.socket().parent().unwrap()).unwrap();
    drop(UnixListener::bind(environment.socket()).unwrap());
    assert_eq!(environment.run(&["daemon", "status"]).status, 1);
    environment.done(&["vm", "list"]);
}

#[test]
fn the_daemon_has_a_session_of_its_own() {
    let environment = TestEnvironment::new();
    environment.done(&["daemon", "start"]);
    let daemon = environment.daemons()[0];
    let session = rustix::process::getsid(Some(daemon)).unwrap();
    assert_eq!(session, daemon, "a closed terminal would end it");
}

#[test]
fn a_daemon_that_does_not_start_says_why() {
    let environment = TestEnvironment::new();
    let config = environment.path("config.toml");
    std::fs::write(&config, "natt = true\n").unwrap();
    let run = environment.run(&["vm", "list", "--config", config.to_str().unwrap()]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(
        run.stderr
            .starts_with("error: start the daemon\n  caused by: "),
        "{run:#?}"
    );
    assert!(run.stderr.contains("natt"), "{run:#?}");
    assert_eq!(run.stderr.matches("error: ").count(), 1, "{run:#?}");
}
