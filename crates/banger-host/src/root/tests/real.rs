//! Root on the real host, in a network namespace of its own.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{SocketAddrUnix, bind, connect, listen, socket_with};

use super::*;
use crate::linux::testing::{folder_of_root, in_own_network, is_root, run};
use crate::root::message::RootLook;
use crate::{Finding, Linux, Look as _};

const GUEST: Ipv4Addr = Ipv4Addr::new(10, 216, 0, 2);

fn forwards(interface: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{interface}/forwarding"))
        .unwrap()
        .trim()
        .to_owned()
}

/// Adds an uplink, and objects that belong to others.
fn inhabit() {
    run("ip", "link add out0 type veth peer name other0");
    run("ip", "address add 192.0.2.2/24 dev out0");
    run("ip", "link set out0 up");
    run("ip", "route add default via 192.0.2.1");
    run("ip", "link set other0 up");
    run("ip", "tuntap add bg1000000c0ffee mode tap");
    run("nft", "add table inet banger_0000");
    run("nft", "add table inet filter");
}

/// Everything on the host that could have been changed.
fn everything() -> String {
    [
        run("ip", "tuntap show"),
        Linux::new().unwrap().interfaces("").unwrap().join(" "),
        run("ip", "-4 -o address"),
        run("ip", "-4 route show table all"),
        run("nft", "list ruleset"),
        forwards("out0"),
        forwards("other0"),
        forwards("all"),
    ]
    .join("\n")
    // The kernel notices a moment later that a link which was set up has its other end.
    .replace(" linkdown", "")
}

fn all_of_a_guest() -> Vec<RootOp> {
    vec![
        RootOp::AllowGuest {
            machine: MACHINE,
            address: GUEST,
        },
        RootOp::MakeTap(GuestTap {
            machine: MACHINE,
            uid: USER,
            host_address: claim().host_address(),
            guest_address: GUEST,
            mac: MAC,
            mtu: 1500,
        }),
        RootOp::HoldForwarding { machine: MACHINE },
        RootOp::AllowNat { address: GUEST },
        RootOp::ForwardGuest {
            machine: MACHINE,
            on: true,
        },
    ]
}

fn nothing_of_a_guest() -> Vec<RootOp> {
    vec![
        RootOp::ForbidNat { address: GUEST },
        RootOp::ReleaseForwarding { machine: MACHINE },
        RootOp::RemoveTap { machine: MACHINE },
        RootOp::ForbidGuest {
            machine: MACHINE,
            address: GUEST,
        },
    ]
}

#[test]
fn a_user_has_a_tap_and_nat_through_root_and_leaves_nothing() {
    in_own_network(|| {
        inhabit();
        let before = everything();
        let folder = folder_of_root();
        let served = served(Linux::in_folder(folder.path()).unwrap());
        let mut client = Client::greeted(&served);
        for op in all_of_a_guest() {
            client.must(op.clone());
            let again = client.must(op.clone());
            assert_eq!(again, Change::Already, "{op:?}");
        }
        let shown = run("ip", &format!("-d link show {}", tap()));
        assert!(shown.contains(&format!("user {USER}")), "{shown}");
        assert_eq!(forwards("out0"), "1");
        let look = RootLook::FirewallHolds {
            table: table(),
            guests: vec![(tap(), GUEST)],
            nat: vec![GUEST],
        };
        for look in [look, RootLook::ForwardingHolds] {
            let holds = client.ask(&Request::Look(look)).unwrap();
            assert_eq!(holds, Reply::Holds(true));
        }
        for _ in 0..2 {
            for op in nothing_of_a_guest() {
                client.must(op);
            }
        }
        assert_eq!(everything(), before);
    });
}

