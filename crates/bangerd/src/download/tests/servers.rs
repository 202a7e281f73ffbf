//! Servers that are slow, cut off, lie about length or content, or redirect.

use std::io::Write as _;
use std::time::Instant;

use super::server::{Server, cut, redirect, reply, whole};
use super::*;

#[test]
fn a_server_that_cuts_off_is_asked_for_the_rest() {
    let server = Server::start(|_, request, stream| {
        let from = request.from();
        let until = (from + 400_000).min(content().len());
        if from == 0 {
            return cut(stream, content(), until, "\"v1\"");
        }
        let headers = format!(
            "etag: \"v1\"\r\ncontent-range: bytes {from}-{}/{}\r\ncontent-length: {}\r\n",
            content().len() - 1,
            content().len(),
            content().len() - from
        );
        reply(
            stream,
            "206 Partial Content",
            &headers,
            &content()[from..until],
        );
    });
    let mut world = World::new();
    world.succeed(&from(&[&server.url("/file")]));
    let asked: Vec<_> = server.requests().iter().map(|it| it.from()).collect();
    assert_eq!(asked, [0, 400_000, 800_000]);
}

#[test]
fn a_server_that_ignores_ranges_is_read_from_the_beginning() {
    let server = Server::start(|number, _, stream| match number {
        0 => cut(stream, content(), 400_000, "\"v1\""),
        _ => cut(stream, content(), content().len(), "\"v1\""),
    });
    World::new().succeed(&from(&[&server.url("/file")]));
    assert_eq!(server.requests()[1].from(), 400_000);
}

