//! The client with a fake daemon: slow steps, a connection that breaks, another version.

use banger_api::API_VERSION;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal};

use crate::environment::{Run, TestEnvironment};
use crate::fake_daemon;

/// The lines of a slow create: two steps that are printed, and one that is too short.
const STEPS: &str = concat!(
    r#"{"progress":{"step":"plan","seconds":null}}"#,
    "\n",
    r#"{"progress":{"step":"plan","seconds":0.0002}}"#,
    "\n",
    r#"{"progress":{"step":"boot","seconds":null}}"#,
    "\n",
    r#"{"progress":{"step":"boot","seconds":1.24}}"#,
    "\n",
    r#"{"progress":{"step":"wait for the guest","seconds":null}}"#,
    "\n",
);
const FAILED: &str = concat!(
    r#"{"error":{"code":"guest","message":"start `web`","causes":["no sign \u001b[2J of life"],"#,
    r#""also":["unmount"],"hints":["banger vm logs web"]}}"#,
    "\n",
);

/// Answers the next request with this body, and then waits until the client disconnects.
fn answer(environment: &TestEnvironment, version: u32, body: &str, ends: bool) -> JoinHandle<()> {
    let listener = UnixListener::bind(environment.path("s")).unwrap();
    let length = if ends {
        format!("content-length: {}\r\n", body.len())
    } else {
        String::new()
    };
    let head = format!("HTTP/1.1 200 OK\r\nbanger-api: {version}\r\n");
    let itself = fake_daemon::daemon(environment).to_string();
    let itself = format!("{head}content-length: {}\r\n\r\n{itself}", itself.len());
    let answer = format!("{head}{length}\r\n{body}");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // The client first connects without a request, and then asks for the daemon's view.
            if serve(stream.unwrap(), &itself, &answer) {
                return;
            }
        }
    })
}

fn serve(mut stream: UnixStream, itself: &str, answer: &str) -> bool {
    let mut request = [0; 4096];
    let read = stream.read(&mut request).unwrap_or(0);
    if read == 0 {
        return false;
    }
    if request.starts_with(b"GET /v1/daemon ") {
        stream.write_all(itself.as_bytes()).unwrap();
        return false;
    }
    stream.write_all(answer.as_bytes()).unwrap();
    // When the client disconnects, its end of the stream is closed.
    while stream.read(&mut request).is_ok_and(|read| read > 0) {}
    true
}

fn create(environment: &TestEnvironment, more: &[&str]) -> std::process::Command {
    let mut command = environment.command(&[&["vm", "create"], more].concat());
    command.env("BANGER_SOCKET", environment.path("s"));
    command
}

#[test]
fn steps_are_lines_without_a_terminal_and_the_one_that_failed_is_named() {
    let environment = TestEnvironment::for_fake();
    let daemon = answer(&environment, API_VERSION, &format!("{STEPS}{FAILED}"), true);
    let run = Run::of(create(&environment, &[]).output().unwrap());
    daemon.join().unwrap();
    assert_eq!((run.status, run.stdout.as_str()), (1, ""));
    assert_eq!(
        run.stderr,
        "  boot … 1.2 s\n  wait for the guest … not done\nerror: start `web`\n  \
         caused by: no sign \\u{1b}[2J of life\n  also: unmount\nhint: banger vm logs web\n"
    );
}

#[test]
fn quiet_and_json_leave_the_steps_out() {
    for option in ["--quiet", "--json"] {
        let environment = TestEnvironment::for_fake();
        let daemon = answer(&environment, API_VERSION, &format!("{STEPS}{FAILED}"), true);
        let run = Run::of(create(&environment, &[option]).output().unwrap());
        daemon.join().unwrap();
        assert_eq!((run.status, run.stdout.as_str()), (1, ""));
        assert!(!run.stderr.contains("boot"), "{run:#?}");
        assert!(run.stderr.contains("start `web`"), "{run:#?}");
    }
}

#[test]
fn a_daemon_that_ends_during_a_request_is_reported() {
    let environment = TestEnvironment::for_fake();
    let daemon = answer(&environment, API_VERSION, STEPS, true);
    let run = Run::of(create(&environment, &[]).output().unwrap());
    daemon.join().unwrap();
    assert_eq!(run.status, 1);
    assert!(
        run.stderr
            .contains("error: the daemon ended before the request was complete"),
        "{run:#?}"
    );
}

#[test]
fn a_daemon_of_another_version_is_refused_in_words() {
    let environment = TestEnvironment::for_fake();
    let daemon = answer(&environment, API_VERSION + 1, STEPS, true);
    let run = Run::of(create(&environment, &[]).output().unwrap());
    daemon.join().unwrap();
    assert_eq!(run.status, 1);
    assert!(
        run.stderr.contains(&format!("version {}", API_VERSION + 1)),
        "{run:#?}"
    );
    assert!(run.stderr.contains("banger daemon stop"), "{run:#?}");
}

#[test]
fn an_interrupt_ends_with_130_and_says_that_the_daemon_goes_on() {
    let environment = TestEnvironment::for_fake();
    let daemon = answer(&environment, API_VERSION, STEPS, false);
    let mut client = create(&environment, &[]).spawn().unwrap();
    let mut heard = [0; 64];
    let read = client.stderr.as_mut().unwrap().read(&mut heard).unwrap();
    assert_eq!(
        std::str::from_utf8(&heard[..read]).unwrap(),
        "  boot … 1.2 s\n"
    );
    rustix::process::kill_process(Pid::from_child(&client), Signal::INT).unwrap();
    let run = Run::of(client.wait_with_output().unwrap());
    daemon.join().unwrap();
    assert_eq!(run.status, 130);
    assert_eq!(
        run.stderr,
        "note: the daemon continues; see: banger vm list   (to undo a create: banger vm delete --force NAME)\n"
    );
}
