use super::*;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": ["oob"]}}"#;
const OK: &str = r#"{"return": {}}"#;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn nothing() -> Value {
    json!({})
}

/// A fake QEMU that serves one client by a closure.
fn fake(
    serve: impl FnOnce(BufReader<UnixStream>, UnixStream) + Send + 'static,
) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        serve(BufReader::new(stream.try_clone().unwrap()), stream);
    });
    (folder, path)
}

/// A fake QEMU that greets, and then sends one text for each line that it receives.
fn answering(answers: &'static [&'static str]) -> (tempfile::TempDir, PathBuf) {
    fake(move |mut lines, mut stream| {
        writeln!(stream, "{GREETING}").unwrap();
        for answer in answers {
            lines.read_line(&mut String::new()).unwrap();
            writeln!(stream, "{answer}").unwrap();
        }
        // Returns when the session ends.
        let _ = lines.read_line(&mut String::new());
    })
}

#[test]
fn answers_are_distinguished_from_events_which_keep_their_order() {
    let (_folder, path) = answering(&[
        OK,
        "{\"event\": \"STOP\"}\n{\"event\": \"RESUME\", \"data\": {\"n\": 1}}\n{\"return\": {\"status\": \"running\"}}",
    ]);
    let mut session = Session::open(&path, soon()).unwrap();
    let answer = session.execute("query-status", &nothing(), soon()).unwrap();
    assert_eq!(answer["status"], "running");
    let event = session.wait_event("RESUME", soon()).unwrap();
    assert_eq!(event.data["n"], 1);
    let error = session.wait_event("STOP", Instant::now() + Duration::from_millis(50));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut, "consumed");
}

#[test]
fn arguments_and_an_id_go_with_a_command() {
    let (sender, lines) = std::sync::mpsc::channel();
    let (_folder, path) = fake(move |mut received, mut stream| {
        writeln!(stream, "{GREETING}").unwrap();
        for _ in 0..2 {
            let mut line = String::new();
            received.read_line(&mut line).unwrap();
            sender.send(line).unwrap();
            writeln!(stream, "{OK}").unwrap();
        }
    });
    let mut session = Session::open(&path, soon()).unwrap();
    session
        .execute("balloon", &json!({"value": 1}), soon())
        .unwrap();
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect();
    assert_eq!(lines[0]["execute"], "qmp_capabilities");
    assert_eq!(
        lines[1],
        json!({"execute": "balloon", "arguments": {"value": 1}, "id": 2})
    );
}

