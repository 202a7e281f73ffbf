use super::super::Hello;
use super::*;
use proptest::prelude::*;

const NOW: GuestStatus = GuestStatus {
    phase: Phase::Starting,
    uptime_millis: 1234,
};

fn session() -> Session {
    Session::new(Identity {
        version: "0.1.0".into(),
        boot_id: "b".into(),
    })
}

fn hello(token: &str) -> Vec<u8> {
    let hello = Hello {
        token: token.into(),
        protocol: PROTOCOL,
    };
    [b"\n".to_vec(), encode(&ToGuest::Hello { hello })].concat()
}

fn ask(token: &str, id: u64, ask: &Ask) -> Vec<u8> {
    let ask = serde_json::to_value(ask).unwrap();
    encode(&ToGuest::Ask {
        token: token.into(),
        id,
        ask,
    })
}

fn frames(session: &mut Session) -> Vec<FromGuest> {
    let bytes = session.waiting().to_vec();
    session.sent(bytes.len());
    let mut frames = Vec::new();
    LineReader::new().push(&bytes, |line| {
        frames.push(serde_json::from_slice(line).unwrap());
    });
    frames
}

fn is_welcome(frames: &[FromGuest], expected: &str) -> bool {
    matches!(frames, [FromGuest::Welcome { token, welcome }]
        if token == expected && welcome.phase == Phase::Starting && welcome.uptime_millis == 1234)
}

#[test]
fn a_hello_is_answered_with_its_token_and_the_phase() {
    let mut session = session();
    assert_eq!(session.receive(&hello("a1"), NOW), []);
    assert!(
        session.waiting().starts_with(b"\n"),
        "it ends a partial line"
    );
    assert!(is_welcome(&frames(&mut session), "a1"));
}

#[test]
fn an_ask_without_a_hello_or_with_an_old_token_is_ignored() {
    let mut session = session();
    assert_eq!(session.receive(&ask("a1", 1, &Ask::Sync), NOW), []);
    session.receive(&hello("a1"), NOW);
    session.receive(&hello("b2"), NOW);
    assert_eq!(session.receive(&ask("a1", 1, &Ask::Poweroff), NOW), []);
    assert!(
        is_welcome(&frames(&mut session), "b2"),
        "the first conversation left something"
    );
}

#[test]
fn an_answer_to_an_earlier_conversation_is_dropped() {
    let mut session = session();
    session.receive(&hello("a1"), NOW);
    let asked = session.receive(&ask("a1", 1, &Ask::Sync), NOW).remove(0);
    session.receive(&hello("b2"), NOW);
    frames(&mut session);
    session.answer(&asked, Ok(Answer::Done));
    assert_eq!(frames(&mut session), []);
}

#[test]
fn a_repeated_ask_is_executed_once_and_answered_again() {
    let mut session = session();
    session.receive(&hello("a1"), NOW);
    let asked = session
        .receive(&ask("a1", 1, &Ask::Poweroff), NOW)
        .remove(0);
    frames(&mut session);
    assert_eq!(session.receive(&ask("a1", 1, &Ask::Poweroff), NOW), []);
    assert_eq!(frames(&mut session), [], "it is not answered yet");
    session.answer(&asked, Ok(Answer::Done));
    session.receive(&hello("a1"), NOW);
    assert_eq!(session.receive(&ask("a1", 1, &Ask::Poweroff), NOW), []);
    let frames = frames(&mut session);
    assert!(matches!(frames[0], FromGuest::Answer { id: 1, .. }));
    assert!(matches!(frames[2], FromGuest::Answer { id: 1, .. }));
}

#[test]
fn an_unknown_ask_is_refused_in_words() {
    let mut session = session();
    session.receive(&hello("a1"), NOW);
    frames(&mut session);
    let line = b"{\"token\":\"a1\",\"id\":3,\"ask\":{\"dance\":{}}}\n";
    assert_eq!(session.receive(line, NOW), []);
    let frames = frames(&mut session);
    let [FromGuest::Refusal { id: 3, refusal, .. }] = frames.as_slice() else {
        panic!("{frames:?}")
    };
    assert!(refusal.contains("dance"), "{refusal}");
}

#[test]
fn unknown_fields_of_an_ask_are_ignored() {
    let mut session = session();
    session.receive(&hello("a1"), NOW);
    let line = br#"{"token":"a1","id":1,"later":1,"ask":{"set_resolvers":{"servers":[],"search":["a"],"later":1}}}
"#;
    let asks = session.receive(line, NOW);
    let Ask::SetResolvers(resolvers) = &asks[0].ask else {
        panic!("{asks:?}")
    };
    assert_eq!(resolvers.search, ["a"]);
}

#[test]
fn a_daemon_that_does_not_read_counts_as_gone() {
    let mut session = session();
    session.receive(&hello("a1"), NOW);
    for _ in 0..10_000 {
        session.tell(Event::Phase(Phase::Ready));
    }
    assert_eq!((session.token(), session.waiting().len()), (None, 0));
    session.receive(&hello("b2"), NOW);
    assert!(is_welcome(&frames(&mut session), "b2"));
}

#[test]
fn the_next_process_continues_the_conversation() {
    let mut session = session();
    session.adopt("a1", Some(NOW));
    assert!(is_welcome(&frames(&mut session), "a1"));
    assert_eq!(session.receive(&ask("a1", 9, &Ask::Sync), NOW).len(), 1);
}

#[test]
fn a_hundred_disconnects_in_mid_frame_do_no_harm() {
    let mut session = session();
    for round in 0..100_usize {
        let token = format!("{round:04x}");
        let frames = [hello(&token), ask(&token, 1, &Ask::Status)].concat();
        session.receive(&frames[..1 + round % (frames.len() - 1)], NOW);
    }
    frames(&mut session);
    session.receive(&hello("ffff"), NOW);
    assert!(is_welcome(&frames(&mut session), "ffff"));
    assert_eq!(session.receive(&ask("ffff", 1, &Ask::Sync), NOW).len(), 1);
}

proptest! {
    #[test]
    fn a_hello_is_answered_whatever_came_before_it(
        chunks in proptest::collection::vec(garbage(), 0..12),
    ) {
        let mut session = session();
        for chunk in chunks {
            for asked in session.receive(&chunk, NOW) {
                session.answer(&asked, Ok(Answer::Done));
            }
            prop_assert!(session.waiting().len() <= MOST_WAITING);
        }
        session.receive(&hello("beef"), NOW);
        assert_last_is_welcome(&mut session);
        let asked = session.receive(&ask("beef", u64::MAX, &Ask::Sync), NOW);
        prop_assert_eq!(asked.len(), 1);
    }
}

fn assert_last_is_welcome(session: &mut Session) {
    let frames = frames(session);
    assert!(
        is_welcome(&frames[frames.len() - 1..], "beef"),
        "{frames:?}"
    );
}

/// Random bytes, incomplete frames, whole frames and very long lines.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let frame = prop_oneof![
        Just(hello("a1")),
        Just(hello("not hex")),
        (0_u64..4).prop_map(|id| ask("a1", id, &Ask::Sync)),
        Just(b"{\"token\":\"a1\",\"id\":-1,\"ask\":[]}\n".to_vec()),
    ];
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        frame.clone(),
        (frame, 0_usize..60).prop_map(|(frame, keep)| frame[..keep.min(frame.len())].to_vec()),
        Just(vec![b'x'; LONGEST_LINE + 1]),
    ]
}
