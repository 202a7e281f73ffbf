//! A recorded conversation of streams between an earlier daemon and an earlier guest, on the wire of
//! QEMU's port: this build reads and writes the same bytes, on both sides.
//!
//! Each line of the recording is one frame, `>` from the daemon and `<` from the guest, in
//! hexadecimal digits; `padding N` stands for N zeros. Daemons and guests of different versions meet
//! whenever banger is upgraded under a VM that runs, so recordings stay, and more are added.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use banger_guest::streams::{
    AttachStart, ExecFrame, ExecReader, ExecStart, Frame, FrameKind, FrameReader, Job, JobAsk,
    JobReply, ListeningSocket, Open, OpenReply, StreamKind, TOKEN, Usage,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

const RECORDED: &str = include_str!("recorded/1-streams.txt");

/// One side's bytes, and the frames of them as they were recorded.
struct Side {
    bytes: Vec<u8>,
    frames: Vec<Vec<u8>>,
}

fn side(mark: char) -> Side {
    let (mut bytes, mut frames) = (Vec::new(), Vec::new());
    for line in RECORDED.lines().filter_map(|it| it.strip_prefix(mark)) {
        let line = line.trim();
        if let Some(length) = line.strip_prefix("padding ") {
            bytes.resize(bytes.len() + length.parse::<usize>().unwrap(), 0);
            continue;
        }
        let digits = line.as_bytes().chunks(2);
        let frame: Vec<u8> = digits
            .map(|it| u8::from_str_radix(std::str::from_utf8(it).unwrap(), 16).unwrap())
            .collect();
        bytes.extend(&frame);
        frames.push(frame);
    }
    Side { bytes, frames }
}

/// The frames that a reader takes, whose pieces come as they may.
fn read(mut reader: FrameReader, bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    for piece in bytes.chunks(1000) {
        reader.push(piece, |frame| frames.push(frame));
    }
    assert!(!reader.is_lost());
    frames
}

fn of_daemon() -> Vec<Frame> {
    read(FrameReader::of_guest(), &side('>').bytes)
}

fn of_guest() -> Vec<Frame> {
    let frames = of_daemon();
    let token: [u8; TOKEN] = frames[0].payload.as_slice().try_into().unwrap();
    read(FrameReader::of_daemon(token), &side('<').bytes)
}

/// What each stream carried, by its number.
fn streams(frames: &[Frame]) -> BTreeMap<u32, Vec<u8>> {
    let mut streams: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for frame in frames.iter().filter(|it| it.kind == FrameKind::Data) {
        streams
            .entry(frame.stream)
            .or_default()
            .extend(&frame.payload);
    }
    streams
}

#[test]
fn the_frames_of_the_port_are_byte_for_byte_the_same() {
    for (frames, recorded) in [(of_daemon(), side('>')), (of_guest(), side('<'))] {
        assert!(frames.len() > 40, "the recording is cut off");
        for frame in &frames {
            let mut bytes = Vec::new();
            Frame::write(frame.kind, frame.stream, &frame.payload, &mut bytes);
            assert!(recorded.frames.contains(&bytes), "{frame:?}");
        }
    }
    let kinds = |frames: &[Frame]| frames.iter().map(|it| it.kind).collect::<Vec<_>>();
    assert_eq!(kinds(&of_daemon())[0], FrameKind::Hello);
    assert_eq!(kinds(&of_guest())[0], FrameKind::Welcome);
}

/// Reads a value; what this build writes of it has at least the recorded fields.
fn same<T: Serialize + DeserializeOwned>(json: &[u8]) -> T {
    let recorded: Value = serde_json::from_slice(json).unwrap();
    let value: T = serde_json::from_value(recorded.clone()).unwrap();
    let ours = serde_json::to_value(&value).unwrap();
    if let (Value::Object(recorded), Value::Object(ours)) = (&recorded, &ours) {
        for (name, value) in recorded {
            assert_eq!(ours.get(name), Some(value), "`{name}`");
        }
    } else {
        assert_eq!(recorded, ours);
    }
    value
}

fn exec_frames(bytes: &[u8]) -> Vec<ExecFrame> {
    let mut reader = ExecReader::default();
    reader.push(bytes);
    let frames: Vec<_> = std::iter::from_fn(|| reader.next_frame().unwrap()).collect();
    let again: Vec<u8> = frames.iter().flat_map(ExecFrame::encode).collect();
    assert_eq!(again, bytes);
    frames
}

/// A line, and what follows it.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|it| *it == b'\n').unwrap();
    (&bytes[..end], &bytes[end + 1..])
}

/// What a command's stream carried; the status is the last frame's, if the command has one.
fn command(sent: &[u8], received: &[u8]) -> Option<u8> {
    for frame in exec_frames(sent) {
        if let ExecFrame::Start(json) = frame {
            same::<ExecStart>(&json);
        }
    }
    match exec_frames(received).pop() {
        Some(ExecFrame::Exit(status)) => Some(status),
        Some(ExecFrame::Job(json)) => {
            same::<Job>(&json);
            None
        }
        Some(ExecFrame::Refusal(status, _)) => Some(status),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_recorded_stream_is_understood_on_both_sides() {
    let (daemon, guest) = (streams(&of_daemon()), streams(&of_guest()));
    assert_eq!(daemon.len(), guest.len());
    let (mut kinds, mut statuses) = (Vec::new(), Vec::new());
    for (number, sent) in &daemon {
        let (head, sent) = line(sent);
        let (reply, received) = line(&guest[number]);
        let open: Open = serde_json::from_slice(head).unwrap();
        let kind: StreamKind = serde_json::from_value(open.open).unwrap();
        assert_eq!(same::<OpenReply>(reply), OpenReply::Opened(kind));
        kinds.push(format!("{kind:?}"));
        match kind {
            StreamKind::Exec | StreamKind::Detach => statuses.push(command(sent, received)),
            StreamKind::Jobs => drop(same::<Vec<Job>>(received)),
            StreamKind::Ports => drop(same::<Vec<ListeningSocket>>(received)),
            StreamKind::Usage => drop(same::<Usage>(received)),
            StreamKind::Job => {
                same::<JobAsk>(line(sent).0);
                same::<JobReply>(received);
            }
            StreamKind::Attach => {
                let frames = exec_frames(line(sent).1);
                let [ExecFrame::Start(json)] = &frames[..] else {
                    panic!("{frames:?}");
                };
                same::<AttachStart>(json);
                exec_frames(received);
            }
            // These are the copy's own frames.
            StreamKind::Copy => assert!(!received.is_empty()),
            other => panic!("{other:?} was not recorded"),
        }
    }
    let six = [Some(0), Some(7), Some(0), Some(0), Some(127), Some(137)];
    assert_eq!(statuses[..6], six);
    assert_eq!(statuses[6..], [None]);
    for kind in [
        "Exec", "Detach", "Jobs", "Job", "Attach", "Ports", "Usage", "Copy",
    ] {
        assert!(kinds.iter().any(|it| it == kind), "{kind}");
    }
}
