use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// A time longer than any step here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn port() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours, theirs)
}

/// A guest at one end of a permanent port; the receiver gets the streams that it accepts.
fn guest(port: UnixStream) -> mpsc::Receiver<UnixStream> {
    let (accepted, streams) = mpsc::channel();
    thread::spawn(move || {
        Mux::of_guest(port, move |stream| {
            let _ = accepted.send(stream);
        })
        .run()
    });
    streams
}

fn daemon(port: UnixStream, token: u8) -> Arc<Doorbell> {
    let doorbell = Doorbell::new().unwrap();
    let theirs = Arc::clone(&doorbell);
    thread::spawn(move || Mux::of_daemon(port, [token; TOKEN], theirs).run());
    doorbell
}

fn open(doorbell: &Doorbell) -> UnixStream {
    let stream = doorbell.open().unwrap().expect("the conversation goes on");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn accept(streams: &mpsc::Receiver<UnixStream>) -> UnixStream {
    let stream = streams.recv_timeout(PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn bytes_and_half_closes_pass_both_ways() {
    let (ours, theirs) = port();
    let streams = guest(theirs);
    let doorbell = daemon(ours, 1);
    let mut near = open(&doorbell);
    let mut far = accept(&streams);
    let sent: Vec<u8> = (0..3_000_000_u32).map(|it| it as u8).collect();
    let copy = sent.clone();
    let writer = thread::spawn(move || {
        near.write_all(&copy).unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        near.read_to_end(&mut back).unwrap();
        back
    });
    let mut got = Vec::new();
    far.read_to_end(&mut got).unwrap();
    assert!(got == sent);
    far.write_all(&got).unwrap();
    drop(far);
    assert!(writer.join().unwrap() == sent);
}

#[test]
fn a_stream_that_nobody_reads_delays_no_other() {
    let (ours, theirs) = port();
    let streams = guest(theirs);
    let doorbell = daemon(ours, 1);
    let stalled = open(&doorbell);
    let _unread = accept(&streams);
    stalled.set_nonblocking(true).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(1);
    let mut sent = 0;
    while std::time::Instant::now() < deadline {
        sent += (&stalled).write(&[1; 65536]).unwrap_or(0);
    }
    assert!(sent >= WINDOW, "only {sent} bytes were taken");
    assert!(sent < 4 * WINDOW, "{sent} bytes were taken");
    let mut near = open(&doorbell);
    let mut far = accept(&streams);
    near.write_all(b"ping").unwrap();
    let mut got = [0; 4];
    far.read_exact(&mut got).unwrap();
    far.write_all(b"pong").unwrap();
    near.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"pong");
}

#[test]
fn an_end_that_closes_is_seen_at_the_other() {
    let (ours, theirs) = port();
    let streams = guest(theirs);
    let doorbell = daemon(ours, 1);
    for _ in 0..2 * MOST_STREAMS {
        let near = open(&doorbell);
        let mut far = accept(&streams);
        drop(near);
        assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);
    }
    let mut near = open(&doorbell);
    drop(accept(&streams));
    assert_eq!(near.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_new_daemon_resets_all_streams_wherever_the_old_one_was_cut() {
    let (ours, theirs) = port();
    // Both daemons use this one port, as on a serial line.
    let line = ours.try_clone().unwrap();
    let streams = guest(theirs);
    let mut bytes = Vec::new();
    Frame::write(FrameKind::Hello, 0, &[1; TOKEN], &mut bytes);
    Frame::write(FrameKind::Open, 1, &[], &mut bytes);
    Frame::write(FrameKind::Data, 1, b"whole", &mut bytes);
    Frame::write(FrameKind::Data, 1, &[9; 5000], &mut bytes);
    bytes.truncate(bytes.len() - 2000);
    ours.set_nonblocking(false).unwrap();
    (&ours).write_all(&bytes).unwrap();
    let mut old = accept(&streams);
    ours.set_nonblocking(true).unwrap();
    let doorbell = daemon(line, 2);
    let mut near = open(&doorbell);
    let mut far = accept(&streams);
    let mut got = Vec::new();
    old.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"whole");
    far.write_all(b"x").unwrap();
    near.read_exact(&mut [0; 1]).unwrap();
}

#[test]
fn a_restarted_agent_ends_the_daemons_conversation() {
    let (ours, theirs) = port();
    let line = theirs.try_clone().unwrap();
    let streams = guest(theirs);
    let doorbell = daemon(ours, 1);
    let mut near = open(&doorbell);
    let mut far = accept(&streams);
    far.write_all(b"x").unwrap();
    near.read_exact(&mut [0; 1]).unwrap();
    assert!(doorbell.is_welcomed());
    // The next agent starts on the same line.
    let mut bytes = Vec::new();
    Frame::write_padding(&mut bytes);
    Frame::write(FrameKind::Lost, 0, &[], &mut bytes);
    (&line).write_all(&bytes).unwrap();
    assert_eq!(near.read(&mut [0; 1]).unwrap(), 0);
    let deadline = std::time::Instant::now() + PATIENCE;
    while doorbell.open().unwrap().is_some() {
        assert!(std::time::Instant::now() < deadline);
        thread::yield_now();
    }
}

/// Arbitrary frames.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let frame = (
        0_u8..10,
        prop_oneof![0_u32..4, any::<u32>()],
        proptest::collection::vec(any::<u8>(), 0..40),
        any::<bool>(),
    );
    proptest::collection::vec(frame, 0..60).prop_map(|frames| {
        let mut bytes = Vec::new();
        for (kind, stream, payload, whole) in frames {
            let at = bytes.len();
            Frame::write(FrameKind::Data, stream, &payload, &mut bytes);
            bytes[at] = kind;
            if !whole {
                bytes.truncate(bytes.len() - 1);
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_guest_survives_any_frames_and_serves_the_next_daemon(bytes in hostile()) {
        let (ours, theirs) = port();
        let line = ours.try_clone().unwrap();
        let streams = guest(theirs);
        let mut all = Vec::new();
        Frame::write(FrameKind::Hello, 0, &[1; TOKEN], &mut all);
        all.extend(bytes);
        ours.set_nonblocking(false).unwrap();
        (&ours).write_all(&all).unwrap();
        ours.set_nonblocking(true).unwrap();
        let doorbell = daemon(line, 2);
        let mut near = open(&doorbell);
        near.write_all(b"new").unwrap();
        let mut found = false;
        while let Ok(mut far) = streams.recv_timeout(PATIENCE) {
            far.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut got = [0; 3];
            if far.read_exact(&mut got).is_ok() && &got == b"new" {
                found = true;
                break;
            }
        }
        prop_assert!(found);
    }

    #[test]
    fn a_daemon_survives_any_frames_of_a_guest(bytes in hostile()) {
        let (ours, theirs) = port();
        let doorbell = daemon(ours, 1);
        let mut near = open(&doorbell);
        let mut all = Vec::new();
        Frame::write(FrameKind::Welcome, 0, &[1; TOKEN], &mut all);
        all.extend(bytes);
        theirs.set_nonblocking(false).unwrap();
        (&theirs).write_all(&all).unwrap();
        drop(theirs);
        // It ends with the port, whatever the bytes were.
        let mut sink = Vec::new();
        let _ = near.read_to_end(&mut sink);
        prop_assert!(sink.len() <= all.len());
    }
}
