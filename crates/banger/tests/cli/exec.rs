//! `vm exec`, `vm ports` and `vm stats` on a simulated guest, whose program prints its arguments
//! and its input, and exits with the status in an argument `exit=N`.

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use banger_api::exec::{ExecFrame, ExecReader};

use crate::environment::{Run, TestEnvironment};

fn with_vm() -> TestEnvironment {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "web"]);
    environment
}

#[test]
fn output_input_and_status_are_the_commands() {
    let environment = with_vm();
    let run = environment.run(&["vm", "exec", "web", "--", "a b", "", "exit=7"]);
    assert_eq!((run.status, run.stdout.as_str()), (7, "a b\n\nexit=7\n"));
    assert_eq!(run.stderr, "");
    let mut command = environment.command(&["vm", "exec", "web", "-i", "--", "x"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let input = "line\n".repeat(200_000);
    // The echo fills a pipe long before the input ends, so both must be served at once.
    let (mut stdin, bytes) = (child.stdin.take().unwrap(), input.clone());
    let typist = std::thread::spawn(move || stdin.write_all(bytes.as_bytes()).unwrap());
    let run = Run::of(child.wait_with_output().unwrap());
    typist.join().unwrap();
    assert_eq!((run.status, run.stdout.as_str()), (0, "x\n"));
    assert!(run.stderr == input, "{} bytes came back", run.stderr.len());
}

#[test]
fn failures_are_none_of_the_commands_statuses() {
    let environment = with_vm();
    let run = environment.run(&["vm", "exec", "nobody", "--", "true"]);
    assert_eq!(run.status, 255, "{run:#?}");
    let run = environment.run(&["vm", "exec", "web", "--env", "=x", "--", "true"]);
    assert_eq!(run.status, 255, "{run:#?}");
    assert!(run.stderr.contains("`=x` is not NAME=VALUE"), "{run:#?}");
    environment.done(&["vm", "stop", "web"]);
    let run = environment.run(&["vm", "exec", "web", "--", "true"]);
    assert_eq!(run.status, 255, "{run:#?}");
    assert!(run.stderr.contains("banger vm start web"), "{run:#?}");
}

#[test]
fn a_signal_is_passed_on() {
    let environment = with_vm();
    let mut command = environment.command(&["vm", "exec", "web", "-i", "--", "x"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Waiting for the child would close its input, and so end the command.
    let _stdin = child.stdin.take();
    let mut stdout = child.stdout.take().unwrap();
    // Once it has printed this, it runs and listens for signals.
    std::io::Read::read_exact(&mut stdout, &mut [0; 2]).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn ports_and_usage_are_shown_for_people_and_for_programs() {
    let environment = with_vm();
    let ports = environment.done(&["vm", "ports", "web"]).stdout;
    assert!(
        ports.contains("22    tcp       0.0.0.0  100  sshd"),
        "{ports}"
    );
    assert_eq!(environment.json(&["vm", "ports", "web"])[0]["port"], 22);
    let stats = environment.done(&["vm", "stats", "web"]).stdout;
    assert!(
        stats.contains("512 MiB of 2.0 GiB in the guest, 1.0 MiB on the host (PSS)"),
        "{stats}"
    );
    let stats = environment.json(&["vm", "stats", "web"]);
    assert!(
        stats["guest"]["sent_bytes"].as_u64() >= Some(500),
        "{stats}"
    );
    assert!(stats["rates"]["host_cpus"].is_number(), "{stats}");
}

#[test]
fn a_vm_of_one_command_goes_with_it_or_stays() {
    let environment = TestEnvironment::new();
    let run = environment.run(&["vm", "run", "once", "--rm", "--", "x", "exit=7"]);
    assert_eq!((run.status, run.stdout.as_str()), (7, "x\nexit=7\n"));
    assert_eq!(environment.json(&["vm", "list"]), serde_json::json!([]));
    let run = environment.run(&["run", "--name", "kept", "--vcpu", "2", "--", "x"]);
    assert_eq!((run.status, run.stdout.as_str()), (0, "x\n"));
    let vm = environment.json(&["vm", "show", "kept"]);
    assert_eq!(
        (&vm["phase"], &vm["spec"]["vcpu"]),
        (&"running".into(), &2.into())
    );
    let run = environment.run(&["vm", "run", "kept", "--rm", "--", "x"]);
    assert_eq!(run.status, 255, "{run:#?}");
    assert!(run.stderr.contains("`kept`"), "{run:#?}");
    assert_eq!(environment.json(&["vm", "show", "kept"])["id"], vm["id"]);
}

#[test]
fn an_interrupt_ends_the_command_and_its_vm_goes() {
    let environment = TestEnvironment::new();
    let mut command = environment.command(&["vm", "run", "--rm", "-i", "--", "x"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Waiting for the child would close its input, and so end the command.
    let _stdin = child.stdin.take();
    let mut stdout = child.stdout.take().unwrap();
    std::io::Read::read_exact(&mut stdout, &mut [0; 2]).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(environment.json(&["vm", "list"]), serde_json::json!([]));
}

#[test]
fn the_vm_of_a_client_that_is_killed_goes_as_well() {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "other"]);
    let mut command = environment.command(&["vm", "run", "once", "--rm", "-i", "--", "x"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _stdin = child.stdin.take();
    let mut stdout = child.stdout.take().unwrap();
    std::io::Read::read_exact(&mut stdout, &mut [0; 2]).unwrap();
    let notes = environment.json(&["vm", "show", "once"])["notes"].to_string();
    assert!(notes.contains("it is temporary"), "{notes}");
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let left = environment.json(&["vm", "list"]);
        let names: Vec<_> = left
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["name"])
            .collect();
        if names == ["other"] {
            return;
        }
        assert!(Instant::now() < deadline, "{names:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_condition_is_waited_for_and_a_timeout_has_a_status() {
    let environment = with_vm();
    for condition in [
        "running",
        "ready",
        "ssh",
        "port:22",
        "file:/x",
        "command:true",
    ] {
        environment.done(&["vm", "wait", "web", "--for", condition]);
    }
    let wait = ["vm", "wait", "web", "--for", "port:80", "--timeout", "1"];
    let run = environment.run(&wait);
    assert_eq!(run.status, 124, "{run:#?}");
    assert!(
        run.stderr
            .contains("web: not port:80 within 1 s; the VM is running"),
        "{run:#?}"
    );
    let run = environment.run(&["vm", "wait", "nobody"]);
    assert_eq!(run.status, 1, "{run:#?}");
    let run = environment.run(&["vm", "wait", "web", "--for", "up"]);
    assert_eq!(run.status, 2, "{run:#?}");
    environment.done(&["vm", "stop", "web"]);
    environment.done(&["vm", "wait", "web", "--for", "stopped"]);
    let waiting = environment
        .command(&["vm", "wait", "web"])
        .stdout(Stdio::piped())
        .spawn();
    environment.done(&["vm", "start", "web"]);
    let run = Run::of(waiting.unwrap().wait_with_output().unwrap());
    assert_eq!((run.status, run.stdout.as_str()), (0, "web: ready\n"));
}

#[test]
fn a_new_vm_is_waited_for_as_told() {
    let environment = TestEnvironment::new();
    let run = environment.done(&["vm", "create", "web", "--early", "--quiet"]);
    assert_eq!(run.stdout, "web\n");
    environment.done(&["vm", "wait", "web"]);
    environment.done(&["vm", "create", "--early", "--wait"]);
    let ports = ["vm", "create", "api", "--wait=port:22"];
    assert!(environment.done(&ports).stdout.contains("api is running"));
    let never = [
        "vm",
        "create",
        "db",
        "--wait=port:80",
        "--wait-timeout",
        "1",
    ];
    let run = environment.run(&never);
    assert_eq!(run.status, 124, "{run:#?}");
    assert!(
        run.stderr.contains("db: not port:80 within 1 s"),
        "{run:#?}"
    );
    environment.done(&["vm", "stop", "web"]);
    environment.done(&["vm", "start", "web", "--early"]);
    environment.done(&["vm", "wait", "web"]);
    let run = environment.run(&["vm", "create", "web", "--early"]);
    assert_eq!(run.status, 1, "{run:#?}");
    let run = environment.run(&["vm", "create", "--no-start", "--early"]);
    assert_eq!(run.status, 2, "{run:#?}");
}

/// The descriptors and threads of a process.
fn holds(process: i32) -> (usize, usize) {
    let count = |of: &str| {
        let folder = format!("/proc/{process}/{of}");
        std::fs::read_dir(folder).unwrap().count()
    };
    (count("fd"), count("task"))
}

#[test]
fn ten_thousand_short_commands_leave_nothing_in_the_daemon() {
    let environment = with_vm();
    let run_many = |times: usize| {
        let client = banger_api::client::Client::new(environment.socket()).unwrap();
        let web = "web".parse().unwrap();
        for _ in 0..times {
            let mut stream = client.exec(&web).unwrap();
            for frame in [
                ExecFrame::Word(b"exit=3".to_vec()),
                ExecFrame::Start(b"{}".to_vec()),
                ExecFrame::StdinEnd,
            ] {
                stream.socket.write_all(&frame.encode()).unwrap();
            }
            let mut reader = ExecReader::default();
            reader.push(&stream.early);
            let mut bytes = Vec::new();
            stream.socket.read_to_end(&mut bytes).unwrap();
            reader.push(&bytes);
            let frames = std::iter::from_fn(|| reader.next_frame().unwrap());
            assert_eq!(frames.last(), Some(ExecFrame::Exit(3)));
        }
    };
    // Threads that wait for work are kept for a while, and are not counted as a leak.
    let at_once = |times: usize| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| run_many(times / 4));
            }
        });
    };
    let [daemon] = environment.daemons()[..] else {
        panic!("one daemon runs");
    };
    let daemon = daemon.as_raw_nonzero().get();
    at_once(400);
    let (descriptors, threads) = holds(daemon);
    at_once(10_000);
    let (more_descriptors, more_threads) = holds(daemon);
    assert!(
        more_descriptors <= descriptors + 8 && more_threads <= threads + 8,
        "{descriptors} descriptors and {threads} threads became {more_descriptors} and {more_threads}"
    );
}

#[test]
fn a_command_that_was_killed_tells_whether_the_guest_ran_out_of_memory() {
    let environment = with_vm();
    let exec = ["vm", "exec", "web", "--", "exit=137"];
    let run = environment.run(&exec);
    assert_eq!((run.status, run.stderr.as_str()), (137, ""));
    let counted = environment.path("oom-kills");
    std::fs::write(&counted, "2\n").unwrap();
    environment.done(&["vm", "cp", counted.to_str().unwrap(), "web:/root/oom-kills"]);
    let run = environment.run(&exec);
    assert_eq!(run.status, 137);
    let told = "its kernel has killed 2 processes since boot";
    assert!(run.stderr.contains(told), "{}", run.stderr);
    assert!(
        run.stderr.contains("banger vm set web --memory SIZE"),
        "{}",
        run.stderr
    );
    for (words, status) in [
        (&["vm", "exec", "web", "--", "exit=1"][..], 1),
        (&["vm", "exec", "web", "--quiet", "--", "exit=137"], 137),
    ] {
        let run = environment.run(words);
        assert_eq!((run.status, run.stderr.as_str()), (status, ""));
    }
    let stats = environment.done(&["vm", "stats", "web"]).stdout;
    assert!(stats.contains("2 processes killed since boot"), "{stats}");
    // A guest that knows is believed, whatever it has killed before.
    let killed_otherwise = ["vm", "exec", "web", "--", "exit=137", "oom=false"];
    let run = environment.run(&killed_otherwise);
    assert_eq!((run.status, run.stderr.as_str()), (137, ""));
    let run = environment.run(&["vm", "exec", "web", "--", "exit=1", "oom=true"]);
    let told = "its kernel has killed a process of this command";
    assert!(run.status == 1 && run.stderr.contains(told), "{run:#?}");
}

#[test]
fn a_job_that_was_killed_for_want_of_memory_says_so_everywhere() {
    let environment = with_vm();
    let detach = ["vm", "exec", "web", "-d", "--", "exit=137", "oom=true"];
    let job = environment.done(&detach).stdout;
    let job = job.trim();
    environment.done(&["vm", "exec", "web", "-d", "--", "exit=137", "oom=false"]);
    let listed = environment.done(&["vm", "jobs", "web"]).stdout;
    assert_eq!(listed.matches("exited 137, out of memory").count(), 1);
    let jobs = environment.json(&["vm", "jobs", "web"]);
    assert_eq!(
        (&jobs[0]["oom_killed"], &jobs[1]["oom_killed"]),
        (&true.into(), &false.into())
    );
    let waited = environment.done(&["vm", "wait", "web", "--for", &format!("job:{job}")]);
    assert!(
        (waited.stdout + &waited.stderr).contains("out of memory"),
        "the job is described"
    );
    let attached = environment.run(&["vm", "attach", "web", job]);
    assert_eq!(attached.status, 137);
    assert!(
        attached.stderr.contains("has run out of memory"),
        "{attached:#?}"
    );
    let other = environment.run(&["vm", "attach", "web", "j2"]);
    assert_eq!(other.status, 137);
    assert!(!other.stderr.contains("memory"), "{other:#?}");
}
