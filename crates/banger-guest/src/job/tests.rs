use std::thread;
use std::time::Instant;

use banger_guest::streams::ExecStart;

use super::*;

/// A store of its own, whose supervisors are threads of this process. Only root's tests start
/// commands.
struct Guest {
    store: Store,
    folder: tempfile::TempDir,
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

struct Client {
    stream: UnixStream,
    reader: ExecReader,
}

impl Client {
    fn new(stream: UnixStream) -> Self {
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Self {
            stream,
            reader: ExecReader::default(),
        }
    }

    fn send(&mut self, frame: &ExecFrame) {
        self.stream.write_all(&frame.encode()).unwrap();
    }

    fn next(&mut self) -> Option<ExecFrame> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(frame) = self.reader.next_frame().unwrap() {
                return Some(frame);
            }
            match self.stream.read(&mut bytes).unwrap() {
                0 => return None,
                count => self.reader.push(&bytes[..count]),
            }
        }
    }

    /// The output up to a frame that is not output, and that frame.
    fn output(&mut self) -> (String, Option<ExecFrame>) {
        let mut text = Vec::new();
        loop {
            match self.next() {
                Some(ExecFrame::Stdout(bytes) | ExecFrame::Stderr(bytes)) => text.extend(bytes),
                Some(ExecFrame::Room(_)) => {}
                last => return (String::from_utf8(text).unwrap(), last),
            }
        }
    }

    /// Reads output until it contains `wanted`.
    fn output_until(&mut self, wanted: &str) {
        let mut text = String::new();
        while !text.contains(wanted) {
            match self.next() {
                Some(ExecFrame::Stdout(bytes)) => text += &String::from_utf8(bytes).unwrap(),
                Some(ExecFrame::Room(_)) => {}
                other => panic!("{other:?} after {text:?}"),
            }
        }
    }
}

impl Guest {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("jobs"));
        Self { store, folder }
    }

    fn start(&self, words: &[&str], start: &ExecStart) -> Option<ExecFrame> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let store = self.store.clone();
        thread::spawn(move || {
            supervisor::serve(theirs, &store, crate::exec::kills::KillCounts::none)
        });
        let mut client = Client::new(ours);
        for word in words {
            client.send(&ExecFrame::Word(word.as_bytes().to_vec()));
        }
        let start = ExecStart {
            directory: Some("/".to_owned()),
            ..start.clone()
        };
        client.send(&ExecFrame::Start(serde_json::to_vec(&start).unwrap()));
        client.next()
    }

    fn shell(&self, script: &str, start: &ExecStart) -> Job {
        match self.start(&["sh", "-c", script], start) {
            Some(ExecFrame::Job(json)) => serde_json::from_slice(&json).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn attach(&self, job: &str, start: &AttachStart) -> Client {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let store = self.store.clone();
        let line = serde_json::to_vec(&JobName {
            job: job.to_owned(),
        });
        thread::spawn(move || attach_in(&store, theirs, &line.unwrap()));
        let mut client = Client::new(ours);
        client.send(&ExecFrame::Start(serde_json::to_vec(start).unwrap()));
        client
    }

    fn ended(&self, job: &str) -> Job {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let found = self.store.find(job).unwrap();
            if found.state != JobState::Running {
                return found;
            }
            assert!(Instant::now() < deadline, "{found:?}");
            wait::ready(&mut [], Duration::from_millis(5));
        }
    }

    fn kill(&self, job: &str) {
        let ask = JobAsk::Signal {
            job: job.to_owned(),
            number: 9,
        };
        assert!(matches!(obey(&self.store, &ask), JobReply::Done(_)));
        self.ended(job);
    }
}

fn following(input: bool) -> AttachStart {
    AttachStart {
        input,
        follow: true,
        terminal: None,
    }
}

#[test]
fn a_job_outlives_its_client_and_its_output_and_status_are_kept() {
    if !is_root() {
        return;
    }
    let guest = Guest::new();
    let named = ExecStart {
        name: Some("build".to_owned()),
        ..ExecStart::default()
    };
    let job = guest.shell("echo out; echo err >&2; cat; exit 7", &named);
    assert_eq!((job.id.as_str(), job.state), ("j1", JobState::Running));
    assert_eq!(job.command[..2], ["sh", "-c"]);
    assert_eq!(guest.ended("build").state, JobState::Exited(7));
    for _ in 0..2 {
        let mut client = guest.attach("build", &following(true));
        assert!(matches!(client.next(), Some(ExecFrame::Job(_))));
        let (text, last) = client.output();
        assert_eq!(
            (text.as_str(), last),
            ("out\nerr\n", Some(ExecFrame::Exit(7)))
        );
    }
}

#[test]
fn several_clients_read_and_one_writes() {
    if !is_root() {
        return;
    }
    let guest = Guest::new();
    let start = ExecStart {
        input: true,
        ..ExecStart::default()
    };
    guest.shell(
        "while read line; do echo \"got $line\"; done; exit 3",
        &start,
    );
    let mut writer = guest.attach("j1", &following(true));
    assert!(matches!(writer.next(), Some(ExecFrame::Job(_))));
    writer.send(&ExecFrame::Stdin(b"one\n".to_vec()));
    writer.output_until("got one\n");
    let mut second = guest.attach("j1", &following(true));
    assert!(matches!(second.next(), Some(ExecFrame::Refusal(..))));
    let mut reader = guest.attach("j1", &following(false));
    assert!(matches!(reader.next(), Some(ExecFrame::Job(_))));
    reader.output_until("got one\n");
    // A client that only reads must not end the input.
    reader.send(&ExecFrame::StdinEnd);
    drop(writer);
    // Once the writer has gone, the next client may write.
    let mut next = loop {
        let mut next = guest.attach("j1", &following(true));
        match next.next() {
            Some(ExecFrame::Job(_)) => break next,
            Some(ExecFrame::Refusal(..)) => {}
            other => panic!("{other:?}"),
        }
    };
    next.send(&ExecFrame::Stdin(b"two\n".to_vec()));
    next.send(&ExecFrame::StdinEnd);
    let (text, last) = next.output();
    assert_eq!(text, "got one\ngot two\n");
    assert_eq!(last, Some(ExecFrame::Exit(3)));
    assert_eq!(reader.output().1, Some(ExecFrame::Exit(3)));
}

