//! Consoles, and what all streams have in common.

use std::io::Write as _;

use banger_api::LogSource;

use super::*;

fn read_all(pieces: impl Iterator<Item = banger_api::Result<hyper::body::Bytes>>) -> Vec<u8> {
    pieces.flat_map(|piece| piece.unwrap()).collect()
}

#[test]
fn open_streams_and_silent_clients_do_not_hold_up_a_stop() {
    let mut server = TestServer::with_vm();
    let silent = server.connect();
    let mut streams = Vec::new();
    for path in ["/v1/events", "/v1/vms/calm-otter/logs?follow=true"] {
        let mut stream = server.ask(&format!("GET {path}"), "", "");
        stream.read_exact(&mut [0; 12]).unwrap();
        streams.push(stream);
    }
    server.shutdown.begin();
    let took = server.ended();
    assert!(took < Duration::from_secs(3), "{took:?}");
    for mut stream in streams {
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    drop(silent);
}

#[test]
fn a_console_is_read_whole_while_its_vm_runs_and_after() {
    let server = TestServer::new();
    let web = server.create("web");
    let before = read_all(server.client().logs(&vm("web"), false).unwrap());
    let text = "\u{1b}[1mDebian\r\n\0".repeat(100_000);
    server.print(&web, &text);
    let expected = [before, text.into_bytes()].concat();
    let read = || read_all(server.client().logs(&vm("web"), false).unwrap());
    assert!(read() == expected, "{} of {}", read().len(), expected.len());
    let kill = KillVm::default();
    server.engine.kill(&vm("web"), &kill, &nothing).unwrap();
    assert!(read() == expected, "{} of {}", read().len(), expected.len());
}

#[test]
fn the_hypervisors_log_is_another_one_and_is_followed_until_the_vm_stops() {
    let server = TestServer::with_vm();
    let vm = vm("calm-otter");
    let folder = format!(
        "/state/vms/{}/machine",
        server.client().show(&vm).unwrap().id
    );
    let log = format!("{folder}/hypervisor.log");
    server.sim.append(log.as_ref(), "qemu: a warning\n");
    let read = |source| read_all(server.client().logs_of(&vm, source, false).unwrap());
    assert!(read(LogSource::Hypervisor).ends_with(b"qemu: a warning\n"));
    let console = String::from_utf8_lossy(&read(LogSource::Console)).into_owned();
    assert!(!console.contains("qemu"), "{console}");
    let client = server.client();
    let followed = std::thread::scope(|scope| {
        let follow = || read_all(client.logs_of(&vm, LogSource::Hypervisor, true).unwrap());
        let follower = scope.spawn(follow);
        server.sim.append(log.as_ref(), "the last words\n");
        server
            .engine
            .kill(&vm, &KillVm::default(), &nothing)
            .unwrap();
        follower.join().unwrap()
    });
    assert!(String::from_utf8_lossy(&followed).contains("the last words\n"));
}

#[test]
fn a_long_console_of_a_stopped_vm_is_followed_to_its_end() {
    for length in [1_000_000, crate::engine::CHUNK] {
        let server = TestServer::new();
        let web = server.create("web");
        let before = read_all(server.client().logs(&vm("web"), false).unwrap()).len();
        server.print(&web, &"x".repeat(length - before));
        let kill = KillVm::default();
        server.engine.kill(&vm("web"), &kill, &nothing).unwrap();
        let read = read_all(server.client().logs(&vm("web"), true).unwrap());
        assert_eq!(read.len(), length);
    }
}

#[test]
fn a_console_is_followed_until_its_vm_stops_and_all_is_sent() {
    let server = TestServer::new();
    let web = server.create("web");
    server.print(&web, "one ");
    let client = server.client();
    let mut read = Vec::new();
    for piece in client.logs(&vm("web"), true).unwrap() {
        let before = read.len();
        read.extend_from_slice(&piece.unwrap());
        let has = |text: &[u8], upto: usize| read[..upto].ends_with(text);
        if has(b"one ", read.len()) {
            server.print(&web, "two ");
        } else if has(b"two ", read.len()) && !has(b"two ", before) {
            server.print(&web, "three");
            let kill = KillVm::default();
            server.engine.kill(&vm("web"), &kill, &nothing).unwrap();
        }
    }
    let read = String::from_utf8(read).unwrap();
    assert!(read.contains("one two three"), "{read}");
}

#[test]
fn a_followed_console_ends_when_its_reader_cancels_it() {
    let server = TestServer::with_vm();
    let client = server.client();
    let mut pieces = client.logs(&vm("calm-otter"), true).unwrap();
    let token = pieces.token();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || pieces.by_ref().count());
        token.cancel();
        token.cancel();
        reader.join().unwrap();
    });
    server.assert_serves();
}

#[test]
fn a_console_of_an_unknown_vm_and_an_invalid_query_are_rejected() {
    let server = TestServer::with_vm();
    let error = server.client().logs(&vm("nobody"), true).unwrap_err();
    assert_eq!(error.code, Code::NotFound);
    for bad in [
        "vms/calm-otter/logs?follow=maybe",
        "vms/calm-otter/logs?folow=true",
        "vms/calm-otter/logs?source=kernel",
        "events?since=yesterday",
        "events?sinse=4",
    ] {
        let answer = server.raw(&format!("GET /v1/{bad} HTTP/1.1\r\nhost: x\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(
            answer.contains("the request's query is not understood"),
            "{answer}"
        );
    }
}

#[test]
fn streams_are_bounded_and_verbs_go_on() {
    raise_descriptors();
    let server = TestServer::with_vm();
    let mut open = Vec::new();
    for number in 0..stream::STREAMS {
        let path = ["events", "vms/calm-otter/logs?follow=true"][number % 2];
        let mut stream = server.connect();
        write!(stream, "GET /v1/{path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
        open.push(stream);
    }
    let client = server.client();
    assert_eq!(client.events(None).unwrap_err().code, Code::Busy);
    let restart = StopVm::default();
    client
        .restart(&vm("calm-otter"), &restart, nothing)
        .unwrap();
    drop(open);
    eventually("their threads have seen that they are gone", || {
        client.events(None).is_ok()
    });
}
