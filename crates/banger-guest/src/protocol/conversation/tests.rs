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

/// A guest that answers until the stream ends; `answer` says how, and `None` is silence.
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
fn a_guest_is_greeted_and_asked() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let guest = thread::spawn(move || {
        serve(theirs, session(), Phase::Ready, |ask| {
            let refusal = Err("not today\n".into());
            Some(if *ask == Ask::Ping {
                Ok(Answer::Done)
            } else {
                refusal
            })
        });
    });
    let mut talk = Conversation::new(ours, "a1");
    assert_eq!(talk.hello(soon()).unwrap().phase, Phase::Ready);
    assert_eq!(talk.ask(&Ask::Ping, soon()).unwrap(), Answer::Done);
    let refused = talk.ask(&Ask::Sync, soon()).unwrap_err();
    assert_eq!(refused.to_string(), "the guest refused: not today");
    drop(talk);
    guest.join().unwrap();
}

#[test]
fn ready_may_come_as_an_event_or_be_so_already() {
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
    assert_eq!(
        talk.next_event(soon()).unwrap(),
        Some(Event::Phase(Phase::Ready))
    );
    talk.wait_phase(Phase::Ready, Instant::now()).unwrap();
}

#[test]
fn what_is_asked_of_a_killed_agent_is_answered_by_the_next() {
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

#[test]
fn a_slow_answer_is_waited_for_without_asking_without_end() {
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
    assert_eq!(asks.iter().count(), 1, "the same ask was done twice");
}

#[test]
fn a_guest_that_floods_is_held_to_the_deadline_and_costs_no_memory() {
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
        .ask(&Ask::Ping, began + Duration::from_millis(300))
        .unwrap_err();
    assert!(matches!(silent, ConversationError::Silent(_)), "{silent}");
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert!(talk.events.len() <= MOST_EVENTS);
    drop(talk);
    flood.join().unwrap();
}

#[test]
fn nobody_there_and_nobody_left_are_told_apart() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut talk = Conversation::new(ours, "a1");
    let silent = talk
        .hello(Instant::now() + Duration::from_millis(20))
        .unwrap_err();
    assert!(matches!(silent, ConversationError::Silent(_)), "{silent}");
    let none = talk
        .next_event(Instant::now() + Duration::from_millis(20))
        .unwrap();
    assert_eq!(none, None);
    drop(theirs);
    let closed = talk.hello(soon()).unwrap_err();
    assert!(matches!(closed, ConversationError::Closed), "{closed}");
}

#[test]
fn a_guest_that_does_not_read_holds_nobody_up() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    while (&ours).write(&[b'x'; 4096]).is_ok() {}
    ours.set_nonblocking(false).unwrap();
    let mut talk = Conversation::new(ours, "a1");
    let began = Instant::now();
    talk.hello(began + Duration::from_millis(100)).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(3));
}
