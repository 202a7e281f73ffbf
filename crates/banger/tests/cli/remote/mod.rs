//! VMs on another machine, through a real sshd. Sessions there have a simulated daemon.

mod copies;
mod ferry;
mod inside;
mod login;
mod machines;
mod several;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::completion::names;
use crate::environment::{Run, program};
use machines::{processes, two_machines};

#[test]
fn verbs_work_with_the_vms_of_another_machine_through_one_master() {
    let Some(two) = two_machines("") else { return };
    let run = two.done(&["--host", "lab", "vm", "create", "web"]);
    assert_eq!(
        run.stdout,
        "web is running on lab\nsee its state: banger --host lab vm show web\n"
    );
    let error = two.refused(&["--host", "lab", "vm", "show", "api"]);
    assert!(
        error.contains("hint: list all VMs: banger --host lab vm list"),
        "{error}"
    );
    assert_eq!(two.names(), "web ");
    assert_eq!(two.server.json(&["vm", "list"])[0]["name"], "web");
    assert_eq!(two.client.daemons(), [], "no daemon runs here");
    let masters = two.masters();
    assert_eq!(masters.len(), 1, "{masters:?}");
    let offered = names(|| {
        let mut tab = two.command(&["--", "banger", "--host", "lab", "vm", "show", "w"]);
        let run = Run::of(tab.env("COMPLETE", "fish").output().unwrap());
        run.stdout.lines().map(str::to_owned).collect()
    });
    assert!(offered[0].starts_with("web\trunning"), "{offered:?}");
    // A stream and many requests at once share one connection, more than MaxSessions allows.
    let mut events = two.command(&["--host", "lab", "vm", "events", "-f"]);
    let mut events = events.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(events.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("web"));
    let runs: Vec<_> = (0..15)
        .map(|_| {
            let mut command = two.command(&["vm", "list", "-o", "name"]);
            command.env("BANGER_HOST", "lab").spawn().unwrap()
        })
        .collect();
    for run in runs {
        assert_eq!(Run::of(run.wait_with_output().unwrap()).stdout, "web\n");
    }
    let exec = ["--host", "lab", "vm", "exec", "web", "--", "a b"];
    assert_eq!(two.done(&exec).stdout, "a b\n");
    two.done(&["--host", "lab", "vm", "stop", "web"]);
    assert!(lines.next().unwrap().unwrap().contains("web"));
    events.kill().unwrap();
    events.wait().unwrap();
    assert_eq!(two.masters(), masters);
}

