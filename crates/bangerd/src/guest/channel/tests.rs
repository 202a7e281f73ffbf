//! The host's side of Firecracker's vsock, with a peer that answers, refuses, stalls, dies, or
//! sends garbage.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread;

use banger_guest::protocol::{GuestStatus, Identity, Session, Status};

use super::*;

/// A folder with a listening socket in it.
struct Peer {
    folder: tempfile::TempDir,
    listener: UnixListener,
}

impl Peer {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("agent.sock")).unwrap();
        Self { folder, listener }
    }

    fn channel(&self) -> Channel {
        Channel::vsock(self.folder.path().join("agent.sock"))
    }

    /// Takes the next connection, which must ask for the agent's port.
    fn accept(&self) -> UnixStream {
        let (stream, _) = self.listener.accept().unwrap();
        let mut line = String::new();
        // The line must be read byte by byte, because a hello may follow.
        let mut reader = BufReader::with_capacity(1, &stream);
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "CONNECT 1023\n");
        stream
    }
}

/// Answers like a guest in this phase, until the stream ends or this many asks have come.
fn serve(mut stream: UnixStream, phase: Phase, mut asks: usize) -> Vec<Ask> {
    let mut session = Session::new(Identity {
        version: "0.1.0".into(),
        boot_id: "b".into(),
    });
    let standing = GuestStatus {
        phase,
        uptime_millis: 5,
    };
    let (mut bytes, mut seen) = ([0; 512], Vec::new());
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        for asked in session.receive(&bytes[..count], standing) {
            if asks == 0 {
                return seen;
            }
            asks -= 1;
            session.answer(&asked, Ok(answer(&asked.ask)));
            seen.push(asked.ask);
        }
        if stream.write_all(session.waiting()).is_err() {
            break;
        }
        session.sent(usize::MAX);
    }
    seen
}

