//! One verb on several VMs: by name, by label, and on all of them.

use serde_json::{Value, json};

use crate::environment::TestEnvironment;
use crate::typist::Typist;

/// An environment with these VMs, stopped. Those whose names begin with `web` have the label
/// `team=web`.
fn with(names: &[&str]) -> TestEnvironment {
    let environment = TestEnvironment::new();
    for name in names {
        environment.done(&["vm", "create", name, "--no-start"]);
        if name.starts_with("web") {
            environment.done(&["vm", "set", name, "--label", "team=web"]);
        }
    }
    environment
}

/// The lines, sorted by the names of their VMs, because verbs end in any order.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// The phases of these VMs in `vm list`.
fn phases(environment: &TestEnvironment) -> Vec<(String, String)> {
    let vms = environment.json(&["vm", "list"]);
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    let vms = vms.as_array().unwrap().iter();
    vms.map(|vm| (text(&vm["name"]), text(&vm["phase"])))
        .collect()
}

#[test]
fn one_that_fails_keeps_none_from_its_turn_and_all_that_failed_are_counted() {
    let environment = with(&["mail", "web"]);
    environment.done(&["vm", "start", "--all"]);
    let run = environment.run(&["vm", "stop", "web", "nobody", "mail", "web"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert_eq!(
        sorted(&run.stdout),
        ["mail is stopped", "web is stopped"],
        "{run:#?}"
    );
    assert!(run.stderr.contains("no VM"), "{run:#?}");
    assert!(
        run.stderr.ends_with("error: 1 of 3 VMs failed: nobody\n"),
        "{run:#?}"
    );
    environment.done(&["vm", "delete", "web", "mail", "web"]);
    assert_eq!(environment.json(&["vm", "list"]), json!([]));
}

#[test]
fn labels_select_vms() {
    let environment = with(&["mail", "web-1", "web-2"]);
    let run = environment.done(&["vm", "start", "-l", "team=web", "--parallel", "1"]);
    let lines = sorted(&run.stdout);
    assert_eq!(lines.len(), 2, "{run:#?}");
    assert!(
        run.stderr.contains(
            "note: web-1, web-2: it has no network access beyond this host: banger vm set NAME --nat\n"
        ),
        "{run:#?}"
    );
    assert!(lines[0].starts_with("web-1 is running at "), "{run:#?}");
    let stopped = |name: &str| (name.to_owned(), "stopped".to_owned());
    let running = |name: &str| (name.to_owned(), "running".to_owned());
    assert_eq!(
        phases(&environment),
        [stopped("mail"), running("web-1"), running("web-2")]
    );
    environment.done(&["vm", "set", "--label", "keep=1", "web-2"]);
    environment.done(&["vm", "restart", "-l", "team", "-l", "!keep"]);
    environment.done(&["vm", "stop", "-l", "team=web", "-l", "keep!=1"]);
    assert_eq!(
        phases(&environment),
        [stopped("mail"), stopped("web-1"), running("web-2")]
    );
    let run = environment.done(&["vm", "stop", "-l", "team=api"]);
    assert_eq!(run.stdout, "no VM with `team=api` is running\n");
    environment.done(&["vm", "set", "--memory", "1G", "-l", "!team"]);
    assert_eq!(
        environment.json(&["vm", "show", "mail"])["spec"]["memory_mib"],
        1024
    );
    for wrong in [
        &["vm", "stop", "-l", "Team"][..],
        &["vm", "stop", "web-1", "-l", "team"],
        &["vm", "stop", "--all", "-l", "team"],
        &["vm", "stop", "web-1", "--parallel", "0"],
        &["vm", "start"],
    ] {
        assert_eq!(environment.run(wrong).status, 2, "{wrong:?}");
    }
}

#[test]
fn with_all_a_verb_is_done_to_those_that_it_is_of_use_to() {
    let environment = with(&["api", "mail", "web"]);
    environment.done(&["vm", "start", "mail"]);
    let run = environment.done(&["-q", "vm", "start", "--all"]);
    assert_eq!(sorted(&run.stdout), ["api", "web"]);
    assert_eq!(
        environment.done(&["vm", "start", "--all"]).stdout,
        "no VM is stopped\n"
    );
    environment.done(&["vm", "stop", "mail"]);
    let run = environment.done(&["-q", "vm", "restart", "--all"]);
    assert_eq!(sorted(&run.stdout), ["api", "web"]);
    let run = environment.run(&["vm", "stop", "all"]);
    assert!(run.stderr.contains("hint: for all VMs: --all"), "{run:#?}");
}

#[test]
fn many_starts_wait_their_turn() {
    let environment = TestEnvironment::new();
    let names: Vec<_> = (0..40).map(|it| format!("vm-{it:02}")).collect();
    for name in &names {
        environment.done(&["vm", "create", name, "--no-start"]);
    }
    let outcomes = environment.json(&["vm", "start", "--all", "--parallel", "64"]);
    let outcomes = outcomes.as_array().unwrap().iter();
    let started: Vec<_> = outcomes
        .map(|it| {
            assert_eq!(it["phase"], "running", "{it}");
            it["name"].as_str().unwrap()
        })
        .collect();
    assert_eq!(started, names, "in the order of the list");
}

#[test]
fn programs_get_one_list_of_outcomes_whichever_vms_it_is_of() {
    let environment = with(&["api", "web"]);
    for which in [&["api"][..], &["api", "web"], &["--all"]] {
        environment.done(&["vm", "start", "api", "web"]);
        let stopped = environment.json(&[&["vm", "stop"], which].concat());
        for outcome in stopped.as_array().unwrap() {
            assert_eq!(outcome["phase"], "stopped", "{outcome}");
            assert_eq!(outcome["synced"], true, "{outcome}");
            assert!(outcome["name"].is_string() && outcome["by"].is_string());
        }
    }
    environment.done(&["vm", "stop", "--all"]);
    assert_eq!(environment.json(&["vm", "stop", "--all"]), json!([]));
    assert_eq!(environment.json(&["vm", "kill", "--all"]), json!([]));
    let run = environment.run(&["vm", "start", "api", "nobody", "--json"]);
    assert_eq!(run.status, 1, "{run:#?}");
    let outcomes: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        (&outcomes[0]["phase"], &outcomes[0]["already"]),
        (&json!("running"), &json!(false))
    );
    assert_eq!(
        (&outcomes[1]["name"], &outcomes[1]["error"]["code"]),
        (&json!("nobody"), &json!("not-found"))
    );
    let error: Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(error["message"], "1 of 2 VMs failed: nobody");
}

#[test]
fn what_is_lost_for_good_is_asked_for_or_agreed_to_beforehand() {
    let environment = with(&["api", "web"]);
    environment.done(&["vm", "start", "api"]);
    for words in [&["vm", "delete", "--all"][..], &["vm", "kill", "-a"]] {
        let run = environment.run(words);
        assert_eq!(run.status, 1, "{run:#?}");
        assert!(run.stderr.contains("--yes"), "{run:#?}");
    }
    assert_eq!(phases(&environment)[0].1, "running");
    environment.done(&["vm", "kill", "--all", "--yes"]);
    assert_eq!(phases(&environment)[0].1, "stopped");
    environment.done(&["vm", "delete", "--all", "--yes"]);
    assert_eq!(phases(&environment), []);
}

#[test]
fn a_person_is_asked_before_a_vm_is_deleted() {
    let environment = with(&["api", "web"]);
    let banger = crate::environment::program().display().to_string();
    let mut typist = Typist::new(&environment, &[&banger, "vm", "delete", "--all"]);
    typist.sees("delete 2 VMs: api, web? (and all its files, permanently) [y/N] ");
    typist.types("\r");
    typist.sees("nothing is done");
    assert_eq!(phases(&environment).len(), 2);
    let mut typist = Typist::new(&environment, &[&banger, "vm", "rm", "web"]);
    typist.sees("delete web? (and all its files, permanently) [y/N] ");
    typist.types("y\r");
    typist.sees("web is deleted");
    assert_eq!(phases(&environment).len(), 1);
}

#[test]
fn a_terminal_has_a_line_for_each_vm_and_then_its_outcome() {
    let environment = with(&["api", "mail", "web"]);
    let banger = crate::environment::program().display().to_string();
    let mut typist = Typist::new(&environment, &[&banger, "vm", "start", "--all"]);
    for name in ["api", "mail", "web"] {
        typist.sees(&format!("{name} is running at "));
    }
}

#[test]
fn all_vms_are_stopped_at_once_and_no_name_is_wrong_usage() {
    let environment = TestEnvironment::new();
    assert_eq!(
        environment.done(&["vm", "stop", "--all"]).stdout,
        "no VM is running\n"
    );
    for name in ["web", "api"] {
        environment.done(&["vm", "create", "--name", name]);
    }
    let run = environment.run(&["vm", "stop"]);
    assert_eq!(run.status, 2, "{run:#?}");
    assert!(run.stderr.contains("--all"), "{run:#?}");
    let run = environment.run(&["vm", "stop", "--all", "web"]);
    assert_eq!(run.status, 2, "{run:#?}");
    let run = environment.done(&["vm", "stop", "--all", "--timeout", "20"]);
    assert_eq!(run.stdout, "api is stopped\nweb is stopped\n");
}

#[test]
fn with_their_host_vms_are_stopped_only_when_it_goes_down() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "--name", "web"]);
    let stop = ["vm", "stop", "--all", "--host-shutdown"];
    environment.script("systemctl", "echo running");
    let run = environment.done(&stop);
    assert!(run.stderr.contains("VMs keep running"), "{run:#?}");
    assert_eq!(environment.json(&["vm", "show", "web"])["phase"], "running");
    environment.script("systemctl", "echo stopping");
    assert_eq!(environment.done(&stop).stdout, "web is stopped\n");
    let end = &environment.json(&["vm", "show", "web"])["last_end"];
    assert_eq!(end["detail"], "the host shut down");
}