#[test]
fn a_refusal_has_qemus_words_and_leaves_the_session_usable() {
    let (_folder, path) = answering(&[OK, r#"{"error": {"desc": "no such thing"}, "id": 2}"#, OK]);
    let mut session = Session::open(&path, soon()).unwrap();
    let error = session.execute("x", &nothing(), soon()).unwrap_err();
    assert_eq!(error.to_string(), "no such thing");
    session.execute("y", &nothing(), soon()).unwrap();
}

#[test]
fn an_answer_after_the_deadline_is_not_taken_for_the_next_one() {
    let (late, wait) = std::sync::mpsc::channel::<()>();
    let (_folder, path) = fake(move |mut lines, mut stream| {
        writeln!(stream, "{GREETING}").unwrap();
        lines.read_line(&mut String::new()).unwrap();
        writeln!(stream, "{OK}").unwrap();
        lines.read_line(&mut String::new()).unwrap();
        write!(stream, "{{\"return\": \"la").unwrap();
        let _ = wait.recv();
        writeln!(stream, "te\", \"id\": 2}}").unwrap();
        lines.read_line(&mut String::new()).unwrap();
        writeln!(stream, r#"{{"return": "on time", "id": 3}}"#).unwrap();
    });
    let mut session = Session::open(&path, soon()).unwrap();
    let deadline = Instant::now() + Duration::from_millis(50);
    let error = session.execute("slow", &nothing(), deadline).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    drop(late);
    let answer = session.execute("next", &nothing(), soon()).unwrap();
    assert_eq!(answer, "on time");
}

#[test]
fn a_silent_qemu_costs_no_more_than_the_deadline() {
    let (_folder, path) = fake(|mut lines, _stream| {
        let _ = lines.read_line(&mut String::new());
    });
    let error = Session::open(&path, Instant::now() + Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[test]
fn a_drip_of_bytes_and_a_flood_of_events_end_at_the_deadline() {
    for text in ["{", "{\"event\": \"FLOOD\"}\n"] {
        let (_folder, path) = fake(move |mut lines, mut stream| {
            writeln!(stream, "{GREETING}").unwrap();
            lines.read_line(&mut String::new()).unwrap();
            writeln!(stream, "{OK}").unwrap();
            while write!(stream, "{text}").is_ok() {
                std::thread::yield_now();
            }
        });
        let mut session = Session::open(&path, soon()).unwrap();
        let began = Instant::now();
        let deadline = began + Duration::from_millis(200);
        session
            .execute("query-status", &nothing(), deadline)
            .unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(5), "{text}");
        assert!(session.events.len() <= MOST_EVENTS);
        assert!(session.received.len() <= LONGEST + (16 << 10));
    }
}

#[test]
fn a_message_without_an_end_is_refused() {
    let (_folder, path) = fake(|_lines, mut stream| {
        let junk = vec![b'x'; 64 << 10];
        while stream.write_all(&junk).is_ok() {}
    });
    let error = Session::open(&path, soon()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
}

#[test]
fn a_listener_that_speaks_something_else_is_refused() {
    for greeting in ["{\"hello\": 1}", "[]", "not JSON", "{\"return\": {}}"] {
        let (_folder, path) = fake(move |_lines, mut stream| {
            writeln!(stream, "{greeting}").unwrap();
        });
        Session::open(&path, soon()).unwrap_err();
    }
}

#[test]
fn a_qemu_that_ends_in_the_middle_is_an_error() {
    let (_folder, path) = fake(|mut lines, mut stream| {
        writeln!(stream, "{GREETING}").unwrap();
        lines.read_line(&mut String::new()).unwrap();
        writeln!(stream, "{OK}").unwrap();
        write!(stream, "{{\"return\"").unwrap();
    });
    let mut session = Session::open(&path, soon()).unwrap();
    session.execute("x", &nothing(), soon()).unwrap_err();
}

/// A real QEMU, killed when dropped.
struct Qemu {
    process: std::process::Child,
    folder: tempfile::TempDir,
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Qemu {
    const PROGRAM: &str = "/usr/bin/qemu-system-x86_64";

    /// Starts an empty machine; without QEMU, prints a skip line and returns `None`.
    fn start(test: &str, machine: &str) -> Option<Self> {
        if !Path::new(Self::PROGRAM).exists() {
            let reason = "QEMU is not installed";
            writeln!(std::io::stderr(), "SKIPPED: {test}: {reason}").unwrap();
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test starts a real QEMU")]
        let process = std::process::Command::new(Self::PROGRAM)
            .args(["-machine", machine, "-accel", "tcg,thread=single"])
            .args(["-m", "64M", "-nodefaults", "-display", "none"])
            .args(["-qmp", "unix:qmp.sock,server=on,wait=off"])
            .current_dir(folder.path())
            .spawn()
            .unwrap();
        Some(Self { process, folder })
    }

    fn session(&self) -> Session {
        let path = self.folder.path().join("qmp.sock");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match Session::open(&path, deadline) {
                Ok(session) => return session,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_real_qemu_executes_a_session_of_commands() {
    let Some(qemu) = Qemu::start("a_real_qemu_executes_a_session_of_commands", "pc-q35-7.2") else {
        return;
    };
    let mut session = qemu.session();
    let status = |session: &mut Session| {
        let status = session.execute("query-status", &nothing(), soon());
        status.unwrap()["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(&mut session), "running");
    session.execute("stop", &nothing(), soon()).unwrap();
    session.wait_event("STOP", soon()).unwrap();
    assert_eq!(status(&mut session), "paused");
    session.execute("cont", &nothing(), soon()).unwrap();
    session.wait_event("RESUME", soon()).unwrap();
    let path = json!({"path": "/machine", "property": "type"});
    let machine = session.execute("qom-get", &path, soon()).unwrap();
    assert_eq!(machine, "pc-q35-7.2-machine");
    let error = session.execute("qom-get", &nothing(), soon()).unwrap_err();
    assert!(error.to_string().contains("path"), "{error}");
    let error = session.execute("no-such", &nothing(), soon()).unwrap_err();
    assert!(error.to_string().contains("no-such"), "{error}");
    let schema = session.execute("query-qmp-schema", &nothing(), soon());
    assert!(schema.unwrap().as_array().unwrap().len() > 100);
    // The next client is served once this one has disconnected.
    drop(session);
    assert_eq!(status(&mut qemu.session()), "running");
}

#[test]
fn a_real_qemu_receives_descriptors() {
    let Some(qemu) = Qemu::start("a_real_qemu_receives_descriptors", "none") else {
        return;
    };
    let mut session = qemu.session();
    let file = std::fs::File::create(qemu.folder.path().join("migration")).unwrap();
    let set = json!({"fdset-id": 7, "opaque": "memory"});
    let added = session
        .execute_with("add-fd", &set, file.as_fd(), soon())
        .unwrap();
    assert_eq!(added["fdset-id"], 7);
    let sets = session.execute("query-fdsets", &nothing(), soon()).unwrap();
    assert_eq!(sets[0]["fds"][0]["opaque"], "memory");
    let name = json!({"fdname": "tap"});
    session
        .execute_with("getfd", &name, file.as_fd(), soon())
        .unwrap();
    session.execute("closefd", &name, soon()).unwrap();
    let error = session.execute("closefd", &name, soon()).unwrap_err();
    assert!(error.to_string().contains("tap"), "{error}");
    let error = session.execute("getfd", &name, soon()).unwrap_err();
    assert!(error.to_string().contains("descriptor"), "{error}");
}