fn answer(ask: &Ask) -> Answer {
    if *ask != Ask::Status {
        return Answer::Done;
    }
    Answer::Status(Status {
        phase: Phase::Ready,
        uptime_millis: 5,
        load_hundredths: 0,
        memory_bytes: 0,
        memory_available_bytes: 0,
        filesystems: Vec::new(),
        warnings: vec!["`/dev/vdb` did not grow".to_owned()],
    })
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[test]
fn a_guest_that_listens_is_reached_and_asked() {
    let peer = Peer::new();
    let mut channel = peer.channel();
    let guest = thread::spawn(move || {
        let mut stream = peer.accept();
        // The bytes after the answer are the guest's.
        stream.write_all(b"OK 1073741824\nhalf a li").unwrap();
        serve(stream, Phase::Ready, 9)
    });
    assert_eq!(channel.prompt(), PROMPT);
    let ready = channel.wait_ready(soon(), &|| true).unwrap();
    assert_eq!(ready.warnings, ["`/dev/vdb` did not grow"]);
    assert!(
        channel.prompt() > PROMPT,
        "a busy guest has its start's time"
    );
    channel.sync(Duration::from_secs(20)).unwrap();
    drop(channel);
    assert_eq!(guest.join().unwrap(), [Ask::Status, Ask::Sync]);
}

#[test]
fn a_guest_that_does_not_listen_yet_is_asked_again() {
    let peer = Peer::new();
    let mut channel = peer.channel();
    let guest = thread::spawn(move || {
        for _ in 0..4 {
            drop(peer.accept());
        }
        let mut stream = peer.accept();
        stream.write_all(b"OK 1\n").unwrap();
        serve(stream, Phase::Ready, 9)
    });
    channel.wait_ready(soon(), &|| true).unwrap();
    drop(channel);
    assert_eq!(guest.join().unwrap(), [Ask::Status]);
}

#[test]
fn the_agent_may_take_over_from_init_and_die_in_the_middle_of_an_ask() {
    let peer = Peer::new();
    let mut channel = peer.channel();
    let guest = thread::spawn(move || {
        let accept = || {
            let mut stream = peer.accept();
            stream.write_all(b"OK 1\n").unwrap();
            stream
        };
        // `/init` closes the connection after its welcome.
        let mut stream = accept();
        let mut hello = [0; 16];
        stream.read_exact(&mut hello).unwrap();
        drop(stream);
        // An agent that is killed during a sync, and its successor.
        assert_eq!(serve(accept(), Phase::Ready, 1), [Ask::Status]);
        serve(accept(), Phase::Ready, 1)
    });
    channel.wait_ready(soon(), &|| true).unwrap();
    channel.sync(Duration::from_secs(20)).unwrap();
    drop(channel);
    assert_eq!(guest.join().unwrap(), [Ask::Sync]);
}

#[test]
fn a_hypervisor_that_stalls_is_not_waited_for_beyond_the_deadline() {
    let peer = Peer::new();
    let mut channel = peer.channel();
    let error = channel.sync(Duration::from_millis(150)).unwrap_err();
    assert!(
        error.causes.join(": ").contains("does not answer"),
        "{error:?}"
    );
    // The same connection works again when the hypervisor resumes.
    let (stop, stopped) = mpsc::channel::<()>();
    let guest = thread::spawn(move || {
        stopped.recv().unwrap();
        let mut stream = peer.accept();
        stream.write_all(b"OK 1\n").unwrap();
        serve(stream, Phase::Ready, 9)
    });
    stop.send(()).unwrap();
    channel.sync(Duration::from_secs(20)).unwrap();
    drop(channel);
    assert_eq!(guest.join().unwrap(), [Ask::Sync]);
}

#[test]
fn a_machine_that_ends_while_it_stalls_is_noticed() {
    let peer = Peer::new();
    let mut channel = peer.channel();
    let looks = std::cell::Cell::new(0);
    let alive = || {
        looks.set(looks.get() + 1);
        looks.get() < 3
    };
    let error = channel.wait_ready(soon(), &alive).unwrap_err();
    assert_eq!(error.message, "the machine has ended");
    let error = channel.wait_ready(Instant::now(), &|| true).unwrap_err();
    assert_eq!(error.message, "the guest is not ready in time");
}

#[test]
fn a_missing_hypervisor_is_reported_at_once() {
    let mut channel = {
        let peer = Peer::new();
        peer.channel()
    };
    let error = channel.sync(Duration::from_secs(3600)).unwrap_err();
    let causes = error.causes.join(": ");
    assert!(causes.contains("connect to the hypervisor"), "{causes}");
}

#[test]
fn a_hypervisor_that_dies_during_a_request_is_reported_at_once() {
    let peer = Peer::new();
    let mut channel = peer.channel();
    let guest = thread::spawn(move || {
        let mut stream = peer.accept();
        stream.write_all(b"OK 1\n").unwrap();
        drop(peer.listener);
        serve(stream, Phase::Ready, 0)
    });
    let error = channel.sync(Duration::from_secs(3600)).unwrap_err();
    let causes = error.causes.join(": ");
    assert!(causes.contains("connect to the hypervisor"), "{causes}");
    guest.join().unwrap();
}

#[test]
fn an_invalid_answer_is_quoted() {
    const ENDLESS: [u8; 4096] = [b'x'; 4096];
    for said in [
        b"HTTP/1.1 400\r\n".as_slice(),
        b"OK \n",
        b"OK twelve\n",
        b"\n",
        b"\xff\xfe\x00\n",
        &ENDLESS,
    ] {
        let peer = Peer::new();
        let mut channel = peer.channel();
        let guest = thread::spawn(move || {
            let mut stream = peer.accept();
            // The peer may close the connection before it has read everything.
            let _ = stream.write_all(said);
            let _ = stream.read(&mut [0; 64]);
        });
        let error = channel.sync(Duration::from_secs(3600)).unwrap_err();
        let causes = error.causes.join(": ");
        assert!(causes.contains("instead of `OK`"), "{causes}");
        assert!(causes.len() < 200, "{causes}");
        drop(channel);
        guest.join().unwrap();
    }
}

#[test]
fn a_listener_that_takes_no_more_connections_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    let error = connect(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_link_in_the_place_of_a_socket_is_not_followed() {
    let peer = Peer::new();
    let link = peer.folder.path().join("link.sock");
    std::os::unix::fs::symlink(peer.folder.path().join("agent.sock"), &link).unwrap();
    assert!(connect(&link).is_err());
    connect(&peer.folder.path().join("agent.sock")).unwrap();
}

#[test]
fn a_path_that_is_longer_than_an_address_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(200));
    std::fs::create_dir(&deep).unwrap();
    let short = folder.path().join("agent.sock");
    let _listener = UnixListener::bind(&short).unwrap();
    std::fs::rename(short, deep.join("agent.sock")).unwrap();
    connect(&deep.join("agent.sock")).unwrap();
}

#[test]
fn two_that_ask_at_once_wait_for_each_other() {
    let peer = Peer::new();
    let (mut first, mut second) = (peer.channel(), peer.channel());
    let guest = thread::spawn(move || {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let mut stream = peer.accept();
            stream.write_all(b"OK 1\n").unwrap();
            seen.push(serve(stream, Phase::Ready, 9));
        }
        seen
    });
    first.sync(Duration::from_secs(20)).unwrap();
    let error = second.sync(Duration::from_millis(50)).unwrap_err();
    assert!(
        error.causes.join(": ").contains("does not answer"),
        "{error:?}"
    );
    let other = thread::spawn(move || second.set_clock(Duration::from_secs(5)));
    first.sync(Duration::from_secs(20)).unwrap();
    drop(first);
    other.join().unwrap().unwrap();
    let seen = guest.join().unwrap();
    assert_eq!(seen[0], [Ask::Sync, Ask::Sync]);
    assert!(matches!(seen[1][..], [Ask::SetClock { .. }]), "{seen:?}");
}
