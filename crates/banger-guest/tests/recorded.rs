//! Recorded conversations of earlier builds, replayed to this build's guest side: it answers every
//! ask that a daemon ever sent, and its answers still have every field that a daemon ever read.

use banger_guest::protocol::{
    Answer, Ask, GuestStatus, Identity, Phase, Session, Status, Usage, Welcome,
};
use serde_json::Value;

const RECORDED: [&str; 2] = [
    include_str!("recorded/1-without-features.txt"),
    include_str!("recorded/1-with-features.txt"),
];

fn answer(ask: &Ask) -> Answer {
    match ask {
        Ask::Sync | Ask::Poweroff | Ask::SetResolvers(_) | Ask::Rename(_) => Answer::Done,
        Ask::SetClock { .. } => Answer::Clock {
            off_by_millis: -3,
            stepped: false,
        },
        Ask::Status => Answer::Status(Status {
            phase: Phase::Ready,
            uptime_millis: 1,
            load_hundredths: 2,
            memory_bytes: 3,
            memory_available_bytes: 4,
            filesystems: vec![Usage {
                mount: "/".into(),
                size_bytes: 5,
                used_bytes: 6,
                available_bytes: 7,
            }],
            warnings: Vec::new(),
        }),
    }
}

/// Fails unless `ours` has every field of `recorded`, with the same kind of value.
fn assert_grown(recorded: &Value, ours: &Value) {
    match (recorded, ours) {
        (Value::Object(fields), Value::Object(found)) => {
            for (name, value) in fields {
                let found = found.get(name);
                assert_grown(
                    value,
                    found.unwrap_or_else(|| panic!("`{name}` is missing")),
                );
            }
        }
        (Value::Array(some), Value::Array(found)) => {
            if let (Some(one), Some(found)) = (some.first(), found.first()) {
                assert_grown(one, found);
            }
        }
        (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_)) => {}
        _ => panic!("{ours} takes the place of {recorded}"),
    }
}

#[test]
fn every_recorded_ask_is_answered_with_the_recorded_fields() {
    for recorded in RECORDED {
        let mut session = Session::new(Identity {
            version: "0.1.0".into(),
            boot_id: "b".into(),
        });
        let mut answers = Vec::new();
        for line in recorded.lines() {
            let (from, frame) = line.split_at(2);
            if from == "< " {
                let recorded: Value = serde_json::from_str(frame).unwrap();
                let kind = if recorded.get("id").is_some() {
                    "answer"
                } else {
                    "welcome"
                };
                let id = recorded.get("id").cloned();
                let mut all = answers.iter().rev();
                let ours: &Value = all
                    .find(|it: &&Value| it.get(kind).is_some() && it.get("id").cloned() == id)
                    .unwrap_or_else(|| panic!("nothing answers like {frame}"));
                assert_eq!(ours["token"], recorded["token"]);
                assert_grown(&recorded[kind], &ours[kind]);
            }
            if from != "> " {
                continue;
            }
            let now = GuestStatus {
                phase: Phase::Ready,
                uptime_millis: 1,
            };
            for asked in session.receive(format!("{frame}\n").as_bytes(), now) {
                session.answer(&asked, Ok(answer(&asked.ask)));
            }
            let text = String::from_utf8(session.waiting().to_vec()).unwrap();
            session.sent(usize::MAX);
            let frames = text.lines().filter(|it| !it.is_empty());
            answers.extend(frames.map(|it| serde_json::from_str::<Value>(it).unwrap()));
        }
        assert!(answers.len() > 5, "the recording is cut off");
    }
}

#[test]
fn a_welcome_without_features_stands_for_the_first_asks() {
    for recorded in RECORDED {
        let line = recorded.lines().find(|it| it.contains("welcome")).unwrap();
        let frame: Value = serde_json::from_str(&line[2..]).unwrap();
        let welcome: Welcome = serde_json::from_value(frame["welcome"].clone()).unwrap();
        for feature in ["sync", "poweroff", "set_clock", "set_resolvers", "status"] {
            assert!(welcome.supports(feature), "{feature}: {line}");
        }
        assert!(!welcome.supports("dance"));
    }
}
