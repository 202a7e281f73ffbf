//! Jobs on a simulated guest: its program prints its arguments, and ends when its input ends.
//! Without input that is at once, unless an argument is `stay`.

use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};

use crate::environment::{Run, TestEnvironment};

fn with_vm() -> TestEnvironment {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "web"]);
    environment
}

fn spawn(environment: &TestEnvironment, arguments: &[&str]) -> Child {
    let mut command = environment.command(arguments);
    command.stdin(Stdio::piped()).spawn().unwrap()
}

fn read(child: &mut Child, expected: &str) {
    let mut bytes = vec![0; expected.len()];
    let stdout = child.stdout.as_mut().unwrap();
    stdout.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[test]
fn a_job_runs_on_is_listed_and_its_output_and_status_are_there_later() {
    let environment = with_vm();
    let detach = ["vm", "exec", "web", "--detach", "--", "a b", "exit=7"];
    assert_eq!(environment.done(&detach).stdout, "j1\n");
    environment.done(&["vm", "exec", "web", "-d", "--", "x"]);
    let named = [
        "vm", "exec", "web", "-di", "--name", "build", "--json", "--", "x",
    ];
    let job = environment.run(&named);
    let job: serde_json::Value = serde_json::from_str(&job.stdout).unwrap();
    assert_eq!(
        (&job["state"], &job["input"]),
        (&"running".into(), &true.into())
    );
    let jobs = environment.done(&["vm", "jobs", "web"]).stdout;
    assert!(jobs.contains("j1         exited 7"), "{jobs}");
    assert!(jobs.contains("j3  build  running"), "{jobs}");
    assert!(jobs.contains("'a b' exit=7"), "{jobs}");
    let ids = environment.done(&["vm", "jobs", "web", "--quiet"]).stdout;
    assert_eq!(ids, "j1\nj2\nj3\n");
    let run = environment.run(&["vm", "attach", "web", "j1"]);
    assert_eq!((run.status, run.stdout.as_str()), (7, "a b\nexit=7\n"));
    let logs = environment.done(&["vm", "job", "logs", "web", "j1"]);
    assert_eq!(logs.stdout, "a b\nexit=7\n");
    let wait = environment.done(&["vm", "wait", "web", "--for", "job:j1"]);
    assert_eq!(wait.stdout, "web: job:j1 exited 7\n");
    let late = ["vm", "wait", "web", "--for", "job:build", "--timeout", "1"];
    assert_eq!(environment.run(&late).status, 124);
    environment.done(&["job", "kill", "web", "build"]);
    let wait = environment.json(&["vm", "wait", "web", "--for", "job:build"]);
    assert_eq!(wait[0]["job"]["signal"], 15, "{wait}");
}

#[test]
fn clients_come_and_go_and_one_of_them_writes() {
    let environment = with_vm();
    environment.done(&[
        "vm", "exec", "web", "-di", "--name", "cat", "--", "x", "exit=3",
    ]);
    let mut writer = spawn(&environment, &["vm", "attach", "web", "cat"]);
    read(&mut writer, "x\n");
    let mut reader = spawn(&environment, &["vm", "attach", "web", "cat", "--no-input"]);
    read(&mut reader, "x\n");
    let run = environment.run(&["vm", "attach", "web", "cat"]);
    assert_eq!(run.status, 255, "{run:#?}");
    assert!(run.stderr.contains("another client writes"), "{run:#?}");
    // An interrupt does not affect the job.
    let pid = rustix::process::Pid::from_child(&reader);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let run = Run::of(reader.wait_with_output().unwrap());
    assert_eq!(run.status, 130, "{run:#?}");
    assert!(run.stderr.contains("the job continues"), "{run:#?}");
    writer.kill().unwrap();
    writer.wait().unwrap();
    let mut next = loop {
        let mut next = spawn(&environment, &["vm", "attach", "web", "cat"]);
        let mut bytes = [0; 2];
        if next.stdout.as_mut().unwrap().read_exact(&mut bytes).is_ok() {
            break next;
        }
        next.wait().unwrap();
    };
    next.stdin.take().unwrap().write_all(b"hello").unwrap();
    let run = Run::of(next.wait_with_output().unwrap());
    assert_eq!((run.status, run.stderr.as_str()), (3, "hello"));
}

#[test]
fn jobs_are_removed_and_what_is_no_job_is_said() {
    let environment = with_vm();
    for _ in 0..3 {
        environment.done(&["vm", "exec", "web", "-d", "--", "x"]);
    }
    environment.done(&["vm", "exec", "web", "-d", "--", "stay"]);
    let run = environment.run(&["vm", "job", "rm", "web", "j1", "j4", "j9"]);
    assert_eq!((run.status, run.stdout.as_str()), (1, "removed j1\n"));
    assert!(run.stderr.contains("j4 runs"), "{run:#?}");
    assert!(run.stderr.contains("`web` has no job `j9`"), "{run:#?}");
    environment.done(&["vm", "job", "remove", "web", "--force", "j4"]);
    let pruned = environment.json(&["vm", "jobs", "web", "--prune"]);
    assert_eq!(pruned.as_array().unwrap().len(), 2);
    assert_eq!(
        environment.json(&["vm", "jobs", "web"]),
        serde_json::json!([])
    );
    for (arguments, status) in [
        (&["vm", "exec", "web", "-d", "--", "missing"][..], 126),
        (&["vm", "exec", "web", "-d", "--name", "j1", "--", "x"], 255),
        (&["vm", "exec", "web", "--name", "x", "--", "x"], 255),
        (&["vm", "attach", "web", "j1"], 255),
        (&["vm", "attach", "web", "../x"], 255),
        (&["vm", "job", "logs", "web", "j1"], 1),
        (&["vm", "wait", "web", "--for", "job:j1"], 1),
    ] {
        let run = environment.run(arguments);
        assert_eq!(run.status, status, "{arguments:?} {run:#?}");
    }
    // After a restart the machine has none of the old jobs.
    environment.done(&["vm", "exec", "web", "-d", "--", "stay"]);
    environment.done(&["vm", "restart", "web"]);
    assert_eq!(
        environment.json(&["vm", "jobs", "web"]),
        serde_json::json!([])
    );
    environment.done(&["vm", "stop", "web"]);
    let run = environment.run(&["vm", "jobs", "web"]);
    assert!(run.stderr.contains("banger vm start web"), "{run:#?}");
}