#[test]
fn root_puts_back_by_itself_what_somebody_flushed() {
    in_own_network(|| {
        inhabit();
        let folder = folder_of_root();
        let served = served(Linux::in_folder(folder.path()).unwrap());
        let mut client = Client::greeted(&served);
        let before = everything();
        let rules = || run("nft", &format!("list table inet {}", table()));
        for nat in [true, false] {
            for op in all_of_a_guest() {
                if nat || !matches!(op, RootOp::AllowNat { .. }) {
                    client.must(op);
                }
            }
            let whole = rules();
            assert_eq!(whole.contains("elements = { 10.216.0.2 }"), nat, "{whole}");
            run("nft", "flush ruleset");
            let restore = || {
                let taps = crate::linux::tap::remembered().unwrap();
                let host = Linux::in_folder(folder.path()).unwrap();
                super::super::restore::restore_on(&host, &taps).unwrap();
            };
            restore();
            assert_eq!(rules(), whole);
            restore();
            assert_eq!(rules(), whole);
            for op in nothing_of_a_guest() {
                client.must(op);
            }
            run("nft", "add table inet banger_0000");
            run("nft", "add table inet filter");
            assert_eq!(everything(), before);
        }
    });
}

#[test]
fn a_network_can_be_tried_for_the_user() {
    in_own_network(|| {
        let folder = folder_of_root();
        let served = served(Linux::in_folder(folder.path()).unwrap());
        let mut client = Client::greeted(&served);
        let found = client.ask(&Request::Look(RootLook::Network)).unwrap();
        assert!(matches!(found, Reply::Found(Finding::Good(_))), "{found:?}");
    });
}

#[test]
fn hostile_values_leave_the_real_host_as_it_is() {
    in_own_network(|| {
        inhabit();
        let before = everything();
        let folder = folder_of_root();
        let served = served(Linux::in_folder(folder.path()).unwrap());
        let mut client = Client::greeted(&served);
        for op in super::hostile::bad_ops() {
            let reply = client.ask(&Request::Change(op.clone())).unwrap();
            assert!(matches!(reply, Reply::Error(_)), "{op:?}: {reply:?}");
        }
        for bits in [0, 0x00c0_ffee, u32::MAX] {
            let machine = MachineId::from_bits(bits);
            let op = RootOp::ReleaseForwarding { machine };
            client.ask(&Request::Change(op)).unwrap();
        }
        assert_eq!(everything(), before);
    });
}

/// A socket that root listens on, and every user can connect to.
fn listener(path: &std::path::Path) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    listen(&socket, 16).unwrap();
    socket
}

fn call(path: &std::path::Path) -> Client {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    Client {
        wire: Wire::new(socket),
    }
}

/// A folder for a test's socket that every user can enter.
fn open_folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let everybody = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(folder.path(), everybody(0o777)).unwrap();
    folder
}

fn greets(client: &mut Client) -> bool {
    let hello = Request::Hello { protocol: PROTOCOL };
    client.wire.say(&hello, &[]).is_ok() && matches!(client.hear(), Some(Reply::Hello(_)))
}

#[test]
fn only_the_served_user_is_accepted_and_idle_clients_lock_no_one_out() {
    if !is_root() {
        return;
    }
    let folder = open_folder();
    let path = folder.path().join("root.sock");
    let socket = listener(&path);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let served = served(crate::Sim::new());
    thread::spawn(move || crate::root::serve::listen(&socket, &served));
    for stranger in [0, 1, USER - 1, USER + 1, 65534] {
        let mut client = as_user(stranger, || call(&path));
        assert!(!greets(&mut client), "user {stranger} is served");
    }
    // All connections but one are held by silent clients.
    let silent: Vec<Client> = (0..7).map(|_| as_user(USER, || call(&path))).collect();
    let mut client = as_user(USER, || call(&path));
    assert!(greets(&mut client));
    let mut late = as_user(USER, || call(&path));
    assert!(!greets(&mut late), "more than the most are served");
    drop(silent);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !greets(&mut as_user(USER, || call(&path))) {
        assert!(Instant::now() < deadline, "paths are not given back");
        thread::yield_now();
    }
}
