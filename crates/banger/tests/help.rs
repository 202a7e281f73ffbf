//! The help of every verb: a change of it is a change of the product.
#![expect(clippy::disallowed_methods, reason = "a test starts the program")]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::process::Command;

/// Every verb, as a user types it.
const VERBS: &[&str] = &[
    "",
    "vm",
    "vm create",
    "vm list",
    "vm show",
    "vm start",
    "vm stop",
    "vm restart",
    "vm kill",
    "vm set",
    "vm rename",
    "vm clone",
    "vm export",
    "vm import",
    "vm delete",
    "vm undelete",
    "vm purge",
    "vm prune",
    "vm run",
    "vm cp",
    "vm sync",
    "vm exec",
    "vm shell",
    "vm jobs",
    "vm attach",
    "vm console",
    "vm job",
    "vm job logs",
    "vm job kill",
    "vm job remove",
    "vm ssh",
    "vm proxy",
    "vm authorize",
    "vm forward",
    "vm open",
    "vm ports",
    "vm stats",
    "vm wait",
    "vm logs",
    "vm events",
    "image",
    "image list",
    "image show",
    "image build",
    "image shell",
    "image import",
    "image export",
    "image rename",
    "image delete",
    "image prune",
    "volume",
    "volume create",
    "volume list",
    "volume show",
    "volume delete",
    "host",
    "host show",
    "host add",
    "host list",
    "host use",
    "host remove",
    "ssh-config",
    "doctor",
    "verify",
    "daemon",
    "daemon status",
    "daemon socket",
    "daemon start",
    "daemon logs",
    "daemon log-level",
    "daemon reload",
    "metrics",
    "daemon stop",
    "config",
    "config show",
    "config path",
    "config set",
    "config unset",
    "config edit",
    "system",
    "system install",
    "system uninstall",
    "system status",
    "bundle",
    "bundle build",
    "bundle fetch",
    "bundle package",
    "tui",
    "completion",
    "version",
    "help vm set",
    "vm ssh calm-otter ls",
];

/// The output on a terminal of 80 columns, and the exit status.
fn run(arguments: &[&str]) -> (String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_banger"))
        .args(arguments)
        .env_clear()
        .env("COLUMNS", "80")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        String::from_utf8(text).unwrap(),
        output.status.code().unwrap(),
    )
}

#[test]
fn the_help_of_every_verb() {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| {
        for verb in VERBS {
            let mut arguments: Vec<_> = verb.split_whitespace().collect();
            let is_help = !verb.contains("help") && !verb.contains("calm");
            if is_help {
                arguments.push("--help");
            }
            let (text, status) = run(&arguments);
            assert_eq!(
                status,
                if verb.contains("calm") { 255 } else { 0 },
                "{verb}: {text}"
            );
            insta::assert_snapshot!(format!("banger {verb}").trim().replace(' ', "-"), text);
        }
    });
}

#[test]
fn every_verb_has_its_snapshot() {
    let (text, _) = run(&["vm", "-h"]);
    let commands = text
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1);
    let named = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    for line in commands.take_while(|line| !line.is_empty()).filter(named) {
        let verb = line.split_whitespace().next().unwrap();
        let known = VERBS.contains(&format!("vm {verb}").as_str());
        assert!(known || verb == "help", "`vm {verb}` has no snapshot");
    }
}

#[test]
fn the_version_is_one_line() {
    assert_eq!(
        run(&["--version"]),
        (format!("banger {}\n", env!("CARGO_PKG_VERSION")), 0)
    );
}
