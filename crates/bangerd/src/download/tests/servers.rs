//! Servers that are slow, cut off, lie, change their mind, or lead astray.

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
fn a_server_that_ignores_ranges_and_always_cuts_off_is_given_up() {
    let server = Server::start(|_, _, stream| cut(stream, content(), 400_000, "\"v1\""));
    let told = World::new().fail(&from(&[&server.url("/file")]));
    assert!(told.contains("in the middle"), "{told}");
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
fn a_part_that_is_longer_than_the_file_is_forgotten() {
    let server = Server::start(|number, request, stream| match number {
        0 => cut(stream, &vec![7; 1_500_000], 1_400_000, "\"v1\""),
        _ => whole(request, stream, content(), "\"v1\""),
    });
    World::new().succeed(&from(&[&server.url("/file")]));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_server_that_lies_about_length_and_content_is_found_out() {
    // It says more than it has.
    let server = Server::start(|_, request, stream| {
        let headers = "content-length: 1300000\r\n";
        reply(stream, "200 OK", headers, &content()[request.from()..]);
    });
    let told = World::new().fail(&from(&[&server.url("/file")]));
    assert!(told.contains("in the middle"), "{told}");
    // It says less, and sends all.
    let server = Server::start(|_, _, stream| {
        reply(stream, "200 OK", "content-length: 1000\r\n", content());
    });
    let told = World::new().fail(&from(&[&server.url("/file")]));
    assert!(
        told.contains("another SHA-256") && told.contains("of 1000 bytes"),
        "{told}"
    );
    // It sends something else, of the right length.
    let server = Server::start(|_, _, stream| {
        reply(stream, "200 OK", "", &vec![0; content().len()]);
    });
    let told = World::new().fail(&from(&[&server.url("/file")]));
    assert!(told.contains("another SHA-256"), "{told}");
    assert!(told.contains("hint: do not use it"), "{told}");
    // It sends no end of it, and says so, or does not.
    for headers in ["content-length: 99999999999\r\n", ""] {
        let server = Server::start(move |_, _, stream| {
            let head = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
            let mut sent = stream.write_all(head.as_bytes());
            while sent.is_ok() {
                sent = stream.write_all(&[0; 1 << 16]);
            }
        });
        let told = World::new().fail(&from(&[&server.url("/file")]));
        assert!(told.contains("more than the 2097152 bytes"), "{told}");
    }
}

#[test]
fn a_server_that_says_nothing_or_too_little_is_given_up() {
    let began = Instant::now();
    let silent = Server::start(|_, _, stream| {
        let _ = std::io::copy(stream, &mut std::io::sink());
    });
    let told = World::new().fail(&from(&[&silent.url("/file")]));
    assert!(told.contains("in time"), "{told}");
    // A byte now and then is no download either.
    let dripping = Server::start(|_, _, stream| {
        let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1200000\r\n\r\n");
        let never = Cancel::default();
        while sent.is_ok() && !never.wait(Duration::from_millis(20)) {
            sent = stream.write_all(b"x");
        }
    });
    let told = World::new().fail(&from(&[&dripping.url("/file")]));
    assert!(told.contains("bytes have come in"), "{told}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_server_in_trouble_is_asked_again_and_one_without_the_file_is_not() {
    let server = Server::start(|number, request, stream| match number {
        0 => reply(stream, "503 Service Unavailable", "retry-after: 0\r\n", b""),
        1 => reply(stream, "500 Internal Server Error", "", b"oops"),
        _ => whole(request, stream, content(), "\"v1\""),
    });
    let mut world = World::new();
    world.succeed(&from(&[&server.url("/file")]));
    assert!(
        world
            .heard
            .iter()
            .any(|it| it.contains("503") && it.contains("trying again"))
    );
    for (status, hint) in [
        ("404 Not Found", "curl -I"),
        ("403 Forbidden", "USER:PASSWORD"),
    ] {
        let server = Server::start(move |_, _, stream| reply(stream, status, "", b"no"));
        let told = World::new().fail(&from(&[&server.url("/file")]));
        assert!(told.contains(status.split(' ').next().unwrap()), "{told}");
        assert!(told.contains(hint), "{told}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn the_next_source_is_tried_and_all_are_told_when_none_has_it() {
    let missing = Server::start(|_, _, stream| reply(stream, "404 Not Found", "", b""));
    let wrong = Server::start(|_, _, stream| reply(stream, "200 OK", "", b"wrong"));
    let right = Server::of(content());
    let nobody = "http://127.0.0.1:1/file";
    let mut sources = vec![nobody.to_owned(), missing.url("/file"), wrong.url("/file")];
    let told = World::new().fail(&from(
        &sources.iter().map(String::as_str).collect::<Vec<_>>(),
    ));
    for words in ["nobody listens", "404", "another SHA-256"] {
        assert!(told.contains(words), "{told}");
    }
    sources.push(right.url("/file"));
    World::new().succeed(&from(
        &sources.iter().map(String::as_str).collect::<Vec<_>>(),
    ));
}

#[test]
fn what_one_source_began_another_ends() {
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
fn redirections_are_followed_but_not_for_ever_and_not_to_files() {
    let server = Server::start(|_, request, stream| match request.target.as_str() {
        "/from" => redirect(stream, "there/../file?x"),
        "/loop" => redirect(stream, "/loop"),
        "/secrets" => redirect(stream, "file:///etc/shadow"),
        "/nowhere" => reply(stream, "302 Found", "", b""),
        _ => whole(request, stream, content(), "\"v1\""),
    });
    World::new().succeed(&from(&[&server.url("/from")]));
    for (path, told) in [
        ("/loop", "more than 10 times"),
        ("/secrets", "`file:` address"),
        ("/nowhere", "does not say where"),
    ] {
        let report = World::new().fail(&from(&[&server.url(path)]));
        assert!(report.contains(told), "{report}");
    }
}
