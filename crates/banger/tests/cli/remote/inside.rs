//! Commands inside the VMs of another machine: ports are those of this one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use super::machines::{TwoMachines, two_machines};

fn with_vm() -> Option<TwoMachines> {
    let two = two_machines("")?;
    two.done(&["--host", "lab", "vm", "create", "web"]);
    Some(two)
}

#[test]
fn a_port_of_this_machine_leads_there_also_after_a_lost_connection() {
    let Some(two) = with_vm() else { return };
    let mut forward = two.command(&["--host", "lab", "vm", "forward", "web", "0:80"]);
    let mut forward = forward.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(forward.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let address = line.split(' ').next().unwrap().to_owned();
    let echo = || {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert_eq!(echo(), "hello");
    for master in two.masters() {
        kill_process(master, Signal::KILL).unwrap();
    }
    assert_eq!(echo(), "hello");
    forward.kill().unwrap();
    forward.wait().unwrap();
    // The daemon there would listen there.
    for option in ["--detach", "--keep"] {
        let error = two.refused(&["--host", "lab", "vm", "forward", "web", "0:80", option]);
        assert!(error.contains("listens on `lab`, not here"), "{error}");
    }
}

#[test]
fn a_guest_there_reaches_a_service_of_this_machine() {
    let Some(two) = with_vm() else { return };
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let rule = format!("80:{}", service.local_addr().unwrap().port());
    let mut forward = two.command(&["--host", "lab", "vm", "forward", "web", "-R", &rule]);
    let mut forward = forward.stdout(Stdio::piped()).spawn().unwrap();
    let (mut stream, _) = service.accept().unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(said, "hello from the guest");
    forward.kill().unwrap();
    forward.wait().unwrap();
}

/// A laptop that slept has lost its connection.
#[test]
fn what_happens_there_is_waited_for_also_after_a_lost_connection() {
    let Some(two) = with_vm() else { return };
    let words = ["--host", "lab", "vm", "wait", "web", "--for", "stopped"];
    let mut wait = two.command(&words).spawn().unwrap();
    let mut told = BufReader::new(wait.stderr.take().unwrap()).lines();
    let (sender, warning) = mpsc::channel();
    std::thread::spawn(move || sender.send(told.next()));
    // A connection that breaks before the first question is one that another command lost.
    let warning = loop {
        if let Ok(line) = warning.recv_timeout(Duration::from_secs(2)) {
            break line.unwrap().unwrap();
        }
        for master in two.masters() {
            kill_process(master, Signal::KILL).unwrap();
        }
    };
    assert!(warning.contains("asking again"), "{warning}");
    two.done(&["--host", "lab", "vm", "stop", "web"]);
    assert!(wait.wait().unwrap().success());
}

#[test]
fn a_job_there_is_listed_read_and_ended() {
    let Some(two) = with_vm() else { return };
    let begin = [
        "--host", "lab", "vm", "exec", "web", "--detach", "--", "a b",
    ];
    let job = two.done(&begin).stdout;
    let job = job.trim();
    let jobs = two.done(&["--host", "lab", "vm", "jobs", "web"]).stdout;
    assert!(jobs.contains(job), "{jobs}");
    let logs = two.done(&["--host", "lab", "vm", "job", "logs", "web", job]);
    assert_eq!(logs.stdout, "a b\n");
}

#[test]
fn the_url_of_a_service_there_leads_through_this_machine() {
    let Some(two) = with_vm() else { return };
    let mut open = two.command(&["--host", "lab", "vm", "open", "web", "22"]);
    let mut open = open.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(open.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let address = line
        .strip_prefix("http://")
        .unwrap()
        .trim_end_matches("/\n");
    assert!(address.starts_with("127.0.0.1:"), "{line}");
    TcpStream::connect(address).unwrap();
    open.kill().unwrap();
    open.wait().unwrap();
}

#[test]
fn the_console_of_a_vm_there_is_typed_to() {
    let Some(two) = with_vm() else { return };
    let mut console = two.command(&["--host", "lab", "vm", "console", "web"]);
    console.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut console = console.spawn().unwrap();
    let mut stdin = console.stdin.take().unwrap();
    stdin.write_all(b"hello\n").unwrap();
    let mut lines = BufReader::new(console.stdout.take().unwrap()).lines();
    let is_answer = |line: &std::io::Result<String>| {
        let line = line.as_ref().unwrap();
        line.contains("simulated: hello")
    };
    assert!(lines.any(|line| is_answer(&line)));
    two.done(&["--host", "lab", "vm", "stop", "web"]);
    assert!(console.wait().unwrap().success());
}

#[test]
fn the_vm_there_of_a_client_that_is_killed_goes_as_well() {
    let Some(two) = with_vm() else { return };
    let run = [
        "--host", "lab", "vm", "run", "once", "--rm", "-i", "--", "x",
    ];
    let mut run = two.command(&run);
    run.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut run = run.spawn().unwrap();
    let _stdin = run.stdin.take();
    let mut stdout = run.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 2]).unwrap();
    assert_eq!(two.names(), "once web ");
    run.kill().unwrap();
    run.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while two.names() != "web " {
        assert!(Instant::now() < deadline, "{}", two.names());
    }
}
