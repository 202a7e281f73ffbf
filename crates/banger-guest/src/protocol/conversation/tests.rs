use super::super::{GuestStatus, Identity, Session};
use super::*;
use std::sync::mpsc;
use std::thread;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn standing(phase: Phase) -> GuestStatus {
    GuestStatus {
        phase,
        uptime_millis: 5,
    }
}

fn session() -> Session {
    Session::new(Identity {
        version: "0.1.0".into(),
        boot_id: "b".into(),
    })
}

fn flush(session: &mut Session, stream: &mut UnixStream) -> bool {
    let sent = stream.write_all(session.waiting()).is_ok();
    session.sent(usize::MAX);
    sent
}

/// A guest that answers until the stream ends; `answer` returns each answer, and `None` is silence.
fn serve(
    mut stream: UnixStream,
    mut session: Session,
    phase: Phase,
    mut answer: impl FnMut(&Ask) -> Option<std::result::Result<Answer, String>>,
) {
    let mut bytes = [0; 64];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        for asked in session.receive(&bytes[..count], standing(phase)) {
            if let Some(answer) = answer(&asked.ask) {
                session.answer(&asked, answer);
            }
        }
        if !flush(&mut session, &mut stream) {
            return;
        }
    }
}

#[test]
fn a_guest_answers_and_refuses() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let guest = thread::spawn(move || {
        serve(theirs, session(), Phase::Ready, |ask| {
            let refusal = Err("not today\n".into());
            Some(if *ask == Ask::Sync {
                Ok(Answer::Done)
            } else {
                refusal
            })
        });
    });
    let mut talk = Conversation::new(ours, "a1");
    assert_eq!(talk.hello(soon()).unwrap().phase, Phase::Ready);
    assert_eq!(talk.ask(&Ask::Sync, soon()).unwrap(), Answer::Done);
    let refused = talk.ask(&Ask::Status, soon()).unwrap_err();
    assert_eq!(refused.to_string(), "the guest refused: not today");
    drop(talk);
    guest.join().unwrap();
}

#[test]
fn ready_is_an_event_or_the_state_already() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let guest = thread::spawn(move || {
        let mut session = session();
        let mut bytes = [0; 4096];
        while session.token().is_none() {
            let count = theirs.read(&mut bytes).unwrap();
            session.receive(&bytes[..count], standing(Phase::Starting));
        }
        session.tell(Event::Phase(Phase::Ready));
        flush(&mut session, &mut theirs);
        theirs
    });
    let mut talk = Conversation::new(ours, "a1");
    talk.wait_phase(Phase::Ready, soon()).unwrap();
    let _theirs = guest.join().unwrap();
    talk.wait_phase(Phase::Ready, Instant::now()).unwrap();
}

#[test]
fn an_ask_to_a_killed_agent_is_answered_by_the_next() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let guest = thread::spawn(move || {
        let mut killed = session();
        let mut bytes = [0; 4096];
        let mut asked = Vec::new();
        while asked.is_empty() {
            let count = theirs.read(&mut bytes).unwrap();
            asked = killed.receive(&bytes[..count], standing(Phase::Ready));
            flush(&mut killed, &mut theirs);
        }
        let mut next = session();
        next.adopt(killed.token().unwrap(), Some(standing(Phase::Starting)));
        flush(&mut next, &mut theirs);
        serve(theirs, next, Phase::Ready, |_| Some(Ok(Answer::Done)));
    });
    let mut talk = Conversation::new(ours, "a1");
    let began = Instant::now();
    assert_eq!(talk.ask(&Ask::Sync, soon()).unwrap(), Answer::Done);
    assert!(
        began.elapsed() < FIRST_PAUSE,
        "it waited for the pause: {:?}",
        began.elapsed()
    );
    drop(talk);
    guest.join().unwrap();
}

