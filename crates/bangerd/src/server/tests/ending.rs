//! How the daemon stops, and what it answers to clients of another version.

use std::os::unix::net::UnixStream;

use banger_api::API_VERSION;

use super::*;

#[test]
fn a_stop_lets_verbs_under_way_end() {
    let mut server = TestServer::new();
    let gate = Gate::new(&server.sim);
    std::thread::scope(|scope| {
        let client = server.client();
        let made = scope.spawn(move || client.create(&named("web"), nothing));
        eventually("the work begins", || gate.arrived() == 1);
        let daemon = server.client().stop_daemon().unwrap();
        assert_eq!(daemon, server.engine.daemon());
        eventually("the socket is gone", || !server.path.exists());
        gate.open();
        assert_eq!(made.join().unwrap().unwrap().name.as_str(), "web");
    });
    assert!(server.ended() < DRAIN);
}

#[test]
fn a_stop_does_not_wait_for_ever_for_a_verb() {
    let mut server = TestServer::new();
    let gate = Gate::new(&server.sim);
    let _stream = server.ask("POST /v1/vms", "", "{}");
    eventually("the work begins", || gate.arrived() == 1);
    server.shutdown.begin();
    let took = server.ended();
    assert!(took >= DRAIN / 2 && took < DRAIN * 3, "{took:?}");
}

#[test]
fn another_version_is_refused_in_words_but_may_stop_the_daemon() {
    let mut server = TestServer::new();
    let ask = |line: &str, version: &str| {
        server.raw(&format!(
            "{line} HTTP/1.1\r\nhost: x\r\nbanger-api: {version}\r\n\r\n"
        ))
    };
    let (ours, other) = (API_VERSION.to_string(), (API_VERSION + 1).to_string());
    let answer = ask("GET /v1/vms", &other);
    assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
    assert!(
        answer.contains(&format!("banger-api: {ours}\r\n")),
        "{answer}"
    );
    assert!(
        answer.contains(&format!(
            "the client uses version \\\"{other}\\\" of the API"
        )),
        "{answer}"
    );
    assert!(ask("GET /v1/vms", "\u{1b}[31m").starts_with("HTTP/1.1 4"));
    assert!(ask("GET /v1/vms", &ours).starts_with("HTTP/1.1 200 "));
    assert!(ask("GET /v1/version", &other).starts_with("HTTP/1.1 200 "));
    assert!(ask("POST /v1/daemon/stop", &other).starts_with("HTTP/1.1 200 "));
    server.ended();
}

#[test]
fn a_socket_that_was_removed_comes_back() {
    let server = TestServer::new();
    server.assert_serves();
    std::fs::remove_file(&server.path).unwrap();
    eventually("somebody listens again", || {
        UnixStream::connect(&server.path).is_ok()
    });
    server.assert_serves();
}
