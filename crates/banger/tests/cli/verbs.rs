//! The verbs, from create to delete.

use serde_json::json;

use crate::environment::TestEnvironment;

#[test]
fn a_vm_is_made_used_stopped_started_and_deleted() {
    let environment = TestEnvironment::new();
    let run = environment.done(&["vm", "create", "--name", "calm-otter", "--memory", "1G"]);
    assert!(run.stdout.starts_with("calm-otter is running"), "{run:#?}");
    assert!(run.stdout.contains("banger vm show calm-otter"), "{run:#?}");

    let run = environment.done(&["vm", "list"]);
    let lines: Vec<_> = run.stdout.lines().collect();
    assert!(
        lines[0].starts_with("NAME        PHASE    ADDRESS"),
        "{run:#?}"
    );
    assert!(lines[1].starts_with("calm-otter  running  "), "{run:#?}");
    assert_eq!(lines.len(), 2);

    let run = environment.done(&["vm", "show", "calm-otter"]);
    assert!(run.stdout.contains("\nmemory:      1G\n"), "{run:#?}");

    let run = environment.done(&["vm", "stop", "calm-otter"]);
    assert_eq!(run.stdout, "calm-otter is stopped\n");
    assert_eq!(
        environment.json(&["vm", "show", "calm-otter"])["phase"],
        "stopped"
    );

    let run = environment.done(&["vm", "start", "calm-otter"]);
    assert!(run.stdout.starts_with("calm-otter is running"), "{run:#?}");
    let run = environment.done(&["vm", "restart", "calm-otter"]);
    assert!(run.stdout.starts_with("calm-otter is running"), "{run:#?}");
    let run = environment.done(&["vm", "start", "calm-otter"]);
    assert!(
        run.stdout.starts_with("calm-otter is running already"),
        "{run:#?}"
    );
    let run = environment.done(&["vm", "kill", "calm-otter"]);
    assert_eq!(run.stdout, "calm-otter is stopped\n");
    for verb in ["kill", "stop"] {
        let run = environment.done(&["vm", verb, "calm-otter"]);
        assert_eq!(run.stdout, "calm-otter is stopped already\n");
    }

    let run = environment.done(&["vm", "rm", "calm-otter"]);
    assert_eq!(run.stdout, "calm-otter is deleted\n");
    let run = environment.done(&["vm", "ls"]);
    assert_eq!(run.stdout, "");
    assert_eq!(
        run.stderr,
        "there are no VMs yet; create one: banger vm create\n"
    );
}

#[test]
fn a_program_gets_json_and_nothing_else() {
    let environment = TestEnvironment::new();
    assert_eq!(environment.json(&["vm", "list"]), json!([]));
    let made = environment.json(&["vm", "create", "--name", "web", "--vcpu", "3", "--no-start"]);
    assert_eq!(
        (&made["name"], &made["spec"]["vcpu"], &made["phase"]),
        (&json!("web"), &json!(3), &json!("stopped"))
    );
    assert_eq!(environment.json(&["vm", "list"])[0]["id"], made["id"]);
    assert_eq!(
        environment.json(&["vm", "start", "web"])[0]["phase"],
        "running"
    );
    let stopped = &environment.json(&["vm", "stop", "web"])[0];
    assert_eq!(stopped["phase"], "stopped");
    assert_eq!(stopped["synced"], true);
    assert_eq!(environment.json(&["vm", "delete", "web"])[0]["name"], "web");
    assert!(environment.json(&["doctor"])["checks"].is_array());
}

