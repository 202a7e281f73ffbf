//! Recorded conversations of earlier builds, replayed to this build's daemon side: it reaches the
//! agent of each build, and understands its answers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::thread;

use serde_json::Value;

use super::*;

const RECORDED: [&str; 2] = [
    include_str!("../../../../banger-guest/tests/recorded/1-without-features.txt"),
    include_str!("../../../../banger-guest/tests/recorded/1-with-features.txt"),
];

fn frames(recorded: &str, from: char) -> Vec<Value> {
    let lines = recorded.lines().filter_map(|it| it.strip_prefix(from));
    lines.map(|it| serde_json::from_str(it).unwrap()).collect()
}

/// Replaces numbers, which differ from run to run.
fn shape(value: &Value) -> Value {
    match value {
        Value::Number(_) => 0.into(),
        Value::Object(fields) => {
            let fields = fields.iter();
            fields.map(|(name, it)| (name.clone(), shape(it))).collect()
        }
        other => other.clone(),
    }
}

/// The warning of the replayed agents; the recorded ones had none.
const WARNING: &str = "`/dev/vdb` did not grow";

/// An agent that answers each hello and each recorded ask as in the recording.
fn replay(recorded: &str, stream: &UnixStream) {
    let (from_daemon, from_guest) = (frames(recorded, '>'), frames(recorded, '<'));
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if line.is_empty() {
            continue;
        }
        let frame: Value = serde_json::from_str(&line).unwrap();
        let reply = if frame.get("hello").is_some() {
            let mut all = from_guest.iter();
            let ready = all.find(|it| it["welcome"]["phase"] == "ready").unwrap();
            let mut reply = ready.clone();
            reply["token"] = frame["hello"]["token"].clone();
            reply
        } else {
            let is_it = |it: &&Value| shape(&it["ask"]) == shape(&frame["ask"]);
            let known = from_daemon.iter().find(is_it);
            let known = known.unwrap_or_else(|| panic!("no recorded daemon sent {line}"));
            let is_it = |it: &&&Value| it["id"] == known["id"] && it["token"] == known["token"];
            let mut reply = from_guest.iter().find(|it| is_it(&it)).unwrap().clone();
            reply["token"] = frame["token"].clone();
            reply["id"] = frame["id"].clone();
            if let Some(warnings) = reply.pointer_mut("/answer/status/warnings") {
                *warnings = vec![WARNING].into();
            }
            reply
        };
        let mut writer = stream;
        if writeln!(writer, "{reply}").is_err() {
            return;
        }
    }
}

#[test]
fn the_agents_of_earlier_builds_are_asked_and_understood() {
    for recorded in RECORDED {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let guest = thread::spawn(move || replay(recorded, &listener.accept().unwrap().0));
        let mut channel = Channel::new(socket);
        let soon = Duration::from_secs(20);
        let ready = channel.wait_ready(Instant::now() + soon, &|| true).unwrap();
        assert_eq!(ready.warnings, [WARNING]);
        channel
            .set_clock(Duration::from_secs(1_700_000_000))
            .unwrap();
        let servers = vec!["10.255.255.53".parse().unwrap()];
        let search = Vec::new();
        let resolvers = Resolvers { servers, search };
        channel.set_resolvers(&resolvers).unwrap();
        channel.sync(soon).unwrap();
        channel.power_off(soon).unwrap();
        drop(channel);
        guest.join().unwrap();
    }
}
