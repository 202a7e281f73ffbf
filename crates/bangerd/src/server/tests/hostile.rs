//! Hostile and broken clients.

use banger_api::API_VERSION;
use std::io::{Read as _, Write as _};
use std::time::Instant;

use super::*;

#[test]
fn an_unknown_path_and_an_unknown_method_are_errors_in_json() {
    let server = TestServer::new();
    for (request, status, code, words) in [
        ("GET /", 404, "not-found", "unknown path `/`"),
        (
            "GET /v1/vms/a/b/c",
            404,
            "not-found",
            "unknown path `/v1/vms/a/b/c`",
        ),
        (
            "PUT /v1/vms",
            405,
            "invalid",
            "`/v1/vms` does not support PUT",
        ),
        (
            "DELETE /v1/version",
            405,
            "invalid",
            "`/v1/version` does not support DELETE",
        ),
        (
            "GET /v1/vms/UPPER",
            400,
            "invalid",
            "\\\"UPPER\\\" names no VM",
        ),
        ("GET /v1/vms/..%2f..%2fetc", 400, "invalid", "names no VM"),
        ("GET /v1/vms/a%00b", 400, "invalid", "names no VM"),
        ("GET /v1/vms/%ff", 400, "invalid", "read the path"),
        (
            "GET /v1/vms?label=a",
            400,
            "invalid",
            "GET `/v1/vms` takes no query: `label=a`",
        ),
        (
            "DELETE /v1/vms/web?force=true",
            400,
            "invalid",
            "DELETE `/v1/vms/{ref}` takes no query",
        ),
        ("GET /v1/events?sinse=1", 400, "invalid", "sinse"),
        ("GET /v1/version?", 200, "", "version"),
    ] {
        let answer = server.raw(&format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n"));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
        assert!(
            answer.contains(&format!("banger-api: {API_VERSION}\r\n")),
            "{request}: {answer}"
        );
        assert!(
            answer.contains("content-type: application/json\r\n"),
            "{request}: {answer}"
        );
        assert!(
            code.is_empty() || answer.contains(&format!("{{\"code\":\"{code}\"")),
            "{request}: {answer}"
        );
        assert!(answer.contains(words), "{request}: {answer}");
    }
    assert_eq!(server.engine.list(), []);
}

#[test]
fn a_body_that_is_not_understood_reaches_no_engine() {
    let server = TestServer::new();
    for (body, words) in [
        (
            "{\"spec\": {\"vcpu\": \"two\"}}",
            "`spec.vcpu`: invalid type: string \\\"two\\\", expected u32",
        ),
        ("{\"vcpus\": 2}", "unknown field `vcpus`"),
        ("{", "line 1 column 1"),
        ("nonsense", "line 1 column 2"),
    ] {
        let length = body.len();
        let answer = server.raw(&format!(
            "POST /v1/vms HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains(words), "{answer}");
    }
    assert_eq!(server.engine.list(), []);
}

#[test]
fn a_huge_body_is_refused_before_it_is_sent() {
    let server = TestServer::new();
    let head = "POST /v1/vms HTTP/1.1\r\nhost: x\r\ncontent-length: 1073741824\r\n\r\n";
    let answer = server.raw(head);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("larger than 1 MiB"), "{answer}");
}

#[test]
fn a_body_without_a_length_is_cut_off() {
    let server = TestServer::new();
    let mut stream = server.connect();
    stream
        .write_all(b"POST /v1/vms HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .unwrap();
    let chunk = [b"10000\r\n", &vec![b' '; 0x10000][..], b"\r\n"].concat();
    // The connection is closed long before the hundredth.
    let sent = (0..100)
        .take_while(|_| stream.write_all(&chunk).is_ok())
        .count();
    assert!(sent < 100);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(server.engine.list(), []);
}

#[test]
fn garbage_does_no_harm() {
    let server = TestServer::new();
    let long_head = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(200_000));
    let many_heads = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(5_000));
    for garbage in [
        &b"\x00\x01\x02\xff\xfe"[..],
        b"\r\n\r\n\r\n\r\n",
        b"GET",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /v1/vms HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST /v1/vms HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/vms HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n",
        long_head.as_bytes(),
        many_heads.as_bytes(),
    ] {
        let mut stream = server.connect();
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    server.assert_serves();
    assert_eq!(server.engine.list(), []);
}

#[test]
fn two_lengths_or_a_hidden_request_do_not_smuggle_one_in() {
    let server = TestServer::new();
    let answer = server.raw(
        "GET /v1/version HTTP/1.1\r\nhost: x\r\n\r\n\
         POST /v1/vms HTTP/1.1\r\nhost: x\r\n\r\n",
    );
    assert_eq!(
        answer.matches("HTTP/1.1 ").count(),
        1,
        "one request a connection: {answer}"
    );
    assert_eq!(server.engine.list(), []);
}

#[test]
fn a_thousand_idle_clients_lock_no_one_out() {
    raise_descriptors();
    let server = TestServer::new();
    let client = server.client();
    let mut events = client.events(None).unwrap();
    events.next().unwrap().unwrap();
    let mut silent = Vec::new();
    for number in 0..1000 {
        let mut stream = server.connect();
        if number % 2 == 0 {
            stream.write_all(b"GET /v1/vms HTTP/1.1\r\nx: ").unwrap();
        }
        silent.push(stream);
    }
    let begun = Instant::now();
    server.assert_serves();
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    // The oldest client was disconnected to make room.
    let _ = silent[1]
        .read(&mut [0; 8])
        .map(|length| assert_eq!(length, 0));
    // A client with a request keeps its permit, however long the response takes.
    server.engine.create(&named("web"), &nothing).unwrap();
    events.next().unwrap().unwrap();
}

#[test]
fn a_client_that_never_ends_its_head_is_sent_away() {
    let server = TestServer::new();
    let begun = Instant::now();
    let mut slow = server.connect();
    let mut silent = server.connect();
    slow.write_all(b"GET /v1/vms HTTP/1.1\r\n").unwrap();
    for stream in [&mut slow, &mut silent] {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let took = begun.elapsed();
    assert!(took > PATIENCE / 2 && took < PATIENCE * 2, "{took:?}");
}

#[test]
fn an_encoded_body_is_refused_in_words() {
    let server = TestServer::new();
    for (encoding, status) in [("gzip", 415), ("identity", 404)] {
        let answer = server.raw(&format!(
            "POST /v1/vms/nosuch/kill HTTP/1.1\r\nhost: x\r\ncontent-encoding: {encoding}\r\n\
             content-length: 2\r\n\r\n{{}}"
        ));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{encoding}: {answer}"
        );
    }
}
