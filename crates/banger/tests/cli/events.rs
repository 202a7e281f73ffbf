//! `vm events`: past and current events.

use std::io::{BufRead as _, BufReader};

use serde_json::Value;

use crate::environment::TestEnvironment;

#[test]
fn events_begin_with_how_vms_stand_and_go_on_after_a_number() {
    let environment = TestEnvironment::new();
    for name in ["api", "web"] {
        environment.done(&["vm", "create", name]);
    }
    let run = environment.done(&["vm", "events"]);
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{run:#?}");
    assert!(lines[1].contains("  web  running at "), "{run:#?}");
    let first = environment.json(&["vm", "events", "web"]);
    assert_eq!(first["snapshot"]["vms"].as_array().unwrap().len(), 1);
    let seq = first["seq"].as_u64().unwrap().to_string();
    let since = |seq: &str| {
        environment
            .done(&["vm", "events", "--since", seq, "web"])
            .stdout
    };
    assert_eq!(since(&seq), "", "nothing has happened since");
    environment.done(&["vm", "stop", "--all"]);
    let text = since(&seq);
    for expected in [
        "  web  stop began\n",
        "  web  stopped\n",
        "  web  stop done in ",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("api"), "{text}");
    let text = since("1");
    assert!(text.contains("events were missed"), "{text}");
    let run = environment.run(&["vm", "events", "nobody"]);
    assert_eq!(run.status, 1, "{run:#?}");
}

#[test]
fn events_are_followed_until_the_daemon_stops() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "web"]);
    let mut command = environment.command(&["vm", "events", "-f", "--json"]);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut event = || -> Option<Value> {
        let line = lines.next()?.unwrap();
        Some(serde_json::from_str(&line).unwrap())
    };
    assert!(event().unwrap()["snapshot"].is_object());
    environment.done(&["vm", "stop", "web"]);
    let stopped = std::iter::from_fn(&mut event).find(|it| it["vm"]["phase"] == "stopped");
    assert!(stopped.is_some());
    environment.done(&["daemon", "stop"]);
    while event().is_some() {}
    assert!(child.wait().unwrap().success());
}
