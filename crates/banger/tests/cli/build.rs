//! `banger image build`, on a simulated host, where every script succeeds, and with a fake daemon, where
//! one lasts until its VM is killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, Sender, channel};

use banger_api::API_VERSION;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::environment::{Run, TestEnvironment};
use crate::fake_daemon;

const DIGEST: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

/// A recipe with one download from this URL, whose content is `hello`.
fn recipe(environment: &TestEnvironment, url: &str) -> String {
    let path = environment.path("recipe.toml");
    let text = format!(
        "packages = [\"jq\"]\n[[download]]\nurl = \"{url}\"\nsha256 = \"{DIGEST}\"\nto = \"/opt/hello\"\n\
         [[command]]\nname = \"look\"\nrun = \"cat /opt/hello\"\n"
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_recipe_becomes_an_image_and_its_log_tells_each_step() {
    let environment = TestEnvironment::new();
    let file = environment.path("hello");
    std::fs::write(&file, "hello\n").unwrap();
    let recipe = recipe(&environment, file.to_str().unwrap());
    let build = ["image", "build", "--name", "mine", "--recipe", &recipe];
    let run = environment.run(&build);
    assert_eq!(run.status, 0, "{run:#?}");
    for told in [
        "download hello",
        "packages (1)",
        "put hello",
        "run look",
        "tidy up",
    ] {
        assert!(run.stderr.contains(told), "{told}: {run:#?}");
    }
    assert!(
        run.stdout.contains("banger vm create --image mine"),
        "{run:#?}"
    );
    assert_eq!(
        environment.done(&["image", "ls", "-q"]).stdout,
        "default\nmine\n"
    );
    assert_eq!(environment.done(&["vm", "ls", "-q"]).stdout, "");
    let again = environment.run(&build);
    assert_eq!(again.status, 1);
    assert!(again.stderr.contains("already"), "{again:#?}");
}

#[test]
fn a_download_with_another_digest_builds_nothing() {
    let environment = TestEnvironment::new();
    let file = environment.path("hello");
    std::fs::write(&file, "another\n").unwrap();
    let recipe = recipe(&environment, file.to_str().unwrap());
    let run = environment.run(&["image", "build", "--name", "mine", "--recipe", &recipe]);
    assert_eq!(run.status, 1);
    assert!(
        run.stderr.contains("SHA-256") && run.stderr.contains(DIGEST),
        "{run:#?}"
    );
    assert_eq!(environment.done(&["image", "ls", "-q"]).stdout, "default\n");
}

/// What the fake daemon answers to the build once its VM is killed.
const GIVEN_UP: &str = r#"{"error":{"code":"guest","message":"build the image `mine`","causes":["its VM was killed"],"also":["remove a file"],"hints":["less LOG"]}}"#;

/// The image that is complete in spite of the kill.
fn complete() -> String {
    let image = json!({
        "name": "mine", "is_default": false, "origin": "here", "digest": "", "kernel": "",
        "size_bytes": 1, "allocated_bytes": 1, "created": null, "users": [],
    });
    json!({ "result": image }).to_string()
}

/// A daemon whose build of an image lasts until its VM is killed twice: it does not exist the first time.
/// Every request is told.
fn daemon_with_a_build(environment: &TestEnvironment, outcome: String) -> Receiver<String> {
    let listener = UnixListener::bind(environment.path("s")).unwrap();
    let itself = fake_daemon::daemon(environment).to_string();
    let (told, requests) = channel();
    let (killed, end) = channel();
    let end = std::sync::Arc::new(std::sync::Mutex::new(end));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (told, killed, end) = (told.clone(), killed.clone(), end.clone());
            let (itself, outcome) = (itself.clone(), outcome.clone());
            std::thread::spawn(move || {
                // A client that has gone does not mind.
                let _ = serve(stream, &itself, &outcome, &told, &killed, &end);
            });
        }
    });
    requests
}

fn serve(
    mut stream: UnixStream,
    itself: &str,
    outcome: &str,
    told: &Sender<String>,
    killed: &Sender<()>,
    end: &std::sync::Mutex<Receiver<()>>,
) -> std::io::Result<()> {
    let mut first = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut first)?;
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let head = format!("HTTP/1.1 200 OK\r\nbanger-api: {API_VERSION}\r\nconnection: close\r\n\r\n");
    let _ = told.send(format!("{method} {path}"));
    match (method, path) {
        ("GET", "/v1/daemon") => write!(stream, "{head}{itself}"),
        ("GET", "/v1/images") => write!(stream, "{head}[]"),
        ("POST", "/v1/images/build") => {
            let step = r#"{"progress":{"step":"packages","seconds":null}}"#;
            writeln!(stream, "{head}{step}")?;
            let end = end.lock().unwrap();
            for _ in 0..2 {
                let _ = end.recv();
            }
            writeln!(stream, "{outcome}")
        }
        ("DELETE", "/v1/images/mine") => writeln!(stream, "{head}{}", complete()),
        _ => {
            if path.ends_with("/kill") {
                let _ = killed.send(());
            }
            let missing = r#"{"error":{"code":"not-found","message":"there is no such VM"}}"#;
            writeln!(stream, "{head}{missing}")
        }
    }
}

#[test]
fn an_interrupt_ends_a_build_and_nothing_is_left_of_it() {
    for (outcome, deleted) in [(GIVEN_UP.to_owned(), false), (complete(), true)] {
        let environment = TestEnvironment::for_fake();
        let requests = daemon_with_a_build(&environment, outcome);
        let recipe = environment.path("recipe.toml");
        std::fs::write(&recipe, "packages = [\"jq\"]\n").unwrap();
        let recipe = recipe.to_str().unwrap();
        let mut command =
            environment.command(&["image", "build", "--name", "mine", "--recipe", recipe]);
        command.env("BANGER_SOCKET", environment.path("s"));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut lines = stderr.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with("packages")));
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let rest: Vec<String> = lines.collect();
        let run = Run::of(child.wait_with_output().unwrap());
        let rest = rest.join("\n");
        assert_eq!((run.status, &*run.stdout), (130, ""), "{rest}");
        assert!(rest.contains("error: interrupted"), "{rest}");
        assert!(!rest.contains("less LOG"), "{rest}");
        assert_eq!(rest.contains("also: remove a file"), !deleted, "{rest}");
        let requests: Vec<String> = requests.try_iter().collect();
        let kills = requests.iter().filter(|it| it.ends_with("/kill"));
        let kills: Vec<&String> = kills.collect();
        assert!(kills.len() >= 2, "{requests:?}");
        assert!(kills[0].starts_with("POST /v1/vms/build-"), "{requests:?}");
        let is_deleted = requests.contains(&"DELETE /v1/images/mine".to_owned());
        assert_eq!(is_deleted, deleted, "{requests:?}");
    }
}
