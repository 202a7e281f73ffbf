//! Commands that a newcomer knows from other tools: they work, or the hint has the right one.

use serde_json::Value;

use crate::environment::TestEnvironment;

#[test]
fn a_verb_of_a_vm_needs_no_vm() {
    let environment = TestEnvironment::new();
    let run = environment.done(&["create", "web"]);
    assert!(run.stdout.starts_with("web is running"), "{run:#?}");
    for list in [
        &["list"][..],
        &["ls"],
        &["ps"],
        &["ps", "-a"],
        &["vm", "list", "--all"],
        &["vm", "ps"],
    ] {
        let run = environment.done(list);
        assert!(run.stdout.contains("\nweb   running"), "{list:?}: {run:#?}");
    }
    assert_eq!(
        environment.done(&["stop", "web"]).stdout,
        "web is stopped\n"
    );
    environment.done(&["start", "web"]);
    environment.done(&["restart", "web"]);
    assert_eq!(environment.json(&["show", "web"])["name"], "web");
    let run = environment.run(&["ssh", "web"]);
    assert!(run.stderr.contains("simulated"), "{run:#?}");
    for shell in [&["shell", "web"][..], &["vm", "shell", "web"]] {
        environment.done(shell);
    }
    assert_eq!(environment.done(&["exec", "web", "--", "x"]).stdout, "x\n");
    environment.done(&["stop", "--all"]);
    environment.done(&["start", "-a"]);
    environment.done(&["rm", "--force", "web"]);
}

#[test]
fn a_name_may_stand_alone_or_behind_n() {
    let environment = TestEnvironment::new();
    for (words, name) in [
        (&["vm", "create", "one"][..], "one"),
        (&["vm", "create", "-n", "two"], "two"),
        (&["vm", "create", "--name", "three"], "three"),
    ] {
        let made = environment.json(&[words, &["--no-start"]].concat());
        assert_eq!(made["name"], name);
    }
    let run = environment.run(&["vm", "create", "four", "--name", "five"]);
    assert_eq!(run.status, 2, "{run:#?}");
}

#[test]
fn quiet_gives_names_alone() {
    let environment = TestEnvironment::new();
    let run = environment.done(&["-q", "vm", "create", "web", "--no-start"]);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("web\n", ""));
    environment.done(&["vm", "create", "api", "--no-start"]);
    assert_eq!(environment.done(&["vm", "ls", "-q"]).stdout, "api\nweb\n");
}

#[test]
fn settings_are_changed_on_several_vms_at_once() {
    let environment = TestEnvironment::new();
    for name in ["web-1", "web-2"] {
        environment.done(&["vm", "create", name, "--no-start", "--no-nat"]);
    }
    let run = environment.run(&["vm", "set", "--nat", "web-1", "nobody", "web-2"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stderr.contains("nobody"), "{run:#?}");
    for name in ["web-1", "web-2"] {
        assert_eq!(environment.json(&["vm", "show", name])["spec"]["nat"], true);
    }
}

#[test]
fn what_cannot_work_says_what_to_type() {
    let environment = TestEnvironment::new();
    for (words, hint) in [
        (&["exec", "web", "ls"][..], "banger vm exec NAME -- COMMAND"),
        (&["ssh", "web", "ls"], "banger vm ssh NAME -- COMMAND"),
        (
            &["run", "web", "debian"],
            "banger vm run --rm --image IMAGE",
        ),
        (&["inspect", "web"], "banger vm show NAME"),
        (&["vm", "destroy", "web"], "banger vm delete NAME"),
        (&["vm", "scp", "file", "web:"], "banger vm cp FILE NAME:DIR"),
        (&["vm", "start", "--force", "web"], "banger vm kill NAME"),
        (&["create", "--mem", "4G"], "--memory 4G"),
        (&["create", "--cpus", "4"], "--vcpu 4"),
    ] {
        let run = environment.run(words);
        // `vm ssh` and `vm exec` leave all other statuses to the command.
        let is_of_a_command = ["ssh", "exec", "run"].contains(&words[0]);
        let wrong_usage = if is_of_a_command { 255 } else { 2 };
        assert_eq!(run.status, wrong_usage, "{words:?}: {run:#?}");
        let last = run.stderr.lines().last().unwrap();
        assert!(last.starts_with("hint: "), "{words:?}: {run:#?}");
        assert!(last.contains(hint), "{words:?}: {run:#?}");
        assert!(!run.stderr.contains("similar"), "{words:?}: {run:#?}");
    }
    let run = environment.run(&["ssh", "web", "ls", "--json"]);
    let error: Value = serde_json::from_str(&run.stderr).unwrap();
    assert!(error.to_string().contains("banger vm ssh NAME"), "{error}");
    let run = environment.run(&["nonsense"]);
    assert!(!run.stderr.contains("hint:"), "{run:#?}");
}

#[test]
fn no_words_at_all_are_answered_with_help() {
    let run = TestEnvironment::new().run(&[]);
    assert_eq!((run.status, run.stderr.as_str()), (0, ""));
    assert!(run.stdout.contains("Begin here:"), "{run:#?}");
}

#[test]
fn an_option_before_the_verb_gets_no_hint_of_that_verb() {
    let environment = TestEnvironment::new();
    let run = environment.run(&["--such", "vm", "ssh", "web"]);
    assert!(
        run.stderr.contains("unexpected argument '--such'"),
        "{run:#?}"
    );
    assert!(!run.stderr.contains("ssh_config"), "{run:#?}");
}
