use std::io::Read as _;
use std::thread;

use super::*;

/// A session in this process, which runs as the user of the tests; only root's tests start
/// commands.
struct Client {
    stream: UnixStream,
    reader: ExecReader,
}

impl Client {
    fn new() -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        thread::spawn(move || serve(theirs, KillCounts::none));
        Self {
            stream: ours,
            reader: ExecReader::default(),
        }
    }

    fn start(words: &[&str], start: &ExecStart) -> Self {
        let mut client = Self::new();
        for word in words {
            client.send(&ExecFrame::Word(word.as_bytes().to_vec()));
        }
        client.send(&ExecFrame::Variable(b"GREETING=hello there".to_vec()));
        client.send(&ExecFrame::Start(serde_json::to_vec(start).unwrap()));
        client
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

    /// Standard output, standard error and the last frame.
    fn outcome(mut self) -> (Vec<u8>, Vec<u8>, Option<ExecFrame>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        loop {
            match self.next() {
                Some(ExecFrame::Stdout(bytes)) => out.extend(bytes),
                Some(ExecFrame::Stderr(bytes)) => err.extend(bytes),
                Some(ExecFrame::Started | ExecFrame::Room(_)) => {}
                last => return (out, err, last),
            }
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn plain() -> ExecStart {
    ExecStart {
        directory: Some("/".to_owned()),
        ..ExecStart::default()
    }
}

#[test]
fn output_is_apart_and_whole_and_the_status_is_the_commands() {
    if !is_root() {
        return;
    }
    let script = "printf '%s' \"$GREETING\"; printf 'a\\0b' >&2; seq 1 200000; exit 7";
    let (out, err, last) = Client::start(&["sh", "-c", script], &plain()).outcome();
    assert!(out.starts_with(b"hello there1\n2\n") && out.ends_with(b"\n200000\n"));
    assert_eq!(err, b"a\0b");
    assert_eq!(last, Some(ExecFrame::Exit(7)));
}

#[test]
fn input_ends_where_the_client_ends_it() {
    if !is_root() {
        return;
    }
    let mut client = Client::start(&["cat"], &plain());
    client.send(&ExecFrame::Stdin(b"\0\xff\n".to_vec()));
    client.send(&ExecFrame::StdinEnd);
    let (out, _, last) = client.outcome();
    assert_eq!((&*out, last), (&b"\0\xff\n"[..], Some(ExecFrame::Exit(0))));
}

#[test]
fn a_signal_passes_input_that_nobody_reads() {
    if !is_root() {
        return;
    }
    let mut client = Client::start(&["sleep", "1000"], &plain());
    assert_eq!(client.next(), Some(ExecFrame::Started));
    for _ in 0..16 {
        client.send(&ExecFrame::Stdin(vec![0; 16 << 10]));
    }
    client.send(&ExecFrame::Signal(15));
    assert_eq!(client.outcome().2, Some(ExecFrame::Exit(143)));
}

#[test]
fn a_command_ends_with_its_client_and_at_its_timeout() {
    if !is_root() {
        return;
    }
    let mut client = Client::start(&["sh", "-c", "echo $$; exec sleep 1000"], &plain());
    assert_eq!(client.next(), Some(ExecFrame::Started));
    let Some(ExecFrame::Stdout(pid)) = client.next() else {
        panic!("it says its number");
    };
    let pid = String::from_utf8(pid).unwrap();
    drop(client);
    let folder = format!("/proc/{}", pid.trim());
    let deadline = Instant::now() + Duration::from_secs(30);
    while std::path::Path::new(&folder).exists() {
        assert!(Instant::now() < deadline, "it still runs");
        crate::system::wait::ready(&mut [], Duration::from_millis(10));
    }
    let start = ExecStart {
        timeout_millis: Some(50),
        ..plain()
    };
    let (_, _, last) = Client::start(&["sleep", "1000"], &start).outcome();
    assert_eq!(last, Some(ExecFrame::Exit(124)));
}

#[test]
fn a_terminal_is_one_with_its_size() {
    if !is_root() {
        return;
    }
    let start = ExecStart {
        terminal: Some((123, 45)),
        ..plain()
    };
    let script = "test -t 0 && test -t 1 && stty size < /dev/tty";
    let (out, _, last) = Client::start(&["sh", "-c", script], &start).outcome();
    assert_eq!(String::from_utf8(out).unwrap().trim(), "45 123");
    assert_eq!(last, Some(ExecFrame::Exit(0)));
}

#[test]
fn what_cannot_be_run_is_refused_in_words() {
    let cases = [
        (
            vec!["/no/such"],
            plain(),
            127,
            "/no/such: command not found",
        ),
        (
            vec!["true"],
            ExecStart {
                user: Some("nobody-at-all".to_owned()),
                ..plain()
            },
            126,
            "the VM has no user `nobody-at-all` in /etc/passwd",
        ),
    ];
    for (words, start, status, reason) in cases {
        if start.user.is_none() && !is_root() {
            continue;
        }
        let (_, _, last) = Client::start(&words, &start).outcome();
        assert_eq!(last, Some(ExecFrame::Refusal(status, reason.to_owned())));
    }
    let mut client = Client::new();
    client.send(&ExecFrame::Stdin(vec![1]));
    assert!(matches!(
        client.outcome().2,
        Some(ExecFrame::Refusal(126, _))
    ));
    let mut client = Client::new();
    client.stream.write_all(&[99; 40]).unwrap();
    assert!(matches!(
        client.outcome().2,
        Some(ExecFrame::Refusal(126, _))
    ));
}

/// Whether a process has exactly these arguments.
fn runs(words: &[&str]) -> bool {
    let mut expected = words.join("\0").into_bytes();
    expected.push(0);
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|it| std::fs::read(it.path().join("cmdline")).ok());
    lines.any(|line| line == expected)
}

#[test]
fn a_client_that_leaves_before_the_command_has_started_ends_it() {
    if !is_root() {
        return;
    }
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    // The number tells this run's command from those of others.
    let seconds = format!("{}00000", std::process::id());
    let words = ["sleep", &seconds];
    for word in words {
        let frame = ExecFrame::Word(word.as_bytes().to_vec());
        ours.write_all(&frame.encode()).unwrap();
    }
    let start = ExecFrame::Start(serde_json::to_vec(&plain()).unwrap());
    ours.write_all(&start.encode()).unwrap();
    drop(ours);
    let _ = serve(theirs, KillCounts::none);
    assert!(!runs(&words), "the command still runs");
}
