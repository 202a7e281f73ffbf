//! The server over a real socket, with the engine on a simulated host.

mod commands;
mod document;
mod ending;
mod events;
mod hostile;
mod paths;
mod streams;
mod world;

use std::io::Read as _;
use std::path::Path;

use banger_api::{
    Change, CreateVm, DaemonView, DeleteVm, Event, KillVm, Mib, OperationState, Phase, SignalName,
    StartVm, StopAllVms, StopVm, VmSpecPatch, VmView,
};
use banger_host::{FileOp, Finding, Op, Probe};
use world::{Gate, TestServer, eventually, is_made, named, nothing, raise_descriptors, vm};

use super::*;

#[test]
fn each_question_is_answered() {
    let server = TestServer::with_vm();
    let client = server.client();
    let version = client.version().unwrap();
    assert_eq!(version.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(client.daemon().unwrap(), server.engine.daemon());
    assert_eq!(client.doctor().unwrap(), server.engine.doctor());
    let vms = client.list().unwrap();
    assert_eq!(vms, server.engine.list());
    let id = vms[0].id.to_string();
    for reference in ["calm-otter", &id, &id[..4]] {
        let shown = client.show(&vm(reference)).unwrap();
        assert_eq!(shown, server.engine.show(&vm("calm-otter")).unwrap());
    }
}

#[test]
fn each_verb_reaches_the_engine_with_what_was_asked() {
    let server = TestServer::new();
    let client = server.client();
    let web = vm("web");
    let now = || server.engine.show(&web).unwrap();
    let request = CreateVm {
        spec: VmSpecPatch {
            vcpu: Some(3),
            ..VmSpecPatch::default()
        },
        ..named("web")
    };
    let made = client.create(&request, nothing).unwrap();
    assert_eq!((made.spec.vcpu, made.phase), (3, Phase::Stopped));
    let request = VmSpecPatch {
        memory: Some(Mib(3072)),
        ..VmSpecPatch::default()
    };
    assert_eq!(
        client.set(&web, &request, nothing).unwrap().spec.memory.0,
        3072
    );
    let rescue = StartVm { rescue: true };
    assert!(client.start(&web, &rescue, nothing).unwrap().vm.rescue);
    let again = client.restart(&web, &StopVm::default(), nothing).unwrap();
    assert_eq!((again.phase, again.rescue), (Phase::Running, false));
    let request = StopVm {
        timeout_seconds: Some(7),
    };
    let stopped = client.stop(&web, &request, nothing).unwrap();
    assert_eq!(
        (stopped.by.as_str(), now().phase),
        ("agent", Phase::Stopped)
    );
    client.start(&web, &StartVm::default(), nothing).unwrap();
    let term = KillVm {
        signal: Some(SignalName::Stop),
    };
    let signalled = client.kill(&web, &term, nothing).unwrap();
    assert_eq!(signalled.vm.phase, Phase::Running);
    client.kill(&web, &KillVm::default(), nothing).unwrap();
    assert_eq!(now().phase, Phase::Stopped);
    client.start(&web, &StartVm::default(), nothing).unwrap();
    let all = client.stop_all(&StopAllVms::default(), nothing).unwrap();
    assert!(all.vms[0].stopped.is_some());
    client.start(&web, &StartVm::default(), nothing).unwrap();
    let force = DeleteVm {
        force: true,
        ..DeleteVm::default()
    };
    client.delete(&web, &force, nothing).unwrap();
    assert_eq!(server.engine.list(), []);
}

#[test]
fn an_empty_body_is_enough_for_a_verb() {
    let server = TestServer::with_vm();
    let answer = server.raw("POST /v1/vms/calm-otter/restart HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("application/x-ndjson"), "{answer}");
    assert!(answer.contains("{\"result\":"), "{answer}");
}

#[test]
fn each_step_is_reported_before_the_outcome() {
    let server = TestServer::new();
    let mut steps = Vec::new();
    let hear = |progress| steps.push(progress);
    server.client().create(&named("web"), hear).unwrap();
    let ended = steps.iter().filter(|step| step.seconds.is_some()).count();
    assert!(ended > 3 && ended * 2 == steps.len(), "{steps:?}");
    assert_eq!(steps[0].step, "image");
}

#[test]
fn what_is_refused_at_once_is_a_plain_error_with_its_status() {
    let server = TestServer::with_vm();
    let gate = Gate::new(&server.sim);
    std::thread::scope(|scope| {
        scope.spawn(|| server.client().create(&named("held"), nothing).unwrap());
        eventually("the create is under way", || gate.arrived() == 1);
        for (request, body, status, code) in [
            ("POST /v1/vms/nobody/start", "", 404, Code::NotFound),
            ("DELETE /v1/vms/nobody", "", 404, Code::NotFound),
            (
                "POST /v1/vms/calm-otter/stop",
                "{\"timeout_seconds\":0}",
                400,
                Code::Invalid,
            ),
            ("DELETE /v1/vms/calm-otter", "", 409, Code::Conflict),
            ("POST /v1/vms/held/start", "", 409, Code::Busy),
        ] {
            let mut answer = String::new();
            let mut stream = server.ask(request, "", body);
            stream.read_to_string(&mut answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status} ")),
                "{request}: {answer}"
            );
            let error: Error = serde_json::from_str(body).unwrap();
            assert_eq!(error.code, code, "{request}");
        }
        gate.open();
    });
    let error = server.client().show(&vm("nobody")).unwrap_err();
    assert_eq!(error, server.engine.show(&vm("nobody")).unwrap_err());
}

#[test]
fn an_error_after_the_first_step_is_the_last_line() {
    let server = TestServer::new();
    server.sim.refuse(is_made);
    let mut steps = 0;
    let error = server
        .client()
        .create(&named("web"), |_| steps += 1)
        .unwrap_err();
    assert!(steps > 2, "{steps}");
    assert_eq!(error.code, Code::Host);
    assert!(error.report().contains("injected"), "{error:?}");
}

#[test]
fn a_client_that_accepts_json_alone_is_answered_once_with_the_status() {
    let server = TestServer::new();
    let once = |line: &str, body: &str| {
        let mut answer = String::new();
        let mut stream = server.ask(line, "accept: application/json\r\n", body);
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: application/json"), "{head}");
        let status: u16 = head[9..12].parse().unwrap();
        (status, body.to_owned())
    };
    let (status, body) = once(
        "POST /v1/vms",
        "{\"name\": \"web\", \"spec\": {\"nat\": true}, \"no_start\": true}",
    );
    let made: VmView = serde_json::from_str(&body).unwrap();
    assert_eq!((status, made.name.as_str()), (200, "web"));
    let of = |body: &str| serde_json::from_str::<Error>(body).unwrap().code;
    server.sim.refuse(is_made);
    let (status, body) = once("POST /v1/vms", "{\"name\": \"fails\"}");
    assert_eq!((status, of(&body)), (500, Code::Host));
    server.sim.refuse(|op| is_made(op) && panic!("as asked"));
    let (status, body) = once("POST /v1/vms", "{\"name\": \"panics\"}");
    assert_eq!((status, of(&body)), (500, Code::Internal));
    let bad = Finding::Bad {
        found: "no".to_owned(),
        hint: "mend it".to_owned(),
    };
    let is_subnet = |probe: &Probe| matches!(probe, Probe::SubnetFree { .. });
    server.sim.find(is_subnet, bad);
    let (status, body) = once("POST /v1/vms/web/start", "");
    assert_eq!((status, of(&body)), (503, Code::NotReady));
    let (status, body) = once("DELETE /v1/vms/nobody", "");
    assert_eq!((status, of(&body)), (404, Code::NotFound));
    let (status, body) = once("POST /v1/daemon/stop", "");
    let daemon: DaemonView = serde_json::from_str(&body).unwrap();
    assert_eq!((status, daemon), (200, server.engine.daemon()));
}

#[test]
fn work_that_panics_is_an_internal_error_and_the_server_lives() {
    let server = TestServer::new();
    server.sim.refuse(|op| is_made(op) && panic!("as asked"));
    let error = server.client().create(&named("web"), nothing).unwrap_err();
    assert_eq!(error.code, Code::Internal);
    assert!(error.message.starts_with("the work broke off"), "{error}");
    server.assert_serves();
}

/// A verb waits here, in its copy, until it is known that its client has gone.
fn wait_for_the_end_of_the_client(op: &Op) -> bool {
    if matches!(op, Op::File(FileOp::PackFiles { .. })) {
        eventually("the client has gone", crate::waiter::is_gone);
    }
    false
}

#[test]
fn a_client_that_goes_away_ends_the_copy_that_is_made_for_it() {
    for accepts in ["application/x-ndjson", "application/json"] {
        let server = TestServer::new();
        server.client().create(&named("web"), nothing).unwrap();
        let seq = server.engine.events(None, Duration::ZERO)[0].seq;
        server.sim.refuse(wait_for_the_end_of_the_client);
        let stream = server.ask(
            "POST /v1/vms/web/export",
            &format!("accept: {accepts}\r\n"),
            "{\"path\": \"/state/web.banger\"}",
        );
        let states = || {
            let events = server.engine.events(Some(seq), Duration::ZERO);
            let of_verb = |event: Event| match event.change {
                Change::Operation(operation) => Some(operation.state),
                _ => None,
            };
            events.into_iter().filter_map(of_verb).collect::<Vec<_>>()
        };
        eventually("the export begins", || !states().is_empty());
        drop(stream);
        let is_cancelled = |it: &OperationState| matches!(it, OperationState::Failed { error } if error.code == Code::Conflict);
        eventually("the export ends", || states().iter().any(is_cancelled));
        let left = server.sim.state().files;
        assert!(!left.contains_key(Path::new("/state/web.banger")));
        server.assert_serves();
    }
}

#[test]
fn a_client_that_goes_away_cancels_nothing() {
    let server = TestServer::new();
    let gate = Gate::new(&server.sim);
    let stream = server.ask(
        "POST /v1/vms",
        "",
        "{\"name\": \"web\", \"no_start\": true}",
    );
    eventually("the work begins", || gate.arrived() == 1);
    drop(stream);
    server.assert_serves();
    gate.open();
    eventually("the work ends", || {
        let web = server.engine.show(&vm("web"));
        web.is_ok_and(|it| it.phase == Phase::Stopped)
    });
}

#[test]
fn steps_that_a_client_does_not_read_delay_no_one() {
    let server = TestServer::new();
    let (at_work, _all_done) = mpsc::channel(1);
    let app = App {
        commands: Arc::new(Semaphore::new(exec::COMMANDS)),
        engine: server.engine.clone(),
        shutdown: server.shutdown.clone(),
        streams: Arc::new(Semaphore::new(1)),
        at_work,
        document: "".into(),
    };
    let (done, is_done) = std::sync::mpsc::channel();
    let chatty = move |_: &Engine, heard: crate::engine::ProgressSink<'_>| {
        for _ in 0..100_000 {
            heard(banger_api::Progress {
                step: "a step".to_owned(),
                seconds: None,
                bytes: None,
            });
        }
        done.send(()).unwrap();
        Ok("all is done")
    };
    let runtime = server.runtime.as_ref().unwrap();
    let answer = runtime.block_on(work::work(&app, request::ReplyMode::Lines, chatty));
    // Nobody has read the response yet.
    is_done.recv_timeout(world::LONG).unwrap();
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX);
    let body = runtime.block_on(body).unwrap();
    assert!(body.ends_with(b"{\"result\":\"all is done\"}\n"));
}

#[test]
fn hundreds_of_verbs_run_at_once() {
    const MANY: usize = 200;
    raise_descriptors();
    let server = TestServer::new();
    let gate = Gate::new(&server.sim);
    std::thread::scope(|scope| {
        for n in 0..MANY {
            let client = server.client();
            scope.spawn(move || client.create(&named(&format!("vm-{n}")), nothing).unwrap());
        }
        // All of them run at the same time, so none waits for another's thread.
        eventually("all are at work", || gate.arrived() == MANY);
        server.assert_serves();
        gate.open();
    });
    assert_eq!(server.engine.list().len(), MANY);
}