#[test]
fn a_vm_is_renamed_while_it_runs_and_the_old_name_is_free() {
    let environment = TestEnvironment::new();
    let made = environment.json(&["vm", "create", "web"]);
    environment.done(&["vm", "create", "other", "--no-start"]);
    let run = environment.done(&["vm", "rename", "web", "api"]);
    assert_eq!(run.stdout, "web is now api\n");
    let shown = environment.json(&["vm", "show", "api"]);
    for key in ["id", "pid", "address", "phase"] {
        assert_eq!(shown[key], made[key], "{key}");
    }
    assert_eq!(shown["dns_name"], "api.vm");
    let run = environment.run(&["vm", "rename", "api", "other"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(
        run.stderr.contains("there is a VM `other` already"),
        "{run:#?}"
    );
    assert_eq!(environment.run(&["vm", "rename", "api", "A.b"]).status, 2);
    assert_eq!(environment.json(&["rename", "other", "web"])["name"], "web");
}

#[test]
fn a_vm_is_named_by_id_and_by_the_first_digits_of_it() {
    let environment = TestEnvironment::new();
    let made = environment.json(&["vm", "create", "--name", "my-vm", "--no-start"]);
    let id = made["id"].as_str().unwrap();
    for reference in [id, &id[..4], "my-vm"] {
        assert_eq!(
            environment.json(&["vm", "show", reference])["id"],
            made["id"]
        );
    }
}

#[test]
fn a_name_of_two_words_is_made_up() {
    let environment = TestEnvironment::new();
    let made = environment.json(&["vm", "create", "--no-start"]);
    let name = made["name"].as_str().unwrap();
    assert_eq!(name.split('-').count(), 2, "{name}");
}

#[test]
fn settings_change_and_disks_grow_but_do_not_shrink() {
    let environment = TestEnvironment::new();
    environment.done(&[
        "vm",
        "create",
        "--name",
        "web",
        "--disk-size",
        "2G",
        "--no-start",
        "--no-nat",
    ]);
    let set = environment.json(&[
        "vm",
        "set",
        "web",
        "--disk-size",
        "3G",
        "--nat",
        "--memory",
        "1024",
    ]);
    let set = &set[0];
    assert_eq!(
        (
            &set["spec"]["disk_size_mib"],
            &set["spec"]["nat"],
            &set["spec"]["memory_mib"]
        ),
        (&json!(3072), &json!(true), &json!(1024))
    );
    let run = environment.run(&["vm", "set", "web", "--disk-size", "1G"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stderr.starts_with("error: "), "{run:#?}");
    assert_eq!(
        environment.json(&["vm", "show", "web"])["spec"]["disk_size_mib"],
        3072
    );
}

#[test]
fn a_protected_vm_is_kept_until_that_is_lifted() {
    let environment = TestEnvironment::new();
    environment.done(&[
        "vm",
        "create",
        "web",
        "--protect",
        "--autostart",
        "--no-start",
    ]);
    let run = environment.done(&["vm", "show", "web"]);
    assert!(run.stdout.contains("\nprotected:   from"), "{run:#?}");
    assert!(run.stdout.contains("\nautostart:   with"), "{run:#?}");
    let list = environment.json(&["vm", "list"]);
    assert_eq!(list[0]["spec"]["protected"], true);
    assert_eq!(list[0]["spec"]["autostart"], true);
    let run = environment.run(&["vm", "delete", "--force", "web"]);
    assert_eq!(run.status, 1, "{run:#?}");
    let hint = "hint: lift the protection: banger vm set web --no-protect\n";
    assert!(run.stderr.ends_with(hint), "{run:#?}");
    environment.done(&["vm", "set", "web", "--no-protect"]);
    environment.done(&["vm", "delete", "web"]);
}

#[test]
fn labels_are_given_changed_and_taken_away() {
    let environment = TestEnvironment::new();
    let label = ["--label", "team=web", "--label", "note=a b=c"];
    environment.done(&[&["vm", "create", "--name", "web"][..], &label].concat());
    let run = environment.done(&["vm", "show", "web"]);
    assert!(
        run.stdout
            .contains("\nlabels:      note=a b=c\n             team=web\n"),
        "{run:#?}"
    );
    let change = [
        "vm",
        "set",
        "web",
        "--label",
        "team=api",
        "--unlabel",
        "note",
    ];
    let run = environment.done(&change);
    assert!(
        run.stdout.ends_with("NAT off, labels team=api\n"),
        "{run:#?}"
    );
    let shown = environment.json(&["vm", "show", "web"]);
    assert_eq!(shown["spec"]["labels"], json!({"team": "api"}));
    assert_eq!(shown["pending"], json!(null));
    for (wrong, words) in [("team", "KEY=VALUE"), ("Team=x", "1 to 63 of a-z")] {
        let run = environment.run(&["vm", "set", "web", "--label", wrong]);
        assert_eq!(run.status, 2, "{run:#?}");
        assert!(run.stderr.contains(words), "{run:#?}");
    }
}

#[test]
fn pending_settings_of_a_running_vm_are_shown_separately() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "--name", "web", "--disk-size", "2G"]);
    let run = environment.done(&["vm", "set", "web", "--vcpu", "4", "--disk-size", "3G"]);
    assert!(
        run.stdout
            .contains("2 (4 from its next start) vCPU, 2G memory, 2G (3G from its next start)"),
        "{run:#?}"
    );
    assert!(run.stderr.contains("banger vm restart web"), "{run:#?}");
    let run = environment.done(&["vm", "list"]);
    assert!(run.stdout.contains("2→4   2G      2G→3G"), "{run:#?}");
    let run = environment.done(&["vm", "show", "web"]);
    assert!(
        run.stdout
            .contains("\nvcpu:        2 (4 from its next start)\n"),
        "{run:#?}"
    );
    let shown = environment.json(&["vm", "show", "web"]);
    assert_eq!(
        (&shown["spec"]["vcpu"], &shown["spec"]["disk_size_mib"]),
        (&json!(2), &json!(2048))
    );
    assert_eq!(
        (
            &shown["pending"]["vcpu"],
            &shown["pending"]["disk_size_mib"]
        ),
        (&json!(4), &json!(3072))
    );
    environment.done(&["vm", "restart", "web"]);
    let shown = environment.json(&["vm", "show", "web"]);
    assert_eq!(
        (&shown["spec"]["vcpu"], &shown["pending"]),
        (&json!(4), &json!(null))
    );
}