/// A guest of another build, which lists these features and gives this answer to every ask. Its
/// thread returns the number of asks.
fn another_build(features: &str, answer: &str) -> (Conversation, thread::JoinHandle<usize>) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let welcome = format!(
        "{{\"token\":\"a1\",\"welcome\":{{\"protocol\":2,\"version\":\"9\",\"phase\":\"ready\",\
         \"boot_id\":\"b\",\"uptime_millis\":5,\"features\":{features},\"later\":{{}}}}}}\n"
    );
    let answer = format!("{{\"token\":\"a1\",\"id\":1,\"answer\":{answer}}}\n");
    let guest = thread::spawn(move || {
        let (mut bytes, mut asks) = ([0; 4096], 0);
        while let Ok(count @ 1..) = theirs.read(&mut bytes) {
            let asked = String::from_utf8_lossy(&bytes[..count]).contains("\"ask\"");
            asks += usize::from(asked);
            let reply = if asked { &answer } else { &welcome };
            theirs.write_all(reply.as_bytes()).unwrap();
        }
        asks
    });
    (Conversation::new(ours, "a1"), guest)
}

#[test]
fn a_guest_is_asked_only_for_the_features_that_it_lists() {
    let (mut talk, guest) = another_build(r#"["sync","dance"]"#, r#""done""#);
    let error = talk.ask(&Ask::Status, soon()).unwrap_err().to_string();
    assert_eq!(
        error,
        "the guest program 9 does not support `status`; restart the VM to update it"
    );
    drop(talk);
    assert_eq!(guest.join().unwrap(), 0, "the ask was sent");
}

#[test]
fn an_unknown_answer_is_an_error_at_once() {
    let (mut talk, _guest) = another_build(r#"["sync"]"#, r#"{"later":1}"#);
    let error = talk.ask(&Ask::Sync, soon()).unwrap_err();
    assert!(matches!(error, ConversationError::Unreadable(_)), "{error}");
    assert!(error.to_string().contains("later"), "{error}");
}

#[test]
fn a_slow_ask_is_executed_once() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (count_asks, asks) = mpsc::channel();
    let guest = thread::spawn(move || {
        serve(theirs, session(), Phase::Ready, |ask| {
            count_asks.send(ask.clone()).unwrap();
            None
        });
    });
    let mut talk = Conversation::new(ours, "a1");
    let deadline = Instant::now() + Duration::from_millis(1500);
    let silent = talk.ask(&Ask::Sync, deadline).unwrap_err();
    assert!(matches!(silent, ConversationError::Silent(_)), "{silent}");
    assert!(talk.welcomes_due < 10);
    drop(talk);
    guest.join().unwrap();
    assert_eq!(asks.iter().count(), 1, "the ask was executed twice");
}

#[test]
fn a_flood_from_the_guest_does_not_extend_the_deadline() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let flood = thread::spawn(move || {
        let event = FromGuest::Event {
            token: "a1".into(),
            event: Event::Phase(Phase::Ready),
        };
        let garbage = [
            vec![b'x'; 100_000],
            b"\n".to_vec(),
            encode(&event).repeat(100),
        ]
        .concat();
        while theirs.write_all(&garbage).is_ok() {}
    });
    let mut talk = Conversation::new(ours, "a1");
    let began = Instant::now();
    let silent = talk
        .ask(&Ask::Sync, began + Duration::from_millis(300))
        .unwrap_err();
    assert!(matches!(silent, ConversationError::Silent(_)), "{silent}");
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    drop(talk);
    flood.join().unwrap();
}

#[test]
fn silence_and_a_closed_channel_are_different_errors() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut talk = Conversation::new(ours, "a1");
    let silent = talk
        .hello(Instant::now() + Duration::from_millis(20))
        .unwrap_err();
    assert!(matches!(silent, ConversationError::Silent(_)), "{silent}");
    drop(theirs);
    let closed = talk.hello(soon()).unwrap_err();
    assert!(matches!(closed, ConversationError::Closed), "{closed}");
}

#[test]
fn a_guest_that_does_not_read_does_not_extend_the_deadline() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    while (&ours).write(&[b'x'; 4096]).is_ok() {}
    ours.set_nonblocking(false).unwrap();
    let mut talk = Conversation::new(ours, "a1");
    let began = Instant::now();
    talk.hello(began + Duration::from_millis(100)).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(3));
}
