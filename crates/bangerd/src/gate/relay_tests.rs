use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::*;

/// A relay between two sockets of the test, in place of QEMU's.
struct TestRelay {
    guest: UnixStream,
    outside: UnixStream,
    relay: JoinHandle<io::Result<()>>,
}

fn relayed(judge: impl FnMut(&[u8]) -> Verdict + Send + 'static) -> TestRelay {
    let (guest, its) = UnixStream::pair().unwrap();
    let (outside, theirs) = UnixStream::pair().unwrap();
    for socket in [&guest, &outside] {
        let patience = Some(Duration::from_secs(10));
        socket.set_read_timeout(patience).unwrap();
        socket.set_write_timeout(patience).unwrap();
    }
    TestRelay {
        guest,
        outside,
        relay: thread::spawn(move || relay(its, theirs, judge)),
    }
}

fn send(socket: &mut UnixStream, frame: &[u8]) {
    let length = u32::try_from(frame.len()).unwrap();
    socket.write_all(&length.to_be_bytes()).unwrap();
    socket.write_all(frame).unwrap();
}

fn receive(socket: &mut UnixStream) -> Vec<u8> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).unwrap();
    let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    socket.read_exact(&mut frame).unwrap();
    frame
}

/// A verdict that the first byte of the frame selects.
fn by_first_byte(frame: &[u8]) -> Verdict {
    match frame.first() {
        Some(b'p') => Verdict::Passes,
        Some(b'r') => Verdict::Refused(b"refused".to_vec()),
        _ => Verdict::Dropped,
    }
}

#[test]
fn each_frame_goes_where_it_is_judged_to() {
    let mut it = relayed(by_first_byte);
    send(&mut it.guest, b"dropped");
    send(&mut it.guest, b"r");
    send(&mut it.guest, b"passes");
    assert_eq!(receive(&mut it.outside), b"passes");
    assert_eq!(receive(&mut it.guest), b"refused");
    send(&mut it.outside, b"d: what comes back is not judged");
    assert_eq!(receive(&mut it.guest), b"d: what comes back is not judged");
}

#[test]
fn a_frame_that_comes_in_pieces_is_one_frame() {
    let mut it = relayed(by_first_byte);
    let frame = [b'p'; 300];
    let mut bytes = 300_u32.to_be_bytes().to_vec();
    bytes.extend_from_slice(&frame);
    for piece in bytes.chunks(7) {
        it.guest.write_all(piece).unwrap();
    }
    assert_eq!(receive(&mut it.outside), frame);
}

#[test]
fn what_waits_is_bounded_and_nothing_of_it_is_lost() {
    const FRAMES: usize = 2000;
    let mut it = relayed(by_first_byte);
    let mut guest = it.guest.try_clone().unwrap();
    // More than all queues hold, so the sender waits until the other side reads.
    let sender = thread::spawn(move || {
        for index in 0..FRAMES {
            let mut frame = vec![b'p'; 1500];
            frame[1..9].copy_from_slice(&index.to_be_bytes());
            send(&mut guest, &frame);
        }
    });
    for index in 0..FRAMES {
        let frame = receive(&mut it.outside);
        assert_eq!(frame[1..9], index.to_be_bytes(), "frame {index}");
    }
    sender.join().unwrap();
}

#[test]
fn a_guest_that_reads_no_answers_can_still_send() {
    let mut it = relayed(by_first_byte);
    for _ in 0..200_000 {
        send(&mut it.guest, b"r");
    }
    send(&mut it.guest, b"passes");
    assert_eq!(receive(&mut it.outside), b"passes");
}

#[test]
fn it_ends_with_either_socket() {
    let it = relayed(by_first_byte);
    drop(it.guest);
    it.relay.join().unwrap().unwrap();
    let it = relayed(by_first_byte);
    drop(it.outside);
    it.relay.join().unwrap().unwrap();
}

#[test]
fn a_length_that_no_frame_has_ends_it() {
    let mut it = relayed(by_first_byte);
    it.guest.write_all(&u32::MAX.to_be_bytes()).unwrap();
    let error = it.relay.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}
