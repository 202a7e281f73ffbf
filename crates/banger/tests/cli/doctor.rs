//! `doctor --fix`: the commands of the hints, run after a question.

use crate::environment::{TestEnvironment, program};
use crate::typist::Typist;

fn write(environment: &TestEnvironment, text: &str) {
    let folder = environment.path("home/.config/banger");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.toml"), text).unwrap();
}

#[test]
fn what_a_command_fixes_is_fixed_and_the_report_is_of_afterwards() {
    let environment = TestEnvironment::new();
    environment.done(&["daemon", "start"]);
    write(&environment, "vcpu = 3\n");
    let run = environment.done(&["doctor"]);
    assert!(
        run.stdout
            .contains("1 of them can be fixed by: banger doctor --fix"),
        "{run:#?}"
    );
    let report = environment.json(&["doctor"]);
    let checks = report["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|it| it["name"] == "configuration")
        .unwrap();
    assert_eq!(
        check["fix"]["command"],
        serde_json::json!(["banger", "daemon", "reload"])
    );
    assert_eq!(check["fix"]["root"], false);

    let run = environment.run(&["doctor", "--fix"]);
    assert_eq!((run.status, run.stdout.as_str()), (1, ""), "{run:#?}");
    assert!(run.stderr.contains("banger doctor --fix --yes"), "{run:#?}");

    let run = environment.done(&["doctor", "--fix", "--yes"]);
    assert!(run.stderr.contains("daemon reload\n"), "{run:#?}");
    assert!(run.stdout.contains("pass configuration"), "{run:#?}");
    let vm = environment.json(&["vm", "create", "web", "--no-start"]);
    assert_eq!(vm["spec"]["vcpu"], 3, "{vm}");

    // The daemon cannot change this while it runs, so a new one replaces it.
    write(&environment, "vcpu = 3\nsubnet = \"10.9.0.0/20\"\n");
    let before = environment.json(&["daemon", "status"])["pid"].clone();
    let run = environment.done(&["doctor", "--fix", "--yes"]);
    assert!(run.stdout.contains("pass configuration"), "{run:#?}");
    assert_ne!(environment.json(&["daemon", "status"])["pid"], before);
}

#[test]
fn each_command_is_asked_for_on_a_terminal() {
    let environment = TestEnvironment::new();
    environment.done(&["daemon", "start"]);
    write(&environment, "vcpu = 3\n");
    let banger = program().to_str().unwrap();
    for (answer, verdict) in [("n", "! configuration"), ("y", "✓ configuration")] {
        let mut typist = Typist::new(&environment, &[banger, "doctor", "--fix"]);
        typist.sees("to reload the configuration: ");
        typist.sees("Run it? [y/n] ");
        typist.types(&format!("{answer}\r"));
        assert_eq!(typist.ends(), Some(0), "{}", typist.seen);
        let plain = typist
            .seen
            .replace("\u{1b}[33m", "")
            .replace("\u{1b}[32m", "");
        let plain = plain.replace("\u{1b}[0m", "");
        assert!(plain.contains(verdict), "{plain}");
    }
}

#[test]
fn what_no_command_fixes_is_named_with_its_hint() {
    let environment = TestEnvironment::new();
    environment.done(&["daemon", "start"]);
    write(&environment, "vcpu = 0\n");
    let run = environment.run(&["doctor", "--fix"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(
        run.stderr.contains("configuration: no command fixes it"),
        "{run:#?}"
    );
    assert!(run.stdout.contains("fail configuration"), "{run:#?}");
}
