//! The daemon: started when needed, only once, and never otherwise.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::net::UnixListener;

use rustix::process::Pid;

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
        ("", "bangerd is not running\n")
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
fn a_restart_replaces_the_daemon_or_starts_one() {
    let environment = TestEnvironment::new();
    let first = environment.json(&["daemon", "restart"]);
    environment.done(&["vm", "create", "web"]);
    let run = environment.done(&["daemon", "restart"]);
    assert!(run.stderr.contains("its simulated VM is gone"), "{run:#?}");
    assert!(run.stdout.contains("in sim mode"), "{run:#?}");
    let second = environment.json(&["daemon", "status"]);
    assert_ne!(first["pid"], second["pid"]);
    assert_eq!(environment.daemons().len(), 1);
}

#[test]
fn every_way_to_a_state_directory_leads_to_the_same_daemon_and_names() {
    let environment = TestEnvironment::new();
    let state = environment.path("state");
    std::fs::create_dir(&state).unwrap();
    std::os::unix::fs::symlink("state", environment.path("link")).unwrap();
    let path = state.display();
    let ways = [
        format!("{path}"),
        format!("{path}/"),
        format!("{path}/../state/."),
        environment.path("link").display().to_string(),
    ];
    for way in &ways {
        let view = environment.json(&["--state", way, "daemon", "start"]);
        assert_eq!(view["state"], path.to_string(), "{way}");
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
fn a_socket_without_a_listener_is_no_daemon() {
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

#[test]
fn a_daemon_that_finds_a_newer_record_changes_nothing() {
    let environment = TestEnvironment::new();
    let folder = environment.state().join("vms/0000000a");
    std::fs::create_dir_all(&folder).unwrap();
    let record = folder.join("vm.json");
    std::fs::write(&record, r#"{"schema": 99, "vm": {}}"#).unwrap();
    let run = environment.run(&["vm", "list"]);
    assert_eq!(run.status, 1, "{run:#?}");
    for words in [
        record.to_str().unwrap(),
        "schema 99",
        "install the banger",
        "mv '",
    ] {
        assert!(run.stderr.contains(words), "{run:#?}");
    }
    let names = std::fs::read_dir(environment.state()).unwrap();
    let names: BTreeSet<_> = names.map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["lock", "vms"].map(OsString::from).into());
}

/// The rest of the lines of a file in `/proc` that begin with this text.
fn process_status(process: Pid, file: &str, begins: &str) -> String {
    let path = format!("/proc/{}/{file}", process.as_raw_nonzero());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(begins));
    line.unwrap_or_else(|| panic!("{begins} in {text}"))
        .trim()
        .to_owned()
}

#[test]
fn the_daemon_keeps_nothing_of_the_command_that_started_it() {
    let environment = TestEnvironment::new();
    let doomed = environment.path("doomed");
    std::fs::create_dir(&doomed).unwrap();
    let lock = environment.path("lock");
    let script = r#"rmdir "$DOOMED"; exec 9>"$LOCK"; flock -n 9 || exit 3; umask 0
        trap '' HUP INT TERM CHLD USR1; ulimit -S -f 20000; ulimit -S -n 100; ulimit -S -t 1000
        exec "$@""#;
    let client = environment.command(&["daemon", "start"]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(client.get_program());
    shell.args(client.get_args()).env_clear();
    shell.envs(
        client
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    shell
        .env("DOOMED", &doomed)
        .env("LOCK", &lock)
        .current_dir(&doomed);
    shell.env("TOKEN", "canary");
    let run = Run::of(shell.output().unwrap());
    assert_eq!(run.status, 0, "{run:#?}");

    let daemon = environment.daemons()[0];
    let file = std::fs::File::open(&lock).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .expect("the lock went with the command that took it");
    let folder = format!("/proc/{}", daemon.as_raw_nonzero());
    let directory = std::fs::read_link(format!("{folder}/cwd")).unwrap();
    assert_eq!(directory, std::path::Path::new("/"));
    let variables = std::fs::read(format!("{folder}/environ")).unwrap();
    let variables = String::from_utf8(variables).unwrap();
    assert!(!variables.contains("canary"), "{variables}");
    assert_eq!(process_status(daemon, "status", "Umask:"), "0077");
    assert_eq!(
        process_status(daemon, "status", "SigBlk:"),
        "0000000000000000"
    );
    // SIGPIPE (13) and SIGXFSZ (25) are ignored, so that they become errors of a write. 32 and 33
    // are the C library's.
    let ignored = u64::from_str_radix(&process_status(daemon, "status", "SigIgn:"), 16).unwrap();
    assert_eq!(ignored & !(0b11 << 31), 1 << 12 | 1 << 24, "{ignored:x}");
    // The soft limit equals the hard one, whatever that is here.
    for name in ["Max file size", "Max open files", "Max cpu time"] {
        let limit = process_status(daemon, "limits", name);
        let words: Vec<_> = limit.split_whitespace().collect();
        assert_eq!(words[0], words[1], "{name}: {limit}");
    }
}

#[test]
fn a_home_that_is_not_set_is_the_one_of_the_password_database() {
    let environment = TestEnvironment::new();
    let uid = rustix::process::getuid().as_raw().to_string();
    let entry = std::process::Command::new("getent")
        .args(["passwd", &uid])
        .output();
    let entry = String::from_utf8(entry.unwrap().stdout).unwrap();
    let home = entry.split(':').nth(5).unwrap().to_owned();
    for set in [None, Some(""), Some("below")] {
        let mut command = environment.command(&["daemon", "socket"]);
        match set {
            None => command.env_remove("HOME"),
            Some(value) => command.env("HOME", value),
        };
        let run = Run::of(command.output().unwrap());
        let expected = format!("{home}/.local/state/banger/run/bangerd.sock\n");
        assert_eq!(run.stdout, expected, "{set:?}: {run:#?}");
    }
}