#[test]
fn a_running_vm_is_deleted_by_force_only() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "--name", "web"]);
    let run = environment.run(&["vm", "delete", "web"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert_eq!(environment.json(&["vm", "show", "web"])["phase"], "running");
    environment.done(&["vm", "delete", "--force", "web"]);
    assert_eq!(environment.json(&["vm", "list"]), json!([]));
}

#[test]
fn doctor_fails_when_a_check_does_and_says_what_to_do() {
    let environment = TestEnvironment::new();
    let run = environment.run(&["doctor"]);
    let failed = run
        .stdout
        .lines()
        .filter(|line| line.starts_with("fail "))
        .count();
    assert_eq!(run.status, i32::from(failed > 0), "{run:#?}");
    let checks = run.stdout.lines().filter(|line| {
        ["pass ", "warn ", "fail "]
            .iter()
            .any(|word| line.starts_with(word))
    });
    assert!(checks.count() > 0, "{run:#?}");
}

#[test]
fn doctor_reads_the_configuration_as_it_is_on_disk() {
    let environment = TestEnvironment::new();
    let config = environment.path("home/.config/banger/config.toml");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    environment.done(&["daemon", "start"]);
    let look = |text: Option<&str>| {
        match text {
            Some(text) => std::fs::write(&config, text).unwrap(),
            None => std::fs::remove_file(&config).unwrap(),
        }
        environment.run(&["doctor"])
    };
    let run = look(Some("natt = true\n"));
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stdout.contains("fail configuration"), "{run:#?}");
    assert!(run.stdout.contains(":1:1: `natt = true`"), "{run:#?}");
    let run = look(Some("nat = true\n"));
    assert!(run.stdout.contains("warn configuration"), "{run:#?}");
    assert!(run.stdout.contains("banger daemon reload"), "{run:#?}");
    let run = look(Some("subnet = \"10.9.0.0/20\"\n"));
    assert!(run.stdout.contains("banger daemon stop"), "{run:#?}");
    let run = look(None);
    assert!(run.stdout.contains("pass configuration"), "{run:#?}");
}
