//! Commands in a guest, its ports and its usage.

use std::io::Write as _;

use banger_api::exec::{ExecFrame, ExecReader};
use banger_api::{JobState, JobView, KillJob, PortView, PruneJobs, RemoveJob, VmRef};

use super::*;

/// All frames up to the last one.
fn read_to_end(stream: banger_api::client::ExecStream) -> Vec<ExecFrame> {
    let mut socket = stream.socket;
    let mut reader = ExecReader::default();
    reader.push(&stream.early);
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    reader.push(&bytes);
    std::iter::from_fn(|| reader.next_frame().unwrap()).collect()
}

#[test]
fn a_command_has_the_connection_to_itself() {
    let server = TestServer::with_vm();
    let client = server.client();
    let mut stream = client.exec(&vm("calm-otter")).unwrap();
    for frame in [
        ExecFrame::Word(b"a b\xff".to_vec()),
        ExecFrame::Word(b"exit=7".to_vec()),
        ExecFrame::Start(b"{}".to_vec()),
        ExecFrame::Stdin(b"\0in".to_vec()),
        ExecFrame::StdinEnd,
    ] {
        stream.socket.write_all(&frame.encode()).unwrap();
    }
    let frames = read_to_end(stream);
    assert_eq!(frames[0], ExecFrame::Started);
    assert_eq!(frames[1], ExecFrame::Stdout(b"a b\xff\nexit=7\n".to_vec()));
    assert!(
        frames.contains(&ExecFrame::Stderr(b"\0in".to_vec())),
        "{frames:?}"
    );
    assert_eq!(frames.last(), Some(&ExecFrame::Exit(7)));
}