#[test]
fn a_server_that_ignores_ranges_and_always_cuts_off_fails() {
    let server = Server::start(|_, _, stream| cut(stream, content(), 400_000, "\"v1\""));
    let report = World::new().fail(&from(&[&server.url("/file")]));
    assert!(report.contains("closed the connection early"), "{report}");
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_file_that_changes_between_two_requests_is_read_from_the_beginning() {
    let old: Vec<u8> = content().iter().map(|it| !it).collect();
    for tags in [true, false] {
        let old = old.clone();
        let server = Server::start(move |number, request, stream| match (number, tags) {
            (0, _) => cut(stream, &old, 400_000, "\"old\""),
            (_, true) => whole(request, stream, content(), "\"new\""),
            // It does not know `If-Range`, nor tags: only the digest tells.
            (_, false) => {
                let mut request = request.clone();
                request.headers.remove("if-range");
                whole(&request, stream, content(), "W/\"weak\"");
            }
        });
        World::new().succeed(&from(&[&server.url("/file")]));
        assert_eq!(server.requests()[1].header("if-range"), Some("\"old\""));
    }
}

#[test]
fn a_partial_file_longer_than_the_server_file_is_discarded() {
    let server = Server::start(|number, request, stream| match number {
        0 => cut(stream, &vec![7; 1_500_000], 1_400_000, "\"v1\""),
        _ => whole(request, stream, content(), "\"v1\""),
    });
    World::new().succeed(&from(&[&server.url("/file")]));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn wrong_lengths_and_contents_are_detected() {
    // Content-Length too large.
    let server = Server::start(|_, request, stream| {
        let headers = "content-length: 1300000\r\n";
        reply(stream, "200 OK", headers, &content()[request.from()..]);
    });
    let report = World::new().fail(&from(&[&server.url("/file")]));
    assert!(report.contains("closed the connection early"), "{report}");
    // Content-Length too small.
    let server = Server::start(|_, _, stream| {
        reply(stream, "200 OK", "content-length: 1000\r\n", content());
    });
    let report = World::new().fail(&from(&[&server.url("/file")]));
    assert!(
        report.contains("SHA-256 of the 1000 bytes received differs"),
        "{report}"
    );
    // The right length, another content.
    let server = Server::start(|_, _, stream| {
        reply(stream, "200 OK", "", &vec![0; content().len()]);
    });
    let report = World::new().fail(&from(&[&server.url("/file")]));
    assert!(report.contains("SHA-256 of"), "{report}");
    assert!(report.contains("hint: do not use it"), "{report}");
    // An endless body, with and without Content-Length.
    for headers in ["content-length: 99999999999\r\n", ""] {
        let server = Server::start(move |_, _, stream| {
            let head = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
            let mut sent = stream.write_all(head.as_bytes());
            while sent.is_ok() {
                sent = stream.write_all(&[0; 1 << 16]);
            }
        });
        let report = World::new().fail(&from(&[&server.url("/file")]));
        assert!(report.contains("limit of 2097152 bytes"), "{report}");
    }
}

#[test]
fn a_silent_and_a_dripping_server_time_out() {
    let began = Instant::now();
    let silent = Server::start(|_, _, stream| {
        let _ = std::io::copy(stream, &mut std::io::sink());
    });
    let report = World::new().fail(&from(&[&silent.url("/file")]));
    assert!(report.contains("in time"), "{report}");
    // One byte now and then.
    let dripping = Server::start(|_, _, stream| {
        let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1200000\r\n\r\n");
        let never = CancelToken::default();
        while sent.is_ok() && !never.wait(Duration::from_millis(20)) {
            sent = stream.write_all(b"x");
        }
    });
    let report = World::new().fail(&from(&[&dripping.url("/file")]));
    assert!(report.contains("bytes received in"), "{report}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_server_error_is_retried_and_a_missing_file_is_not() {
    let server = Server::start(|number, request, stream| match number {
        0 => reply(stream, "503 Service Unavailable", "retry-after: 0\r\n", b""),
        1 => reply(stream, "500 Internal Server Error", "", b"oops"),
        _ => whole(request, stream, content(), "\"v1\""),
    });
    let mut world = World::new();
    world.succeed(&from(&[&server.url("/file")]));
    assert!(
        world
            .progress
            .iter()
            .any(|it| it.contains("503") && it.contains("retrying"))
    );
    for (status, hint) in [
        ("404 Not Found", "curl -I"),
        ("403 Forbidden", "USER:PASSWORD"),
    ] {
        let server = Server::start(move |_, _, stream| reply(stream, status, "", b"no"));
        let report = World::new().fail(&from(&[&server.url("/file")]));
        assert!(
            report.contains(status.split(' ').next().unwrap()),
            "{report}"
        );
        assert!(report.contains(hint), "{report}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn the_next_source_is_tried_and_all_failures_are_reported() {
    let missing = Server::start(|_, _, stream| reply(stream, "404 Not Found", "", b""));
    let wrong = Server::start(|_, _, stream| reply(stream, "200 OK", "", b"wrong"));
    let right = Server::of(content());
    let nobody = "http://127.0.0.1:1/file";
    let mut sources = vec![nobody.to_owned(), missing.url("/file"), wrong.url("/file")];
    let report = World::new().fail(&from(
        &sources.iter().map(String::as_str).collect::<Vec<_>>(),
    ));
    for expected in ["connection refused", "404", "SHA-256 of"] {
        assert!(report.contains(expected), "{report}");
    }
    sources.push(right.url("/file"));
    World::new().succeed(&from(
        &sources.iter().map(String::as_str).collect::<Vec<_>>(),
    ));
}

#[test]
fn a_download_is_resumed_from_the_next_source() {
    let first = Server::start(|number, _, stream| match number {
        0 => cut(stream, content(), 700_000, "\"v1\""),
        _ => reply(stream, "404 Not Found", "", b""),
    });
    let second = Server::of(content());
    World::new().succeed(&from(&[&first.url("/file"), &second.url("/file")]));
    assert_eq!(second.requests()[0].from(), 700_000);
    assert_eq!(second.requests()[0].header("if-range"), None);
}

#[test]
fn redirections_are_followed_up_to_a_limit_and_never_to_files() {
    let server = Server::start(|_, request, stream| match request.target.as_str() {
        "/from" => redirect(stream, "there/../file?x"),
        "/loop" => redirect(stream, "/loop"),
        "/secrets" => redirect(stream, "file:///etc/shadow"),
        "/nowhere" => reply(stream, "302 Found", "", b""),
        _ => whole(request, stream, content(), "\"v1\""),
    });
    World::new().succeed(&from(&[&server.url("/from")]));
    for (path, expected) in [
        ("/loop", "more than 10 redirections"),
        ("/secrets", "`file:` address"),
        ("/nowhere", "no Location header"),
    ] {
        let report = World::new().fail(&from(&[&server.url(path)]));
        assert!(report.contains(expected), "{report}");
    }
}
