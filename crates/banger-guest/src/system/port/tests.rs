use super::*;

use std::time::Duration;

use banger_guest::protocol::{Answer, Ask, Hello, PROTOCOL, Phase, ToGuest, encode};
use rustix::net::{AddressFamily, SocketType, connect, socket};

use crate::bare_kernel;
use crate::system::raw::VsockAddress;
use crate::system::wait;

/// This machine itself, if the kernel's loopback for vsock is loaded.
const LOCAL: u32 = 1;

#[test]
fn the_port_is_found_by_its_name() {
    let ports = tempfile::tempdir().unwrap();
    for (port, name) in [
        ("vport1p1", "org.qemu.guest_agent.0\n"),
        ("vport2p1", "banger.agent\n"),
    ] {
        fs::create_dir(ports.path().join(port)).unwrap();
        fs::write(ports.path().join(port).join("name"), name).unwrap();
    }
    assert_eq!(find(ports.path(), PORT_NAME), Some("/dev/vport2p1".into()));
    assert_eq!(find(&ports.path().join("vport1p1"), PORT_NAME), None);
    assert_eq!(find(&ports.path().join("absent"), PORT_NAME), None);
}

fn standing() -> GuestStatus {
    GuestStatus {
        phase: Phase::Starting,
        uptime_millis: 5,
    }
}

/// A channel that accepts this machine itself as its peer.
fn listening(port: u32, peer: u32) -> Port {
    bare_kernel::load_modules();
    Port::over(Line::Vsock(Listener::new(port, peer).unwrap()))
}

fn dial(port: u32) -> File {
    let socket = socket(AddressFamily::VSOCK, SocketType::STREAM, None).unwrap();
    let context = LOCAL;
    connect(&socket, &VsockAddress { context, port }).unwrap();
    File::from(socket)
}

fn hello(token: &str) -> Vec<u8> {
    let hello = Hello {
        token: token.to_owned(),
        protocol: PROTOCOL,
    };
    [b"\n".to_vec(), encode(&ToGuest::Hello { hello })].concat()
}

fn ask(token: &str, id: u64) -> Vec<u8> {
    encode(&ToGuest::Ask {
        token: token.to_owned(),
        id,
        ask: serde_json::to_value(Ask::Sync).unwrap(),
    })
}

/// Attends to the channel and answers asks, until `found` returns a result.
fn attend<T>(port: &mut Port, mut found: impl FnMut(&mut Port) -> Option<T>) -> T {
    let patience = Duration::from_secs(20);
    let result = wait::until(patience, || {
        for asked in port.attend(standing()) {
            port.session().answer(&asked, Ok(Answer::Done));
        }
        port.flush();
        found(port)
    });
    result.expect("the channel comes to it")
}

/// Reads until a line contains `part`.
fn hear(stream: &File, port: &mut Port, part: &str) {
    rustix::io::ioctl_fionbio(stream, true).unwrap();
    let mut heard = String::new();
    attend(port, |_| {
        let mut bytes = [0; 512];
        if let Ok(count) = (&*stream).read(&mut bytes) {
            heard += &String::from_utf8_lossy(&bytes[..count]);
        }
        heard.contains(part).then_some(())
    });
}

/// Whether the other end has hung up.
fn has_ended(stream: &File) -> Option<()> {
    rustix::io::ioctl_fionbio(stream, true).unwrap();
    let mut bytes = [0; 512];
    match (&*stream).read(&mut bytes) {
        Ok(0) => Some(()),
        Err(cause) if cause.kind() == ErrorKind::ConnectionReset => Some(()),
        Ok(_) | Err(_) => None,
    }
}

#[test]
#[ignore = "needs vsock's loopback: run on a bare kernel"]
fn over_vsock_a_daemon_is_greeted_and_answered() {
    let mut port = listening(2001, LOCAL);
    assert!(port.attend(standing()).is_empty(), "nobody is there yet");
    assert_eq!(port.polled().len(), 1);
    let mut daemon = dial(2001);
    daemon.write_all(&hello("a1")).unwrap();
    hear(&daemon, &mut port, "\"phase\":\"starting\"");
    assert_eq!(port.polled().len(), 2);
    daemon.write_all(&ask("a1", 1)).unwrap();
    hear(&daemon, &mut port, "\"answer\":\"done\"");
}