#[test]
fn what_keeps_a_command_from_its_vm_is_a_plain_error() {
    let server = TestServer::with_vm();
    let client = server.client();
    let error = client.exec(&vm("nobody")).unwrap_err();
    assert_eq!(error.code, Code::NotFound);
    let kill = KillVm::default();
    server
        .engine
        .kill(&vm("calm-otter"), &kill, &nothing)
        .unwrap();
    let asks: [fn(&banger_api::client::Client, &VmRef) -> banger_api::Error; 6] = [
        |client, name| client.exec(name).unwrap_err(),
        |client, name| client.detach(name).unwrap_err(),
        |client, name| client.attach(name, &"j1".parse().unwrap()).unwrap_err(),
        |client, name| client.jobs(name).unwrap_err(),
        |client, name| client.ports(name).unwrap_err(),
        |client, name| client.stats(name).unwrap_err(),
    ];
    for ask in asks {
        let error = ask(&client, &vm("calm-otter"));
        assert_eq!(error.code, Code::Conflict, "{error:?}");
        assert_eq!(error.hints, ["banger vm start calm-otter"]);
    }
    let answer = server.raw("GET /v1/vms/calm-otter/exec HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
    assert!(answer.contains("upgrade: banger-exec"), "{answer}");
}

#[test]
fn open_commands_do_not_hold_up_a_stop() {
    let mut server = TestServer::with_vm();
    let stream = server.client().exec(&vm("calm-otter")).unwrap();
    server.shutdown.begin();
    let took = server.ended();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(read_to_end(stream), []);
}

#[test]
fn ports_and_usage_are_the_guests_and_the_hosts() {
    let server = TestServer::with_vm();
    let client = server.client();
    let ports: Vec<PortView> = client.ports(&vm("calm-otter")).unwrap();
    assert_eq!(
        (ports[0].port, ports[0].process.as_deref()),
        (22, Some("sshd"))
    );
    let stats = client.stats(&vm("calm-otter")).unwrap();
    assert_eq!(stats.name.as_str(), "calm-otter");
    assert!(stats.host.memory_bytes > 0 && stats.host.shared_evenly);
    assert!(stats.guest.unwrap().received_bytes >= 1000);
    assert_eq!(stats.guest_error, None);
    let metrics = server.engine.metrics();
    for line in [
        "banger_vm_cpu_seconds_total{vm=\"calm-otter\"} 0.01",
        "banger_vm_host_memory_bytes{vm=\"calm-otter\",kind=\"pss\"} 1048576",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

/// Starts a job with these words.
fn detach(client: &banger_api::client::Client, words: &[&str], start: &str) -> JobView {
    let mut stream = client.detach(&vm("calm-otter")).unwrap();
    let words = words
        .iter()
        .map(|it| ExecFrame::Word(it.as_bytes().to_vec()));
    for frame in words.chain([ExecFrame::Start(start.as_bytes().to_vec())]) {
        stream.socket.write_all(&frame.encode()).unwrap();
    }
    match read_to_end(stream).pop() {
        Some(ExecFrame::Job(json)) => {
            let id = serde_json::from_slice::<serde_json::Value>(&json).unwrap()["id"].clone();
            let jobs = client.jobs(&vm("calm-otter")).unwrap();
            jobs.into_iter().find(|it| id == it.id.as_str()).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_outlives_its_connection_and_is_attached_to_killed_and_removed() {
    let server = TestServer::with_vm();
    let (client, otter) = (server.client(), vm("calm-otter"));
    let done = detach(&client, &["x", "exit=7"], "{}");
    assert_eq!((done.state, done.status), (JobState::Exited, Some(7)));
    let job = detach(&client, &["stay"], r#"{"name":"web"}"#);
    assert_eq!((job.state, job.status), (JobState::Running, None));
    let name = job.name.unwrap();
    let mut stream = client.attach(&otter, &name).unwrap();
    let start = ExecFrame::Start(br#"{"follow":true}"#.to_vec());
    stream.socket.write_all(&start.encode()).unwrap();
    let refused = client.remove_job(&otter, &name, &RemoveJob::default());
    assert_eq!(refused.unwrap_err().code, Code::Conflict);
    client.kill_job(&otter, &name, &KillJob::default()).unwrap();
    let frames = read_to_end(stream);
    assert_eq!(frames[1], ExecFrame::Stdout(b"stay\n".to_vec()));
    assert_eq!(frames.last(), Some(&ExecFrame::Exit(143)));
    let again = client.kill_job(&otter, &name, &KillJob::default());
    assert_eq!(again.unwrap_err().code, Code::Conflict);
    let removed = client.remove_job(&otter, &job.id, &RemoveJob::default());
    assert_eq!(removed.unwrap().signal, Some(15));
    let unknown = client.remove_job(&otter, &job.id, &RemoveJob::default());
    assert_eq!(unknown.unwrap_err().code, Code::NotFound);
    let pruned = client.prune_jobs(&otter, &PruneJobs::default()).unwrap();
    assert_eq!(pruned.len(), 1);
    assert_eq!(client.jobs(&otter).unwrap(), []);
}

/// The API and the guest's protocol have separate definitions of the frames.
#[test]
fn a_clients_frames_are_the_guests() {
    use banger_guest::streams as guest;
    // Lists each variant once, with both names.
    macro_rules! each {
        ($($frame:ident $(($($value:expr),+))?),+ $(,)?) => {
            [$((
                ExecFrame::$frame $(($($value),+))?,
                guest::ExecFrame::$frame $(($($value),+))?,
            )),+]
        };
    }
    let frames = each![
        Word(vec![1]),
        Variable(b"A=1".to_vec()),
        Start(b"{}".to_vec()),
        Stdin(vec![2]),
        StdinEnd,
        Signal(15),
        Resize(80, 24),
        Started,
        Stdout(vec![3]),
        Stderr(vec![4]),
        Room(9),
        Exit(143),
        Refusal(127, "x".to_owned()),
        Job(b"{}".to_vec()),
        Dropped(1 << 40),
        End(b"{}".to_vec()),
    ];
    for (ours, theirs) in &frames {
        assert_eq!(ours.encode(), theirs.encode());
        let (mut reader, mut guests) = (ExecReader::default(), guest::ExecReader::default());
        reader.push(&theirs.encode());
        guests.push(&ours.encode());
        assert_eq!(reader.next_frame().unwrap().as_ref(), Some(ours));
        assert_eq!(guests.next_frame().unwrap().as_ref(), Some(theirs));
    }
    let start = banger_api::exec::ExecStart {
        user: Some("ada".to_owned()),
        directory: Some("/srv".to_owned()),
        terminal: Some((80, 24)),
        timeout_millis: Some(5),
        name: Some("web".to_owned()),
        input: true,
        tells_end: true,
    };
    let json = serde_json::to_value(&start).unwrap();
    let read: guest::ExecStart = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), json);
    let attach = banger_api::AttachStart {
        input: true,
        follow: true,
        terminal: Some((80, 24)),
    };
    let json = serde_json::to_value(&attach).unwrap();
    let read: guest::AttachStart = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), json);
    for (name, is_reference) in [("j1", true), ("web.1", true), ("-x", false), ("a/b", false)] {
        let parsed = name.parse::<banger_api::JobRef>();
        assert_eq!(parsed.is_ok(), is_reference, "{name}");
        assert_eq!(guest::is_job_reference(name), is_reference, "{name}");
        let is_id = parsed.is_ok_and(|job| job.is_id());
        assert_eq!(guest::is_job_id(name), is_id, "{name}");
    }
    assert_eq!(
        (
            banger_api::exec::STDIN_WINDOW,
            banger_api::exec::LONGEST_EXEC_FRAME
        ),
        (guest::STDIN_WINDOW, guest::LONGEST_EXEC_FRAME)
    );
}

#[test]
fn a_connection_is_a_services_and_the_end_of_one_direction_leaves_the_other() {
    let mut server = TestServer::with_vm();
    let client = server.client();
    let web = vm("calm-otter");
    let connect = |to: &str| client.connect(&web, &to.parse().unwrap());
    for to in ["80", "[::1]:80", "/run/a b"] {
        let mut stream = connect(to).unwrap();
        stream.socket.write_all(b"a\0b").unwrap();
        stream.socket.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = stream.early;
        stream.socket.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"a\0b");
    }
    let error = connect("8080").unwrap_err();
    assert_eq!(error.code, Code::Guest);
    assert!(error.report().contains("nothing listens"), "{error:?}");
    let error = client
        .connect(&vm("nobody"), &"80".parse().unwrap())
        .unwrap_err();
    assert_eq!(error.code, Code::NotFound);
    for query in ["", "?tcp=80&unix=/s", "?tcp=x", "?udp=53"] {
        let path = format!(
            "GET /v1/vms/calm-otter/connect{query} HTTP/1.1\r\nhost: x\r\n\
             connection: upgrade\r\nupgrade: banger-connect\r\n\r\n"
        );
        let answer = server.raw(&path);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    // A stop of the VM ends open connections.
    let mut open = connect("80").unwrap();
    server.shutdown.begin();
    let took = server.ended();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(open.socket.read(&mut [0]).unwrap(), 0);
}
