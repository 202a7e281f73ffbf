//! The configuration: shown, set, edited, asked for once, and reloaded by a running daemon.

use std::path::PathBuf;

use serde_json::json;

use crate::environment::{Run, TestEnvironment, program};
use crate::typist::Typist;

fn file(environment: &TestEnvironment) -> PathBuf {
    environment.path("home/.config/banger/config.toml")
}

fn write(environment: &TestEnvironment, text: &str) {
    let file = file(environment);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

fn read(environment: &TestEnvironment) -> String {
    std::fs::read_to_string(file(environment)).unwrap()
}

fn with(environment: &TestEnvironment, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    let mut command = environment.command(arguments);
    Run::of(command.envs(variables.iter().copied()).output().unwrap())
}

#[test]
fn each_setting_says_where_it_comes_from() {
    let environment = TestEnvironment::new();
    write(&environment, "# mine\nmemory = \"4G\"\nvcpu = 3\n");
    let run = with(
        &environment,
        &[("BANGER_VCPU", "4")],
        &["config", "show", "--origin"],
    );
    assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{run:#?}");
    let line = |key: &str| {
        let begins = format!("{key} = ");
        let found = run.stdout.lines().find(|line| line.starts_with(&begins));
        let (value, origin) = found.unwrap().split_once(" # ").unwrap();
        (value.trim().to_owned(), origin.to_owned())
    };
    let place = format!("{}:2", file(&environment).display());
    assert_eq!(line("memory"), ("memory = \"4G\"".into(), place.clone()));
    assert_eq!(
        line("vcpu"),
        ("vcpu = 4".into(), "environment variable BANGER_VCPU".into())
    );
    assert_eq!(line("nat"), ("nat = false".into(), "default".into()));

    let settings = environment.json(&["config", "show"]);
    let memory = settings.as_array().unwrap().iter();
    let memory = memory.into_iter().find(|it| it["key"] == "memory").unwrap();
    let file = file(&environment).display().to_string();
    assert_eq!(
        *memory,
        json!({"key": "memory", "value": "4G", "origin": "file", "file": file, "line": 2})
    );
    assert_eq!(
        environment.done(&["config", "path"]).stdout,
        format!("{file}\n")
    );
    assert!(
        environment.daemons().is_empty(),
        "no daemon is needed for it"
    );
}

#[test]
fn config_show_reports_a_mistake_with_its_position() {
    let environment = TestEnvironment::new();
    write(&environment, "nat = true\nmemroy = 5\n");
    for arguments in [&["config", "show"][..], &["config", "set", "vcpu", "2"]] {
        let run = environment.run(arguments);
        assert_eq!((run.status, run.stdout.as_str()), (1, ""), "{run:#?}");
        assert!(run.stderr.contains("config.toml:2:1: "), "{run:#?}");
    }
    let run = with(&environment, &[("BANGER_NAT", "yes")], &["vm", "list"]);
    assert_eq!(run.status, 1, "{run:#?}");
    write(&environment, "");
    let run = with(&environment, &[("BANGER_NAT", "yes")], &["vm", "list"]);
    assert!(
        run.stderr
            .contains("environment variable BANGER_NAT: `nat` is \"yes\""),
        "{run:#?}"
    );
}

#[test]
fn a_setting_is_written_beside_what_is_there_and_taken_over_at_once() {
    let environment = TestEnvironment::new();
    write(&environment, "# mine\nvcpu = 3 # enough\n");
    environment.done(&["daemon", "start"]);
    let run = environment.done(&["config", "set", "memory", "1G"]);
    assert_eq!(run.stderr, "in force now: memory\n");
    environment.done(&["config", "set", "nat", "true"]);
    assert_eq!(
        read(&environment),
        "# mine\nvcpu = 3 # enough\nmemory = \"1G\"\nnat = true\n"
    );
    let vm = environment.json(&["vm", "create", "web", "--no-start"]);
    assert_eq!(vm["spec"]["memory_mib"], 1024, "{vm}");
    assert_eq!(vm["spec"]["nat"], true, "{vm}");

    let run = environment.done(&["config", "set", "subnet", "10.9.0.0/20"]);
    assert!(
        run.stderr
            .contains("subnet changes at the daemon's next start"),
        "{run:#?}"
    );
    let run = environment.done(&["config", "unset", "subnet"]);
    assert_eq!(run.stderr, "");
    let refused = environment.run(&["config", "set", "vcpu", "0"]);
    assert_eq!(refused.status, 1, "{refused:#?}");
    assert!(
        refused.stderr.contains("`vcpu` is 0; it takes "),
        "{refused:#?}"
    );

    write(&environment, "vcpu = 5\n");
    let run = environment.done(&["daemon", "reload"]);
    assert_eq!(run.stderr, "in force now: nat, vcpu, memory\n");
    let reloaded = environment.json(&["daemon", "reload"]);
    assert_eq!(reloaded, json!({"changed": [], "waiting": []}));
    write(&environment, "vcpu = 0\n");
    let run = environment.run(&["daemon", "reload"]);
    assert!(run.stderr.contains("config.toml:1:8: "), "{run:#?}");
    assert_eq!(
        environment.json(&["daemon", "status"])["running"],
        0,
        "it goes on"
    );
}

#[test]
fn a_variable_that_the_running_daemon_does_not_have_is_not_ignored() {
    let environment = TestEnvironment::new();
    let memory = [("BANGER_MEMORY", "1G")];
    let run = with(&environment, &memory, &["daemon", "start"]);
    assert!(run.stdout.contains("set by:  BANGER_MEMORY=1G"), "{run:#?}");
    let run = with(
        &environment,
        &memory,
        &["vm", "create", "web", "--no-start", "--json"],
    );
    assert!(run.stdout.contains("\"memory_mib\":1024"), "{run:#?}");
    let run = with(&environment, &[("BANGER_MEMORY", "2G")], &["vm", "list"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(
        run.stderr.contains("it has `1G`, yours is `2G`") && run.stderr.contains("daemon stop"),
        "{run:#?}"
    );
    // A user who sets nothing uses what the daemon has.
    environment.done(&["vm", "list"]);
}

#[test]
fn names_come_from_the_users_own_words() {
    let environment = TestEnvironment::new();
    let words = environment.path("words");
    std::fs::write(&words, "red\n").unwrap();
    environment.done(&["config", "set", "namegen_path", words.to_str().unwrap()]);
    let create = ["vm", "create", "--no-start", "--quiet"];
    assert_eq!(environment.done(&create).stdout, "red-red\n");
    let run = environment.run(&create);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(
        run.stderr.contains("the last candidate was `red-red`"),
        "{run:#?}"
    );
    environment.script("namer", "echo frodo");
    let program = environment.path("bin/namer");
    environment.done(&["config", "set", "namegen_path", program.to_str().unwrap()]);
    assert_eq!(environment.done(&create).stdout, "frodo\n");
}

#[test]
fn an_edit_is_checked_before_it_is_saved() {
    let environment = TestEnvironment::new();
    write(&environment, "vcpu = 2\n");
    environment.script("wrong", "echo 'vcpu = 0' > \"$1\"");
    environment.script("right", "sed -i s/0/4/ \"$1\"");
    let draft = file(&environment).with_extension("draft.toml");
    let run = with(&environment, &[("EDITOR", "wrong")], &["config", "edit"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stderr.contains("config.draft.toml:1:8: "), "{run:#?}");
    assert!(run.stderr.contains("the file is unchanged"), "{run:#?}");
    assert_eq!(read(&environment), "vcpu = 2\n");
    assert!(draft.exists());
    let variables = [("EDITOR", "wrong"), ("VISUAL", "right")];
    let run = with(&environment, &variables, &["config", "edit"]);
    assert_eq!(run.status, 0, "{run:#?}");
    assert!(
        run.stderr.contains("continuing with the saved draft"),
        "{run:#?}"
    );
    assert_eq!(read(&environment), "vcpu = 4\n");
    assert!(!draft.exists());
}

#[test]
fn an_edit_without_a_terminal_needs_an_editor_of_the_users_choice() {
    let environment = TestEnvironment::new();
    write(&environment, "vcpu = 2\n");
    let run = with(&environment, &[("EDITOR", "")], &["config", "edit"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stderr.contains("there is no terminal"), "{run:#?}");
    assert!(run.stderr.contains("banger config set"), "{run:#?}");
    assert!(!file(&environment).with_extension("draft.toml").exists());
}

#[test]
fn the_first_create_on_a_terminal_asks_once_for_nat() {
    let environment = TestEnvironment::new();
    write(&environment, "# mine\n");
    // The running daemon has read a file without the key.
    environment.done(&["daemon", "start"]);
    let banger = program().to_str().unwrap();
    let mut typist = Typist::new(&environment, &[banger, "vm", "create", "web", "--no-start"]);
    typist.sees("Shall new VMs have NAT? [y/n] ");
    typist.types("\r");
    typist.sees("[y/n] \r\nShall new VMs have NAT? [y/n] ");
    typist.types("y\r");
    assert_eq!(typist.ends(), Some(0), "{}", typist.seen);
    assert_eq!(read(&environment), "# mine\nnat = true\n");
    assert_eq!(
        environment.json(&["vm", "show", "web"])["spec"]["nat"],
        true
    );
    // The daemon has the setting, for every client.
    let vm = environment.json(&["vm", "create", "one", "--no-start"]);
    assert_eq!(vm["spec"]["nat"], true, "{vm}");
    let mut again = Typist::new(&environment, &[banger, "vm", "create", "two", "--no-start"]);
    assert_eq!(again.ends(), Some(0), "{}", again.seen);
    assert!(!again.seen.contains("NAT?"), "{}", again.seen);
}

#[test]
fn who_says_it_or_cannot_be_asked_is_not_asked() {
    let environment = TestEnvironment::new();
    let banger = program().to_str().unwrap();
    for (name, more) in [
        ("web", "--nat"),
        ("red", "--no-nat"),
        ("sun", "--quiet"),
        ("sky", "--json"),
    ] {
        let words = [banger, "vm", "create", name, "--no-start", more];
        let mut typist = Typist::new(&environment, &words);
        assert_eq!(typist.ends(), Some(0), "{}", typist.seen);
        assert!(!typist.seen.contains("NAT?"), "{more}: {}", typist.seen);
        let tells = typist.seen.contains("no network access");
        assert!(
            !tells || more == "--json",
            "who chose it is told: {}",
            typist.seen
        );
    }
    environment.done(&["vm", "create", "log", "--no-start"]);
    assert!(!file(&environment).exists(), "nothing is written down");
}

#[test]
fn an_answer_that_cannot_be_written_holds_for_the_vm() {
    let environment = TestEnvironment::new();
    let folder = environment.path("home/.config/banger");
    std::fs::create_dir_all(&folder).unwrap();
    // The file is empty, because no timer runs, and not even root can create a file beside it:
    // proc_pid_timers(5).
    std::os::unix::fs::symlink("/proc/self/timers", folder.join("config.toml")).unwrap();
    let banger = program().to_str().unwrap();
    let words = [banger, "vm", "create", "web", "--no-start"];
    let mut typist = Typist::new(&environment, &words);
    typist.sees("Shall new VMs have NAT? [y/n] ");
    typist.types("y\r");
    assert_eq!(typist.ends(), Some(0), "{}", typist.seen);
    assert!(
        typist.seen.contains("applies to this VM only"),
        "{}",
        typist.seen
    );
    assert_eq!(
        environment.json(&["vm", "show", "web"])["spec"]["nat"],
        true
    );
}