#[test]
#[ignore = "needs vsock's loopback: run on a bare kernel"]
fn over_vsock_the_newest_daemon_is_the_one() {
    let mut port = listening(2002, LOCAL);
    let mut old = dial(2002);
    old.write_all(&hello("a1")).unwrap();
    hear(&old, &mut port, "welcome");
    let mut new = dial(2002);
    new.write_all(&hello("b2")).unwrap();
    hear(&new, &mut port, "\"token\":\"b2\"");
    attend(&mut port, |_| has_ended(&old));
    assert_eq!(port.session().token(), Some("b2"));
}

#[test]
#[ignore = "needs vsock's loopback: run on a bare kernel"]
fn over_vsock_a_daemon_that_dies_is_followed_by_the_next() {
    let mut port = listening(2003, LOCAL);
    for token in ["a1", "b2", "c3"] {
        let mut daemon = dial(2003);
        daemon.write_all(&hello(token)).unwrap();
        hear(&daemon, &mut port, token);
        // The message ends in the middle of a line.
        daemon.write_all(b"{\"token\":").unwrap();
        drop(daemon);
        attend(&mut port, |port| (port.polled().len() == 1).then_some(()));
        assert_eq!(port.session().token(), None);
    }
}

#[test]
#[ignore = "needs vsock's loopback: run on a bare kernel"]
fn over_vsock_only_the_host_is_accepted() {
    let mut port = listening(2004, vsock::HOST);
    let mut stranger = dial(2004);
    // The connection may be closed already.
    let _ = stranger.write_all(&hello("a1"));
    attend(&mut port, |_| has_ended(&stranger));
    assert_eq!((port.polled().len(), port.session().token()), (1, None));
}

#[test]
#[ignore = "needs vsock's loopback: run on a bare kernel"]
fn over_vsock_a_daemon_that_never_reads_or_never_stops_holds_nothing_up() {
    let mut port = listening(2005, LOCAL);
    let mut daemon = dial(2005);
    rustix::io::ioctl_fionbio(&daemon, true).unwrap();
    daemon.write_all(&hello("a1")).unwrap();
    let mut longest = 0;
    for id in 1..4000 {
        // A full socket accepts nothing more until the guest has read.
        let _ = daemon.write(&ask("a1", id));
        for asked in port.attend(standing()) {
            port.session().answer(&asked, Ok(Answer::Done));
        }
        port.flush();
        longest = longest.max(port.session().waiting().len());
    }
    assert!(longest <= 4 * banger_guest::protocol::LONGEST_LINE);
    let mut next = dial(2005);
    next.write_all(&hello("b2")).unwrap();
    hear(&next, &mut port, "\"token\":\"b2\"");
}

#[test]
#[ignore = "needs vsock's loopback: run on a bare kernel"]
fn over_vsock_two_agents_do_not_listen_at_once() {
    let first = listening(2006, LOCAL);
    assert!(Listener::new(2006, LOCAL).is_err());
    drop(first);
    Listener::new(2006, LOCAL).unwrap();
}

#[test]
#[ignore = "needs vsock's loopback: run on a bare kernel"]
fn over_vsock_an_ordinary_user_cannot_stand_in_for_the_agent() {
    bare_kernel::load_modules();
    let stand_in = std::thread::spawn(|| {
        // In the kernel a user id belongs to a thread; the others stay root.
        let user = rustix::process::Uid::from_raw(1000);
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        Listener::new(VSOCK_PORT, vsock::HOST).unwrap_err()
    });
    let error = stand_in.join().unwrap();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[test]
#[ignore = "boots QEMU: make test-boot runs it"]
#[expect(clippy::print_stderr, reason = "skips are counted by what is printed")]
fn the_vsock_tests_pass_on_a_bare_kernel() {
    let modules = bare_kernel::bundle().and_then(|bundle| {
        let modules = bare_kernel::modules(&bundle, &["vsock_loopback"]);
        if modules.is_empty() {
            return Err(format!("the kernel in {} has no vsock", bundle.display()));
        }
        Ok((bundle, modules))
    });
    match modules {
        Err(reason) => eprintln!("SKIPPED: vsock on a bare kernel: {reason}"),
        Ok((bundle, modules)) => {
            let output = bare_kernel::run(&bundle, &modules, None, "over_vsock");
            assert!(
                output.contains("test result: ok. 7 passed; 0 failed"),
                "{output}"
            );
        }
    }
}
