use super::*;

use std::io::{BufRead as _, Read as _};
use std::net::TcpListener;

use banger_guest::protocol::encode;
use banger_guest::streams::ListenLine;

/// A stream of this kind, whose first line is `line`, in a thread.
fn stream(
    kind: StreamKind,
    line: &impl serde::Serialize,
    pending: &Arc<PendingConnections>,
) -> UnixStream {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let pending = Arc::clone(pending);
    std::thread::spawn(move || serve(byte_of(kind), theirs, &pending));
    ours.set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    ours.write_all(&encode(line)).unwrap();
    ours
}

fn line_of(stream: &mut UnixStream) -> String {
    String::from_utf8(read_line(stream, Instant::now() + PATIENCE).unwrap()).unwrap()
}

fn tcp(port: u16) -> Target {
    let host = "localhost".to_owned();
    Target::Tcp { host, port }
}

#[test]
fn a_stream_becomes_a_connection() {
    let pending = Arc::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = tcp(listener.local_addr().unwrap().port());
    let mut client = stream(StreamKind::Connect, &target, &pending);
    let (mut service, _) = listener.accept().unwrap();
    assert_eq!(line_of(&mut client), r#""connected""#);
    client.write_all(b"question").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    service.read_to_string(&mut text).unwrap();
    service.write_all(b"answer").unwrap();
    drop(service);
    text.clear();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "answer");
}

#[test]
fn what_cannot_be_reached_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s").display().to_string();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let pending = Arc::default();
    for (target, words) in [
        (tcp(port), format!("nothing listens on port {port}")),
        (Target::Unix(path.clone()), format!("no socket `{path}`")),
    ] {
        let mut client = stream(StreamKind::Connect, &target, &pending);
        let line = line_of(&mut client);
        assert!(line.contains(&words), "{line}");
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
    let mut client = stream(StreamKind::Accept, &Accept { accept: 1 }, &pending);
    assert!(line_of(&mut client).contains("gone"));
    let mut client = stream(StreamKind::Connect, &"nonsense", &pending);
    assert!(line_of(&mut client).contains("not understood"));
}

#[test]
fn a_listener_tells_of_connections_and_each_is_taken_once() {
    let pending = Arc::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s").display().to_string();
    let target = Target::Unix(path.clone());
    let mut told = stream(StreamKind::Listen, &target, &pending);
    assert_eq!(line_of(&mut told), r#"{"listening":0}"#);
    let mut busy = stream(StreamKind::Listen, &target, &pending);
    assert!(line_of(&mut busy).contains("exists in the guest"));
    let mut lines = io::BufReader::new(told.try_clone().unwrap()).lines();
    // The probe of the second listener was a connection, too.
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"hello").unwrap();
    let mut number = 0;
    for _ in 0..2 {
        let line: ListenLine = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let ListenLine::Connection(told) = line else {
            panic!("{line:?}");
        };
        number = told;
    }
    let accept = Accept { accept: number };
    let mut taken = stream(StreamKind::Accept, &accept, &pending);
    assert_eq!(line_of(&mut taken), r#""connected""#);
    let mut got = [0; 5];
    taken.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hello");
    let mut again = stream(StreamKind::Accept, &accept, &pending);
    assert!(line_of(&mut again).contains("gone"));
    told.shutdown(std::net::Shutdown::Both).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while std::path::Path::new(&path).exists() {
        assert!(std::time::Instant::now() < deadline, "it still listens");
        std::thread::yield_now();
    }
}

#[test]
fn a_stream_crosses_to_another_process_with_its_kind() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (mut near, far) = UnixStream::pair().unwrap();
    send(&ours, &far, StreamKind::Listen).unwrap();
    drop((ours, far));
    let (kind, mut stream) = receive(&theirs).unwrap().unwrap();
    assert_eq!(kind, b'l');
    stream.write_all(b"x").unwrap();
    near.read_exact(&mut [0]).unwrap();
    assert!(receive(&theirs).unwrap().is_none());
}
