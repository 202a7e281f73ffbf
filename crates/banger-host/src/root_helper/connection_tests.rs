use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use rustix::net::{accept, bind, listen};

use super::*;
use crate::root::message::layers_of;
use crate::{Change, JailIdentity, Process, Signal};

const SOON: Duration = Duration::from_secs(5);

fn claim() -> Claim {
    Claim {
        uid: 1000,
        user: "ada".to_owned(),
        state: "/home/ada/.local/state/banger".into(),
        subnet: "10.216.0.0/20".parse().unwrap(),
        dns_port: 42070,
    }
}

/// A listener that greets and answers each connection at once, except slow requests: those are
/// answered when the channel receives something.
fn root(folder: &Path) -> (PathBuf, std::sync::mpsc::Sender<()>) {
    let path = folder.join("root.sock");
    let flags = SocketFlags::CLOEXEC;
    let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&listener, 16).unwrap();
    let (go_on, waits) = channel();
    let waits = Arc::new(Mutex::new(waits));
    thread::spawn(move || {
        while let Ok(socket) = accept(&listener) {
            let waits = waits.clone();
            thread::spawn(move || converse(Wire::new(socket), &waits));
        }
    });
    (path, go_on)
}

fn converse(mut wire: Wire, waits: &Mutex<Receiver<()>>) {
    while let Ok(Received::Message(bytes, _)) = wire.receive() {
        let reply = match understand::<Request>(&bytes).unwrap() {
            Request::Hello { .. } => Reply::Hello(Hello {
                protocol: PROTOCOL,
                version: "test".to_owned(),
                claim: claim(),
                instance: claim().instance().digits(),
            }),
            Request::Look(_) => Reply::Holds(true),
            Request::SignalJailed { .. } => Reply::Changed(Change::Made),
            Request::Change(_) | Request::StartJailed(_) => {
                waits.lock().unwrap().recv().unwrap();
                Reply::Changed(Change::Made)
            }
        };
        wire.say(&reply, &[]).unwrap();
    }
}

fn slow() -> [Request; 3] {
    let name = "banger-1-00ff-00c0ffee".to_owned();
    let machine = crate::MachineId::from_bits(0x00c0_ffee);
    [
        Request::Change(RootOp::RemoveTap { machine }),
        Request::Change(RootOp::RemoveSnapshot { machine }),
        Request::StartJailed(JailIdentity { name, uid: 7 }),
    ]
}

#[test]
fn what_must_be_quick_waits_for_nothing_that_takes_long() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, go_on) = root(folder.path());
    let connection = Connection::at(claim(), socket).unwrap();
    let process = Process {
        pid: 1,
        start_time: 1,
        boot_id: String::new(),
    };
    let signal = Request::SignalJailed {
        process,
        signal: Signal::Stop,
    };
    let look = Request::Look(RootLook::FirewallHolds {
        table: "banger_00ff".to_owned(),
        guests: vec![("bg100ff00c0ffee".to_owned(), Ipv4Addr::new(10, 216, 0, 2))],
        nat: Vec::new(),
    });
    let probe = Request::Look(RootLook::Snapshots);
    thread::scope(|scope| {
        let connection = &connection;
        let slow = slow().map(|request| scope.spawn(move || connection.ask(&request, &[])));
        let began = Instant::now();
        for request in [&signal, &look, &probe] {
            connection.ask(request, &[]).unwrap();
        }
        let took = began.elapsed();
        // They are released before any assertion, so that a failed one does not hang.
        let waited = slow.iter().filter(|it| !it.is_finished()).count();
        for _ in &slow {
            go_on.send(()).unwrap();
        }
        assert!(took < SOON, "{took:?}");
        assert_eq!(waited, 3, "something was no slow request");
        for asked in slow {
            assert_eq!(asked.join().unwrap().unwrap(), Reply::Changed(Change::Made));
        }
    });
}

#[test]
fn a_root_helper_of_another_version_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root.sock");
    let flags = SocketFlags::CLOEXEC;
    let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&listener, 1).unwrap();
    thread::spawn(move || {
        let mut wire = Wire::new(accept(&listener).unwrap());
        // An answer of version 1 of the helper.
        wire.receive().unwrap();
        let text = "root speaks version 1, and the daemon 2";
        let refusal = Error::new(Kind::Unsupported, text)
            .hint("install the same version of both: banger system install");
        wire.say(&Reply::Error(layers_of(&refusal)), &[]).unwrap();
    });
    let error = Connection::at(claim(), path).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert_eq!(error.to_string(), "reach the root helper");
    assert!(error.hints()[0].ends_with("banger system install"));
}

/// All connections of a daemon fit into root's limit, with one more for its successor.
const _: () = {
    assert!(Lane::Jails as usize + 1 == Lane::COUNT);
    assert!(Lane::COUNT < crate::root::MOST_CONNECTIONS);
};
