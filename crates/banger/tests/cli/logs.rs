//! The daemon's log for people and programs, and the ids that connect it to requests and events.

use std::io::{BufRead as _, BufReader};

use banger_api::Change;
use banger_api::client::Client;
use serde_json::Value;

use crate::environment::TestEnvironment;

fn lines(environment: &TestEnvironment, more: &[&str]) -> Vec<Value> {
    let arguments = [&["daemon", "logs", "--json"], more].concat();
    let run = environment.done(&arguments);
    let lines = run.stdout.lines();
    lines.map(|it| serde_json::from_str(it).unwrap()).collect()
}

#[test]
fn an_operation_has_one_id_in_the_log_and_in_the_events() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "web", "--no-start"]);
    let client = Client::new(environment.socket()).unwrap();
    let mut events = client.events(None).unwrap();
    let snapshot = events.next().unwrap().unwrap();
    assert!(matches!(snapshot.change, Change::Snapshot(_)));
    environment.done(&["vm", "start", "web"]);
    let request = loop {
        let event = events.next().unwrap().unwrap();
        if let Change::Operation(operation) = event.change {
            break operation.request.unwrap();
        }
    };
    let found = lines(&environment, &["--request", &request]);
    let done = found.iter().find(|it| it["message"] == "done").unwrap();
    assert_eq!(
        (&done["verb"], &done["vm"]),
        (&"start".into(), &"web".into()),
        "{done}"
    );
    assert!(done["seconds"].is_f64(), "{done}");
    assert!(
        found
            .iter()
            .any(|it| it["message"] == "the hypervisor runs"),
        "{found:?}"
    );
    assert!(
        found.iter().all(|it| it["span"]["id"] == *request),
        "{found:?}"
    );
}

#[test]
fn the_log_is_chosen_by_vm_level_and_time_with_and_without_a_daemon() {
    let environment = TestEnvironment::new();
    for name in ["web", "sql"] {
        environment.done(&["vm", "create", name, "--no-start"]);
    }
    assert_eq!(environment.run(&["vm", "create", "web"]).status, 1);
    environment.done(&["daemon", "stop"]);
    let messages = |more: &[&str]| -> Vec<String> {
        let found = lines(&environment, more);
        found
            .iter()
            .map(|it| it["message"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(messages(&["--vm", "sql"]), ["done"]);
    assert!(messages(&["--level", "warn"]).contains(&"refused".to_owned()));
    assert_eq!(messages(&["--level", "error"]), [] as [&str; 0]);
    assert!(messages(&["--since", "1h"]).contains(&"ready".to_owned()));
    assert_eq!(messages(&["--since", "2100-01-01"]), [] as [&str; 0]);
    let text = environment.done(&["daemon", "logs", "--vm", "sql"]).stdout;
    assert!(
        text.contains(" info  sql: done seconds=") && text.contains(" verb=create ["),
        "{text}"
    );
    let run = environment.run(&["daemon", "logs", "--since", "yesterday"]);
    assert_eq!(run.status, 2, "{run:#?}");
    assert!(
        environment.daemons().is_empty(),
        "no daemon is started for it"
    );
}

#[test]
fn the_level_changes_under_a_running_daemon() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "web", "--no-start"]);
    let steps = || {
        let found = lines(&environment, &["--vm", "web", "--level", "debug"]);
        found.iter().filter(|it| it["message"] == "step").count()
    };
    assert_eq!(steps(), 0);
    assert_eq!(environment.done(&["daemon", "log-level"]).stdout, "info\n");
    assert_eq!(
        environment.done(&["daemon", "log-level", "debug"]).stdout,
        "debug\n"
    );
    environment.done(&["vm", "start", "web"]);
    let seen = steps();
    assert!(seen > 5, "{seen}");
    environment.done(&["daemon", "log-level", "error"]);
    environment.done(&["vm", "stop", "web"]);
    assert_eq!(steps(), seen);
    let view = environment.json(&["daemon", "status"]);
    assert_eq!(view["log_level"], "error");
    environment.done(&["daemon", "reload"]);
    assert_eq!(environment.done(&["daemon", "log-level"]).stdout, "info\n");
    assert_eq!(environment.run(&["daemon", "log-level", "trace"]).status, 2);
}

#[test]
fn the_log_is_followed_as_it_grows() {
    let environment = TestEnvironment::new();
    environment.done(&["daemon", "start"]);
    let mut follower = environment
        .command(&["daemon", "logs", "-f", "--vm", "web"])
        .spawn()
        .unwrap();
    environment.done(&["vm", "create", "web", "--no-start"]);
    let mut first = String::new();
    let mut out = BufReader::new(follower.stdout.take().unwrap());
    out.read_line(&mut first).unwrap();
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert!(first.contains("web: done"), "{first}");
}

#[test]
fn no_secret_is_in_the_log() {
    let environment = TestEnvironment::new();
    environment.done(&["daemon", "start"]);
    environment.done(&["daemon", "log-level", "debug"]);
    environment.done(&["vm", "create", "web"]);
    let log = std::fs::read_to_string(environment.state().join("bangerd.log")).unwrap();
    for folder in std::fs::read_dir(environment.state().join("vms"))
        .into_iter()
        .flatten()
    {
        let record = folder.unwrap().path().join("vm.json");
        let record: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
        let key = record["host_key"]["private"].as_str().unwrap();
        let secret = key.lines().nth(1).unwrap();
        assert!(!log.contains(secret));
    }
    assert!(!log.contains("PRIVATE KEY"));
}
