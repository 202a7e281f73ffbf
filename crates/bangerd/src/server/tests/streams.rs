//! Events and consoles.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;

use banger_api::{Event, VmId};

use super::*;

fn gone(bits: u32) -> Event {
    Event::Gone {
        id: VmId::from_bits(bits),
    }
}

fn enough() -> Error {
    Error::new(Code::Internal, "enough")
}

#[test]
fn events_reach_every_client_in_order() {
    let server = Running::new();
    eventually("the server listens", || server.fake.listeners() == 1);
    std::thread::scope(|scope| {
        let (ready, is_ready) = channel();
        let clients: Vec<_> = (0..3)
            .map(|number| {
                let (client, ready) = (server.client(), ready.clone());
                scope.spawn(move || {
                    let mut told = String::new();
                    let _ = client.stream("/v1/events", |bytes| {
                        told += str::from_utf8(bytes).unwrap();
                        let _ = ready.send(number);
                        if told.lines().count() >= 4 {
                            Err(enough())
                        } else {
                            Ok(())
                        }
                    });
                    told
                })
            })
            .collect();
        // The first one is repeated until all three have heard it, then the others follow.
        let mut heard = BTreeSet::new();
        while heard.len() < 3 {
            server.fake.happen(&gone(1));
            heard.extend(is_ready.recv_timeout(Duration::from_millis(50)).ok());
            heard.extend(is_ready.try_iter());
        }
        for _ in 0..4 {
            server.fake.happen(&gone(2));
        }
        for client in clients {
            let told = client.join().unwrap();
            let events: Vec<Event> = told
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            assert!(events.starts_with(&[gone(1)]), "{events:?}");
            assert!(
                events
                    .iter()
                    .all(|event| [gone(1), gone(2)].contains(event)),
                "{events:?}"
            );
        }
    });
    assert_eq!(
        server.fake.listeners(),
        1,
        "the engine has one listener for all clients"
    );
}

#[test]
fn a_client_that_is_too_slow_is_told_how_many_it_missed() {
    let server = Running::new();
    eventually("the server listens", || server.fake.listeners() == 1);
    let mut stream = server.connect();
    stream
        .write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    // More than the socket's buffer and the server's queue hold together.
    for number in 0..50_000 {
        server.fake.happen(&gone(number));
    }
    let mut told = String::new();
    let mut buffer = [0; 65_536];
    while !told.contains("{\"missed\":") {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "ended without a word");
        told += str::from_utf8(&buffer[..length]).unwrap();
    }
}

#[test]
fn open_streams_and_silent_clients_do_not_hold_up_a_stop() {
    let mut server = Running::new();
    server.fake.print(b"login: ", true);
    let silent = server.connect();
    let mut streams = Vec::new();
    for path in ["/v1/events", "/v1/vms/calm-otter/logs?follow=true"] {
        let mut stream = server.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
        streams.push(stream);
    }
    server.stop.say();
    let took = server.ended();
    assert!(took < Duration::from_secs(3), "{took:?}");
    for mut stream in streams {
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    drop(silent);
}

#[test]
fn a_console_is_read_whole() {
    let server = Running::new();
    let text = b"\x1b[1mDebian\r\n\xff\0".repeat(100_000);
    for is_live in [true, false] {
        server
            .fake
            .print(if is_live { &text } else { b"" }, is_live);
        let mut told = Vec::new();
        let read = |bytes: &[u8]| {
            told.extend_from_slice(bytes);
            Ok(())
        };
        server
            .client()
            .stream("/v1/vms/calm-otter/logs", read)
            .unwrap();
        assert!(told == text, "{} bytes of {}", told.len(), text.len());
    }
}

#[test]
fn a_long_console_of_a_vm_that_stopped_is_followed_to_its_end() {
    let server = Running::new();
    for text in [vec![b'x'; 1_000_000], vec![b'x'; verbs::PIECE]] {
        server.fake.print(&text, false);
    }
    let mut told = 0;
    let count = |bytes: &[u8]| {
        told += bytes.len();
        Ok(())
    };
    server
        .client()
        .stream("/v1/vms/calm-otter/logs?follow=true", count)
        .unwrap();
    assert_eq!(told, 1_000_000 + verbs::PIECE);
}

#[test]
fn a_console_is_followed_until_its_vm_stops_and_all_is_sent() {
    let server = Running::new();
    server.fake.print(b"one ", true);
    let mut told = Vec::new();
    let mut pieces = 0;
    server
        .client()
        .stream("/v1/vms/calm-otter/logs?follow=true", |bytes| {
            told.extend_from_slice(bytes);
            pieces += 1;
            match pieces {
                1 => server.fake.print(b"two ", true),
                2 => server.fake.print(b"three", false),
                _ => {}
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(told, b"one two three");
}

#[test]
fn a_reader_ends_when_its_client_goes() {
    let server = Running::new();
    server.fake.print(b"login: ", true);
    let error = server
        .client()
        .stream("/v1/vms/calm-otter/logs?follow=true", |_| Err(enough()))
        .unwrap_err();
    assert_eq!(error, enough());
    let calls = || server.fake.console_calls.load(Ordering::SeqCst);
    eventually("the reader ends", || {
        let before = calls();
        // Longer than the fake waits for more.
        std::thread::park_timeout(Duration::from_millis(600));
        calls() == before
    });
}

#[test]
fn a_console_of_nobody_and_a_query_that_means_nothing_are_refused() {
    let server = Running::new();
    let read = |path: &str| server.client().stream(path, |_| Ok(())).unwrap_err();
    assert_eq!(
        read("/v1/vms/error-not-found/logs?follow=true"),
        fake::error("not-found")
    );
    for bad in ["follow=maybe", "folow=true"] {
        let error = read(&format!("/v1/vms/calm-otter/logs?{bad}"));
        assert_eq!(error.code, Code::Invalid);
        assert_eq!(error.message, "the request's query is not understood");
    }
}

#[test]
fn streams_are_bounded_and_verbs_go_on() {
    raise_descriptors();
    let server = Running::new();
    server.fake.print(b"login: ", true);
    let mut open = Vec::new();
    for _ in 0..stream::STREAMS {
        let mut stream = server.connect();
        write!(
            stream,
            "GET /v1/vms/calm-otter/logs?follow=true HTTP/1.1\r\nhost: x\r\n\r\n"
        )
        .unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
        open.push(stream);
    }
    let error = server
        .client()
        .stream("/v1/events", |_| Ok(()))
        .unwrap_err();
    assert_eq!(error.code, Code::Busy);
    let start = StartVm::default();
    let _: VmView = server
        .client()
        .work("POST", "/v1/vms/calm-otter/start", &start, nothing)
        .unwrap();
    drop(open);
    eventually("places are free again", || {
        let first = server
            .client()
            .stream("/v1/vms/calm-otter/logs?follow=true", |_| Err(enough()));
        first.unwrap_err() == enough()
    });
}
