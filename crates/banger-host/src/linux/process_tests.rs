//! Processes that run: found, signalled, waited for, and never mistaken for another.

use super::*;

#[test]
fn how_a_child_ended_is_known_and_a_zombie_is_gone() {
    let host = Linux::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let process = host.spawn(&shell(folder.path(), "exit 7")).unwrap();
    assert_ends(&host, &process);
    assert!(!host.is_alive(&process));
    assert_eq!(host.exit_of(&process), Some(Exit::Status(7)));
    assert_eq!(
        host.exit_of(&process),
        Some(Exit::Status(7)),
        "it can be asked again"
    );
    assert_eq!(
        stat(process.pid).filter(|it| it.start_time == process.start_time),
        None,
        "reaped"
    );

    let process = host.spawn(&shell(folder.path(), "kill -KILL $$")).unwrap();
    host.wait_any(std::slice::from_ref(&process), SOON);
    assert_eq!(host.exit_of(&process), Some(Exit::Signal(9)));
}

#[test]
fn a_process_is_found_signalled_and_waited_for() {
    let host = Linux::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let name = format!("banger-test-{}-found", std::process::id());
    let mut spawn = shell(
        folder.path(),
        "trap 'kill $!; exit 3' TERM; echo up; sleep 1000 & wait",
    );
    spawn.arguments.push(name.clone());
    let process = host.spawn(&spawn).unwrap();
    assert!(host.is_alive(&process));
    assert_eq!(host.exit_of(&process), None);
    let mark = mark(&name);
    assert_eq!(
        host.find_processes(&mark).unwrap(),
        std::slice::from_ref(&process)
    );
    let started = Instant::now();
    assert_eq!(
        host.wait_any(std::slice::from_ref(&process), Duration::from_millis(50)),
        []
    );
    assert!(started.elapsed() >= Duration::from_millis(50));
    // The trap is set once the log says so.
    while fs::read_to_string(&spawn.log).unwrap() != "up\n" {
        host.wait_any(&[], Duration::from_millis(5));
    }
    assert_eq!(
        host.signal(&process, Signal::Terminate).unwrap(),
        Change::Made
    );
    assert_ends(&host, &process);
    assert_eq!(host.exit_of(&process), Some(Exit::Status(3)));
    assert_eq!(
        host.signal(&process, Signal::Kill).unwrap(),
        Change::Already
    );
    assert_eq!(host.find_processes(&mark).unwrap(), []);
}

#[test]
fn another_process_with_the_same_number_is_never_touched() {
    let host = Linux::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let process = host
        .spawn(&shell(folder.path(), "exec sleep 1000"))
        .unwrap();
    let earlier = Process {
        start_time: process.start_time - 1,
        ..process.clone()
    };
    let other_boot = Process {
        boot_id: "another boot".to_owned(),
        ..process.clone()
    };
    for stranger in [&earlier, &other_boot] {
        assert!(!host.is_alive(stranger));
        assert_eq!(
            host.signal(stranger, Signal::Kill).unwrap(),
            Change::Already
        );
        assert_ends(&host, stranger);
        assert_eq!(host.exit_of(stranger), None);
    }
    assert!(host.is_alive(&process));
    host.signal(&process, Signal::Kill).unwrap();
    assert_ends(&host, &process);
    assert_eq!(host.exit_of(&process), Some(Exit::Signal(9)));
}

#[test]
fn one_that_is_not_our_child_is_watched_too() {
    let host = Linux::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let name = format!("banger-test-{}-adopted", std::process::id());
    let script = format!("sh -c 'while :; do sleep 0.05; done' {name} &");
    output(&host, &shell(folder.path(), &script));
    // A daemon that starts later knows it only by what it finds.
    let later = Linux::new().unwrap();
    let deadline = Instant::now() + SOON;
    let mut found = Vec::new();
    while found.is_empty() && Instant::now() < deadline {
        found = later.find_processes(&mark(&name)).unwrap();
    }
    let [process] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert!(later.is_alive(process));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| later.wait_any(&found, SOON));
        later.signal(process, Signal::Kill).unwrap();
        assert_eq!(waiting.join().unwrap(), found);
    });
    assert!(!later.is_alive(process));
    assert_eq!(
        later.exit_of(process),
        None,
        "known for our own children only"
    );
}
