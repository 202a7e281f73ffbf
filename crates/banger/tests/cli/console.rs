//! `vm console` on a simulated guest, whose terminal echoes and whose program repeats each line.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::environment::{Run, TestEnvironment};
use crate::typist::Typist;

fn with_vm() -> TestEnvironment {
    let environment = TestEnvironment::new();
    environment.done(&["vm", "create", "web"]);
    environment
}

fn typist(environment: &TestEnvironment, words: &[&str]) -> Typist {
    let banger = environment.command(&[]).get_program().to_owned();
    let words = [&[banger.to_str().unwrap(), "vm", "console", "web"], words].concat();
    Typist::new(environment, &words)
}

fn reader(environment: &TestEnvironment) -> Child {
    let mut command: Command = environment.command(&["vm", "console", "web", "--read-only"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(Stdio::null()).spawn().unwrap()
}

#[test]
fn one_types_and_others_read_until_the_vm_stops() {
    let environment = with_vm();
    let mut typist = typist(&environment, &[]);
    typist.sees("ctrl-] leaves");
    // Each reads before the VM stops: one that comes later finds no console.
    let readers = [reader(&environment), reader(&environment)].map(|mut reader| {
        let mut output = BufReader::new(reader.stdout.take().unwrap());
        let mut seen = String::new();
        output.read_line(&mut seen).unwrap();
        (reader, output, seen)
    });
    let second = environment.run(&["vm", "console", "web"]);
    assert_eq!(second.status, 1, "{second:#?}");
    assert!(second.stderr.contains("--read-only"), "{second:#?}");
    typist.types("hello\r");
    typist.sees("simulated: hello");
    environment.done(&["vm", "stop", "web"]);
    assert_eq!(typist.ends(), Some(0));
    assert!(typist.seen.contains("`web` has stopped"), "{}", typist.seen);
    for (reader, mut output, mut seen) in readers {
        output.read_to_string(&mut seen).unwrap();
        let run = Run::of(reader.wait_with_output().unwrap());
        assert_eq!(run.status, 0, "{run:#?}");
        assert!(seen.contains("simulated boot of web"), "{seen}");
        assert!(seen.contains("simulated: hello"), "{seen}");
    }
    let run = environment.run(&["vm", "console", "web"]);
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stderr.contains("banger vm start web"), "{run:#?}");
}

#[test]
fn the_key_leaves_and_the_terminal_is_as_before() {
    let environment = with_vm();
    let banger = environment.command(&[]).get_program().to_owned();
    let script = format!(
        "before=$(stty -g); {} vm console web; echo status $?; [ \"$before\" = \"$(stty -g)\" ] && echo restored",
        banger.to_str().unwrap()
    );
    let mut typist = Typist::new(&environment, &["sh", "-c", &script]);
    typist.sees("simulated boot of web");
    typist.types("one\r");
    typist.sees("simulated: one");
    typist.types("\x1d");
    typist.sees("status 0");
    typist.sees("restored");
}

#[test]
fn a_killed_typist_frees_the_place() {
    let environment = with_vm();
    let mut command = environment.command(&["vm", "console", "web"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"x\n").unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 20]).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let mut next = typist(&environment, &[]);
        next.types("\x1d");
        if next.ends() == Some(0) {
            return;
        }
        assert!(Instant::now() < deadline, "{}", next.seen);
    }
}

#[test]
fn a_console_whose_daemon_stops_was_lost() {
    let environment = with_vm();
    let mut typist = typist(&environment, &[]);
    typist.sees("simulated boot of web");
    environment.done(&["daemon", "stop"]);
    assert_eq!(typist.ends(), Some(1));
    assert!(typist.seen.contains("was lost"), "{}", typist.seen);
}