#[test]
fn output_up_to_now_is_read_from_a_job_that_runs() {
    if !is_root() {
        return;
    }
    let guest = Guest::new();
    guest.shell("echo first; exec sleep 1000", &ExecStart::default());
    guest.attach("j1", &following(false)).next();
    let text = loop {
        let mut client = guest.attach("j1", &AttachStart::default());
        assert!(matches!(client.next(), Some(ExecFrame::Job(_))));
        let (text, last) = client.output();
        assert!(matches!(last, Some(ExecFrame::Job(_))), "{last:?}");
        if !text.is_empty() {
            break text;
        }
    };
    assert_eq!(text, "first\n");
    guest.kill("j1");
    assert_eq!(guest.ended("j1").state, JobState::Killed(9));
}

#[test]
fn a_client_that_does_not_read_delays_nobody_and_learns_what_it_missed() {
    if !is_root() {
        return;
    }
    let guest = Guest::new();
    let script = "read go; head -c 4000000 /dev/zero; echo end";
    let start = ExecStart {
        input: true,
        ..ExecStart::default()
    };
    guest.shell(script, &start);
    let mut idle = guest.attach("j1", &following(false));
    assert!(matches!(idle.next(), Some(ExecFrame::Job(_))));
    let mut writer = guest.attach("j1", &following(true));
    writer.send(&ExecFrame::Stdin(b"\n".to_vec()));
    assert_eq!(guest.ended("j1").state, JobState::Exited(0));
    let (mut read, mut dropped) = (0, 0);
    loop {
        match idle.next() {
            Some(ExecFrame::Stdout(bytes)) => read += bytes.len() as u64,
            Some(ExecFrame::Dropped(bytes)) => dropped += bytes,
            Some(ExecFrame::Exit(0)) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(read + dropped, 4_000_004);
    assert!(dropped > 1_000_000 && read > 100_000, "{read}, {dropped}");
    let mut late = guest.attach("j1", &following(false));
    late.next();
    let Some(ExecFrame::Dropped(dropped)) = late.next() else {
        panic!("the beginning is gone");
    };
    assert!(dropped > 2_900_000, "{dropped}");
}

#[test]
fn a_job_with_a_terminal_gets_its_clients_size_and_keys() {
    if !is_root() {
        return;
    }
    let guest = Guest::new();
    let start = ExecStart {
        terminal: Some((80, 24)),
        ..ExecStart::default()
    };
    let job = guest.shell("read line; stty size; exit 4", &start);
    assert!(job.terminal && job.input);
    let attach = AttachStart {
        terminal: Some((111, 33)),
        ..following(true)
    };
    let mut client = guest.attach("j1", &attach);
    assert!(matches!(client.next(), Some(ExecFrame::Job(_))));
    client.send(&ExecFrame::Stdin(b"x\n".to_vec()));
    let (text, last) = client.output();
    assert!(text.contains("33 111"), "{text:?}");
    assert_eq!(last, Some(ExecFrame::Exit(4)));
}

#[test]
fn what_cannot_be_started_leaves_no_job() {
    if !is_root() {
        return;
    }
    let guest = Guest::new();
    let refused = guest.start(&["/no/such"], &ExecStart::default());
    assert!(matches!(refused, Some(ExecFrame::Refusal(127, _))));
    let named = ExecStart {
        name: Some("../x".to_owned()),
        ..ExecStart::default()
    };
    let refused = guest.start(&["true"], &named);
    assert!(matches!(refused, Some(ExecFrame::Refusal(126, _))));
    assert_eq!(guest.store.list(), []);
    let left = std::fs::read_dir(guest.folder.path().join("jobs")).unwrap();
    assert_eq!(left.count(), 2, "the lock and the number");
    let mut client = guest.attach("j9", &following(false));
    assert!(matches!(client.next(), Some(ExecFrame::Refusal(..))));
}

#[test]
fn a_job_is_removed_when_it_has_ended_or_by_force() {
    if !is_root() {
        return;
    }
    let guest = Guest::new();
    let timed = ExecStart {
        timeout_millis: Some(20),
        ..ExecStart::default()
    };
    guest.shell("exec sleep 1000", &timed);
    assert_eq!(guest.ended("j1").state, JobState::TimedOut);
    guest.shell("exec sleep 1000", &ExecStart::default());
    let remove = |job: &str, force| JobAsk::Remove {
        job: job.to_owned(),
        force,
    };
    let refused = obey(&guest.store, &remove("j2", false));
    assert_eq!(refused, JobReply::Refused("j2 runs".to_owned()));
    let JobReply::Done(gone) = obey(&guest.store, &remove("j2", true)) else {
        panic!("it is removed");
    };
    assert_eq!(gone[0].state, JobState::Killed(9));
    assert_eq!(obey(&guest.store, &remove("j2", false)), JobReply::Unknown);
    let JobReply::Done(pruned) = obey(&guest.store, &JobAsk::Prune) else {
        panic!("they are removed");
    };
    assert_eq!(pruned.len(), 1);
    assert_eq!(guest.store.list(), []);
}
