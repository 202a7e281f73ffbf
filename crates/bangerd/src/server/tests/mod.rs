//! The server over a real socket, with an engine that is a fake.

mod document;
mod ending;
mod fake;
mod hostile;
mod streams;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::time::Instant;

use banger_api::client::Client;
use banger_api::{
    CreateVm, DaemonView, DeleteVm, KillVm, Progress, Report, SetVm, SignalName, StartVm, StopVm,
    Stopped, VersionView, VmView,
};
use tempfile::TempDir;

use super::*;
use fake::Fake;

/// Longer than anything here takes, on any machine.
const LONG: Duration = Duration::from_secs(30);

/// A server with a fake engine, until dropped.
struct Running {
    fake: Arc<Fake>,
    stop: Stop,
    path: PathBuf,
    served: Option<tokio::task::JoinHandle<io::Result<()>>>,
    runtime: Option<Runtime>,
    _folder: TempDir,
}

impl Running {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bangerd.sock");
        let socket = listen(&path).unwrap();
        let fake = Arc::new(Fake::default());
        let stop = Stop::new();
        let runtime = runtime().unwrap();
        let served = runtime.spawn(serve(socket, Arc::clone(&fake) as _, stop.clone()));
        let (served, runtime) = (Some(served), Some(runtime));
        Self {
            fake,
            stop,
            path,
            served,
            runtime,
            _folder: folder,
        }
    }

    fn client(&self) -> Client {
        Client::new(&self.path).unwrap()
    }

    fn connect(&self) -> StdUnixStream {
        let stream = StdUnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Sends these bytes and returns all that comes back.
    fn raw(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn assert_serves(&self) {
        let version: VersionView = self.client().get("/v1/version").unwrap();
        assert_eq!(version.api, API_VERSION);
    }

    /// Waits for the server's end, and says how long that took.
    fn ended(&mut self) -> Duration {
        let begun = Instant::now();
        let (runtime, served) = (self.runtime.as_ref().unwrap(), self.served.take().unwrap());
        runtime
            .block_on(async { timeout(LONG, served).await })
            .unwrap()
            .unwrap()
            .unwrap();
        begun.elapsed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.say();
        self.fake.open_gate();
        if self.served.is_some() && !std::thread::panicking() {
            self.ended();
        }
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// Waits for a condition, and fails when it does not come.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {LONG:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn nothing(_: Progress) {}

#[test]
fn each_question_is_answered() {
    let server = Running::new();
    let client = server.client();
    let version: VersionView = client.get("/v1/version").unwrap();
    assert_eq!(version.version, env!("CARGO_PKG_VERSION"));
    let daemon: DaemonView = client.get("/v1/daemon").unwrap();
    assert_eq!(daemon, fake::daemon());
    let report: Report = client.get("/v1/doctor").unwrap();
    assert_eq!(report, fake::report());
    let vms: Vec<VmView> = client.get("/v1/vms").unwrap();
    assert_eq!(vms, [fake::vm("calm-otter")]);
    for reference in ["calm-otter", "0000002a", "0000"] {
        let vm: VmView = client.get(&format!("/v1/vms/{reference}")).unwrap();
        assert_eq!(vm, fake::vm("calm-otter"));
    }
}

#[test]
fn each_verb_reaches_the_engine_with_what_was_asked() {
    let server = Running::new();
    let client = server.client();
    let vm = "/v1/vms/calm-otter";
    let create = CreateVm {
        name: Some("new".to_owned()),
        vcpu: Some(3),
        ..CreateVm::default()
    };
    let made: VmView = client.work("POST", "/v1/vms", &create, nothing).unwrap();
    assert_eq!(made.name.as_str(), "new");
    let start = StartVm { rescue: true };
    let _: VmView = client
        .work("POST", &format!("{vm}/start"), &start, nothing)
        .unwrap();
    let stop = StopVm {
        timeout_seconds: Some(7),
    };
    let stopped: Stopped = client
        .work("POST", &format!("{vm}/stop"), &stop, nothing)
        .unwrap();
    assert_eq!(stopped.by, "agent");
    let _: VmView = client
        .work("POST", &format!("{vm}/restart"), &stop, nothing)
        .unwrap();
    let kill = KillVm {
        signal: Some(SignalName::Term),
    };
    let _: VmView = client
        .work("POST", &format!("{vm}/kill"), &kill, nothing)
        .unwrap();
    let set = SetVm {
        nat: Some(true),
        ..SetVm::default()
    };
    let _: VmView = client.work("PATCH", vm, &set, nothing).unwrap();
    let delete = DeleteVm { force: true };
    let _: VmView = client.work("DELETE", vm, &delete, nothing).unwrap();
    assert_eq!(
        server.fake.calls(),
        [
            format!("create {create:?}"),
            format!("start calm-otter {start:?}"),
            format!("stop calm-otter {stop:?}"),
            format!("restart calm-otter {stop:?}"),
            format!("kill calm-otter {kill:?}"),
            format!("set calm-otter {set:?}"),
            format!("delete calm-otter {delete:?}"),
        ]
    );
}

#[test]
fn an_empty_body_is_enough_for_a_verb() {
    let server = Running::new();
    let answer = server.raw("POST /v1/vms/calm-otter/start HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("application/x-ndjson"), "{answer}");
    assert_eq!(
        server.fake.calls(),
        ["start calm-otter StartVm { rescue: false }"]
    );
}

#[test]
fn each_step_is_told_before_the_outcome() {
    let server = Running::new();
    let create = CreateVm {
        name: Some("steps".to_owned()),
        ..CreateVm::default()
    };
    let mut steps = Vec::new();
    let made: VmView = server
        .client()
        .work("POST", "/v1/vms", &create, |progress| steps.push(progress))
        .unwrap();
    assert_eq!(made.name.as_str(), "steps");
    assert_eq!(steps, fake::steps());
}

#[test]
fn what_is_refused_at_once_is_a_plain_error_with_its_status() {
    let server = Running::new();
    for (name, status) in [
        ("not-found", 404),
        ("invalid", 400),
        ("conflict", 409),
        ("busy", 409),
        ("not-ready", 503),
        ("host", 500),
        ("guest", 500),
        ("internal", 500),
    ] {
        let path = format!("/v1/vms/error-{name}/start");
        let answer = server.raw(&format!("POST {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        let client = server.client();
        let error = client
            .work::<VmView>("POST", &path, &StartVm::default(), nothing)
            .unwrap_err();
        assert_eq!(error, fake::error(name));
    }
    let error = server
        .client()
        .get::<VmView>("/v1/vms/error-not-found")
        .unwrap_err();
    assert_eq!(error, fake::error("not-found"));
}

#[test]
fn an_error_after_the_first_step_is_the_last_line() {
    let server = Running::new();
    let create = CreateVm {
        name: Some("fails-late".to_owned()),
        ..CreateVm::default()
    };
    let mut steps = 0;
    let error = server
        .client()
        .work::<VmView>("POST", "/v1/vms", &create, |_| steps += 1)
        .unwrap_err();
    assert_eq!(steps, fake::steps().len());
    assert_eq!(error, fake::error("host"));
}

#[test]
fn a_client_that_accepts_json_alone_is_answered_once_with_the_status() {
    let server = Running::new();
    for (name, status) in [
        ("steps", 200),
        ("fails-late", 500),
        ("panics", 500),
        ("panics-late", 500),
    ] {
        let body = format!("{{\"name\": \"{name}\"}}");
        let answer = server.raw(&format!(
            "POST /v1/vms HTTP/1.1\r\nhost: x\r\naccept: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        ));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        if status == 200 {
            let made: VmView = serde_json::from_str(body).unwrap();
            assert_eq!(made.name.as_str(), name);
        } else {
            let error: Error = serde_json::from_str(body).unwrap();
            assert!(!error.message.is_empty());
        }
    }
    let answer = server.raw(
        "POST /v1/vms/error-busy/stop HTTP/1.1\r\nhost: x\r\naccept: application/json\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
    let answer =
        server.raw("POST /v1/daemon/stop HTTP/1.1\r\nhost: x\r\naccept: application/json\r\n\r\n");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        serde_json::from_str::<DaemonView>(body).unwrap(),
        fake::daemon()
    );
}

#[test]
fn work_that_panics_is_an_internal_error_and_the_server_lives() {
    let server = Running::new();
    for name in ["panics", "panics-late"] {
        let create = CreateVm {
            name: Some(name.to_owned()),
            ..CreateVm::default()
        };
        let error = server
            .client()
            .work::<VmView>("POST", "/v1/vms", &create, nothing)
            .unwrap_err();
        assert_eq!(error.code, Code::Internal);
        assert!(error.message.starts_with("the work broke off"), "{error}");
    }
    server.assert_serves();
}

#[test]
fn a_client_that_goes_away_cancels_nothing() {
    let server = Running::new();
    let body = "{\"name\": \"gated\"}";
    let mut stream = server.connect();
    write!(
        stream,
        "POST /v1/vms HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    eventually("the work begins", || server.fake.waiting() == 1);
    drop(stream);
    server.assert_serves();
    server.fake.open_gate();
    eventually("the work ends", || {
        server.fake.calls() == ["finished gated"]
    });
}

#[test]
fn steps_that_a_client_does_not_read_hold_up_nobody() {
    let server = Running::new();
    let body = "{\"name\": \"chatty\"}";
    let mut stream = server.connect();
    let length = body.len();
    write!(
        stream,
        "POST /v1/vms HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    eventually("the work ends", || {
        server.fake.calls() == ["finished chatty"]
    });
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.contains("{\"result\":"),
        "the outcome is never left out"
    );
}

#[test]
fn hundreds_of_verbs_run_at_once() {
    const MANY: usize = 200;
    raise_descriptors();
    let server = Running::new();
    std::thread::scope(|scope| {
        for _ in 0..MANY {
            scope.spawn(|| {
                let create = CreateVm {
                    name: Some("gated".to_owned()),
                    ..CreateVm::default()
                };
                let made: VmView = server
                    .client()
                    .work("POST", "/v1/vms", &create, nothing)
                    .unwrap();
                assert_eq!(made.name.as_str(), "gated");
            });
        }
        // All of them are inside at the same time, so none waits for another's thread.
        eventually("all are at work", || server.fake.waiting() == MANY);
        server.assert_serves();
        server.fake.open_gate();
    });
}

/// A test has both ends of each connection.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.map(|most| most.min(16_384)).or(Some(16_384));
    setrlimit(Resource::Nofile, limit).unwrap();
}