#[test]
fn named_hosts_are_used_until_another_is_named() {
    let Some(two) = two_machines("") else { return };
    let error = two.refused(&["host", "use", "lab"]);
    assert!(error.contains("banger host add lab"), "{error}");
    let error = two.refused(&["host", "add", "local", "lab"]);
    assert!(error.contains("this machine's own"), "{error}");
    two.done(&["host", "add", "lab", "lab"]);
    let error = two.refused(&["host", "add", "lab", "other"]);
    assert!(error.contains("--force"), "{error}");
    two.done(&["host", "add", "other", "ada@other:2222"]);
    two.done(&["host", "use", "lab"]);
    let list = two.done(&["host", "list"]).stdout;
    assert!(list.contains("*  lab    ssh://lab\n"), "{list}");
    two.done(&["vm", "create", "web"]);
    assert_eq!(two.server.json(&["vm", "list"])[0]["name"], "web");
    // `local` is this machine, and a daemon named by its path is on this machine, too.
    let here = two.client.json(&["--host", "local", "vm", "list"]);
    assert_eq!(here.as_array().unwrap().len(), 0);
    let state = two.client.state();
    let here = two
        .client
        .json(&["--state", state.to_str().unwrap(), "vm", "list"]);
    assert_eq!(here.as_array().unwrap().len(), 0);
    two.done(&["host", "remove", "lab"]);
    let list = two.done(&["host", "list", "--json"]).stdout;
    assert!(
        list.starts_with(r#"[{"name":"local","destination":null,"current":true}"#),
        "{list}"
    );
}

#[test]
fn a_server_that_forwards_no_sockets_is_reached_by_its_own_banger() {
    let Some(two) = two_machines("AllowStreamLocalForwarding no") else {
        return;
    };
    // Output of the login shell before the greeting is skipped.
    let noisy = format!("echo Welcome; echo; exec {} \"$@\"", program().display());
    two.server.script("banger", &noisy);
    two.done(&["--host", "lab", "vm", "create", "web"]);
    assert_eq!(two.names(), "web ");
    let exec = ["--host", "lab", "vm", "exec", "web", "--", "a b"];
    assert_eq!(two.done(&exec).stdout, "a b\n");
    assert_eq!(two.files(".no-fwd").len(), 1);
    // Several verbs run at the same time, each with a stream of its own.
    for name in ["one", "six", "two"] {
        two.done(&["--host", "lab", "vm", "create", name, "--no-start"]);
    }
    two.done(&["--host", "lab", "vm", "start", "one", "six", "two"]);
    assert_eq!(two.names(), "one six two web ");
    let deadline = Instant::now() + Duration::from_secs(20);
    let server = two.server.path("").display().to_string();
    let left = || {
        let all = processes("dial-stdio");
        all.into_iter()
            .filter(|it| {
                let root = format!("/proc/{}/environ", it.as_raw_nonzero());
                let environment = std::fs::read(root).unwrap_or_default();
                String::from_utf8_lossy(&environment).contains(&server)
            })
            .count()
    };
    while left() > 0 {
        assert!(
            Instant::now() < deadline,
            "a stream's process is left on the server"
        );
        std::thread::yield_now();
    }
}

#[test]
fn a_key_that_may_only_dial_reaches_vms() {
    let Some(two) = two_machines("") else { return };
    let file = two.server.path("authorized_keys");
    let key = std::fs::read_to_string(&file).unwrap();
    let line = format!("restrict,command=\"banger dial-stdio\" {key}");
    std::fs::write(&file, line).unwrap();
    two.done(&["--host", "lab", "vm", "create", "web"]);
    assert_eq!(two.names(), "web ");
}

#[test]
fn a_daemon_that_was_stopped_and_a_master_that_died_are_replaced() {
    let Some(two) = two_machines("") else { return };
    two.done(&["--host", "lab", "vm", "create", "web", "--no-start"]);
    two.server.done(&["daemon", "stop"]);
    // The daemon there is started again; its simulated VM is lost.
    assert_eq!(two.names(), "");
    two.done(&["--host", "lab", "vm", "create", "web", "--no-start"]);
    let first = two.masters();
    for master in &first {
        kill_process(*master, Signal::KILL).unwrap();
    }
    assert_eq!(two.names(), "web ");
    assert_ne!(two.masters(), first);
    // Like a laptop that slept: the connection accepts everything and does not answer.
    let sessions: Vec<Pid> = processes("sshd: ")
        .into_iter()
        .filter(|it| is_below(*it, two.sshd.id()))
        .collect();
    assert!(!sessions.is_empty());
    for session in &sessions {
        kill_process(*session, Signal::STOP).unwrap();
    }
    assert_eq!(two.names(), "web ");
    for session in sessions {
        let _ = kill_process(session, Signal::CONT);
    }
}

/// Whether the process is a descendant of another.
fn is_below(process: Pid, ancestor: u32) -> bool {
    let mut process = process.as_raw_nonzero().get();
    if u32::try_from(process) == Ok(ancestor) {
        return false;
    }
    while process > 1 {
        if u32::try_from(process) == Ok(ancestor) {
            return true;
        }
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(") ").map_or("", |it| it.1);
        process = rest
            .split(' ')
            .nth(1)
            .and_then(|it| it.parse().ok())
            .unwrap_or(0);
    }
    false
}

#[test]
fn what_is_wrong_on_the_way_is_told_in_words() {
    let Some(two) = two_machines("") else { return };
    let list = ["--host", "lab", "vm", "list"];
    // The program does not exist.
    two.server
        .script("banger", "echo 'sh: banger: not found' >&2; exit 127");
    let error = two.refused(&list);
    assert!(
        error.contains("banger is not installed on `lab`"),
        "{error}"
    );
    assert!(error.contains("--program"), "{error}");
    // The daemon has another version.
    let answer = r#"echo 'banger-dial-stdio 1'; read -r line; body='{"socket":"/none","pid":1}'
printf 'HTTP/1.1 200 OK\r\nbanger-api: 99\r\ncontent-length: 27\r\n\r\n%s' "$body""#;
    two.server.script("banger", answer);
    let error = two.refused(&list);
    assert!(error.contains("uses version 99 of the API"), "{error}");
    assert!(error.contains("upgrade banger on this machine"), "{error}");
    // The daemon does not start.
    let broken = format!(
        "BANGER_STATE=/proc/none exec {} \"$@\"",
        program().display()
    );
    two.server.script("banger", &broken);
    let error = two.refused(&list);
    assert!(error.contains("reach the daemon on `lab`"), "{error}");
    assert!(error.contains("/proc/none"), "{error}");
    // The program is not banger.
    two.server
        .script("banger", "echo 'this account is for git'");
    let error = two.refused(&list);
    assert!(
        error.contains("what answers on `lab` is not banger"),
        "{error}"
    );
    // The login is rejected.
    std::fs::write(two.server.path("authorized_keys"), "").unwrap();
    for master in two.masters() {
        let _ = kill_process(master, Signal::KILL);
    }
    let error = two.refused(&list);
    assert!(error.contains("ssh does not reach `lab`"), "{error}");
    assert!(error.contains("Permission denied"), "{error}");
    assert!(error.contains("hint: try it alone: ssh lab"), "{error}");
    // The host key differs from the known one: ssh's own check applies.
    let known = format!(
        "[127.0.0.1]:{} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEqbMbS4n4Yx1vpsYwDjEZUkRGWSXlVnpWvIYkPKfnmn\n",
        two.port
    );
    std::fs::write(two.client.path("known_hosts"), known).unwrap();
    let error = two.refused(&list);
    assert!(error.contains("Host key verification failed"), "{error}");
}

#[test]
fn verbs_about_a_machine_run_on_it_and_paths_are_never_taken_for_its_own() {
    let Some(two) = two_machines("") else { return };
    two.done(&["--host", "lab", "daemon", "start"]);
    let text = two
        .done(&["--host", "lab", "daemon", "status", "--json"])
        .stdout;
    let socket = two.server.socket().display().to_string();
    assert!(text.contains(&socket), "{text}");
    two.done(&["config", "set", "vcpu", "3", "--host=lab"]);
    let config = two.server.path("home/.config/banger/config.toml");
    assert!(
        std::fs::read_to_string(config)
            .unwrap()
            .contains("vcpu = 3")
    );
    two.done(&["--host", "lab", "vm", "create", "web", "--no-start"]);
    let build = ["image", "build", "--name", "x", "--recipe", "r.toml"];
    let error = two.refused(&[&["--host", "lab"][..], &build].concat());
    assert!(
        error.contains("`r.toml` is a path of this machine"),
        "{error}"
    );
    assert!(error.contains("copy it there"), "{error}");
    let error = two.refused(&["--host", "lab", "--state", "/srv/x", "vm", "list"]);
    assert!(
        error.contains("`--state` names a path of this machine"),
        "{error}"
    );
}
