//! Every op with every value that a user could try to get through, and every invalid message.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use super::*;
use crate::linux::testing::is_root;
use crate::root::message::{LONGEST, RootLook};
use crate::{Instance, Op, Sim, SnapshotFiles};

/// Names of objects that do not belong to the user.
pub(super) fn bad_names() -> Vec<String> {
    let (tap, table, prefix, snapshot) = (tap(), table(), prefix(), snapshot());
    let mut names: Vec<String> = [
        "",
        " ",
        "lo",
        "eth0",
        "docker0",
        "all",
        "default",
        ".",
        "..",
        "../../etc",
        "/dev/net/tun",
        "bg1",
        "banger_",
        "banger-1-",
        "control",
        "vg0-root",
        "banger-1-base",
        "banger-1-0000-00c0ffee",
        "filter",
        "banger_0000",
        "bg1000000c0ffee",
        "x\0y",
        "x\ny",
        "\u{202e}",
        "%s%n",
        "$(reboot)",
        "'; flush ruleset; '",
        "-j",
        "--help",
        "*",
        "+",
    ]
    .map(str::to_owned)
    .to_vec();
    for good in [&tap, &table, &prefix, &snapshot] {
        names.extend([
            format!("{good}\0"),
            format!("{good}\n"),
            format!(" {good}"),
            format!("{good}/"),
            format!("{good}+"),
            format!("{good}*"),
            format!("../{good}"),
            good.to_uppercase(),
            good[..good.len() - 1].to_owned(),
            format!("{good}0"),
            good.repeat(500),
        ]);
    }
    names
}

fn bad_guests() -> Vec<Ipv4Addr> {
    [
        "0.0.0.0",
        "10.216.0.0",
        "10.216.0.1",
        "10.216.15.255",
        "10.216.16.0",
        "10.215.255.255",
        "127.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "224.0.0.1",
        "255.255.255.255",
    ]
    .map(|it| it.parse().unwrap())
    .to_vec()
}

const GUEST: Ipv4Addr = Ipv4Addr::new(10, 216, 0, 2);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 216, 0, 1);

fn good_tap() -> GuestTap {
    GuestTap {
        machine: MACHINE,
        uid: USER,
        host_address: HOST,
        guest_address: GUEST,
        mac: MAC,
        mtu: 1500,
    }
}

fn make_tap() -> RootOp {
    RootOp::MakeTap(good_tap())
}

/// Every op with one bad value, and all others good.
pub(super) fn bad_ops() -> Vec<RootOp> {
    let mut ops = bad_taps();
    // The machine has no TAP.
    ops.push(RootOp::HoldForwarding {
        machine: MachineId::from_bits(0xdead_beef),
    });
    for size_mib in [0, (64 << 20) + 1, u64::MAX >> 11, u64::MAX] {
        ops.push(make_snapshot(size_mib));
    }
    // The message lacks the files.
    ops.push(make_snapshot(16));
    for address in bad_guests() {
        let machine = MACHINE;
        ops.push(RootOp::AllowGuest { machine, address });
        ops.push(RootOp::AllowNat { address });
    }
    ops
}

fn make_snapshot(size_mib: u64) -> RootOp {
    RootOp::MakeSnapshot {
        machine: MACHINE,
        size_mib,
        files: SnapshotFiles::default(),
    }
}

fn bad_taps() -> Vec<RootOp> {
    let mut taps = Vec::new();
    let users = claim().instance().users();
    for uid in [0, 1, USER + 1, users.start() - 1, users.end() + 1, u32::MAX] {
        taps.push(GuestTap { uid, ..good_tap() });
    }
    for address in bad_guests() {
        taps.push(GuestTap {
            guest_address: address,
            ..good_tap()
        });
        if address != HOST {
            taps.push(GuestTap {
                host_address: address,
                ..good_tap()
            });
        }
    }
    taps.push(GuestTap {
        host_address: GUEST,
        ..good_tap()
    });
    for mtu in [0, 1, 68, 575, 9217, 65536, u32::MAX] {
        taps.push(GuestTap { mtu, ..good_tap() });
    }
    taps.into_iter().map(RootOp::MakeTap).collect()
}

/// Messages with an invalid id in each place for a machine's id.
fn messages_with_bad_ids() -> Vec<String> {
    let mut messages = Vec::new();
    for name in bad_names() {
        let id = serde_json::to_string(&name).unwrap();
        for op in ["remove-tap", "remove-snapshot"] {
            messages.push(format!(r#"{{"change":{{"{op}":{{"machine":{id}}}}}}}"#));
        }
        for op in ["allow-guest", "forbid-guest"] {
            messages.push(format!(
                r#"{{"change":{{"{op}":{{"machine":{id},"address":"{GUEST}"}}}}}}"#
            ));
        }
        messages.push(format!(
            r#"{{"change":{{"forward-guest":{{"machine":{id},"on":true}}}}}}"#
        ));
        for op in ["hold-forwarding", "release-forwarding"] {
            messages.push(format!(r#"{{"change":{{"{op}":{{"machine":{id}}}}}}}"#));
        }
        messages.push(format!(
            r#"{{"change":{{"make-snapshot":{{"machine":{id},"size-mib":16}}}}}}"#
        ));
    }
    messages
}

/// A host with objects of other users, too.
fn inhabited() -> Sim {
    let sim = Sim::new();
    sim.tamper(|state| {
        for name in ["eth0", "lo", "docker0", "eth1"] {
            state.forwarding.insert(name.to_owned(), name == "eth1");
        }
        state.taps.insert("bg1000000c0ffee".to_owned(), another());
        state
            .tables
            .insert("banger_0000".to_owned(), Default::default());
        state.docker_user.insert("bg10000".to_owned());
    });
    sim
}

#[test]
fn no_op_with_a_hostile_value_changes_anything() {
    if !is_root() {
        return;
    }
    let sim = inhabited();
    let before = sim.state();
    let served = served(sim.clone());
    let mut client = Client::greeted(&served);
    for text in messages_with_bad_ids() {
        client.wire.send(text.as_bytes(), &[]).unwrap();
        let reply = client.hear().unwrap();
        assert!(matches!(reply, Reply::Error(_)), "{text}: {reply:?}");
        assert_eq!(sim.state(), before, "{text}");
    }
    let ops = bad_ops();
    assert!(ops.len() > 60, "{}", ops.len());
    for op in ops {
        let reply = client.ask(&Request::Change(op.clone())).unwrap();
        assert!(matches!(reply, Reply::Error(_)), "{op:?}: {reply:?}");
        assert_eq!(sim.state(), before, "{op:?}");
    }
    assert_eq!(sim.changes(), 1, "the host was asked to change");
    client.must(make_tap());
    assert!(sim.state().taps.contains_key(&tap()));
}

#[test]
fn no_user_releases_what_anothers_guest_holds_nor_adopts_a_record() {
    if !is_root() {
        return;
    }
    let sim = inhabited();
    let (other, machine) = (Instance::of_digits(0), MACHINE);
    let hold = RootOp::HoldForwarding { machine };
    sim.change(&Op::Root(other, hold.clone())).unwrap();
    let before = sim.state();
    assert!(before.forwarding["eth0"]);
    let mut client = Client::greeted(&served(sim.clone()));
    // The machine with the same number, and two others.
    for machine in [MACHINE, MachineId::from_bits(0), MachineId::from_bits(1)] {
        client.must(RootOp::ReleaseForwarding { machine });
        assert_eq!(sim.state(), before);
    }
    for off in ["[\"eth1\"]", "[\"eth0\"]", "[]"] {
        let text = format!(r#"{{"change":{{"adopt-forwarding":{{"off-before":{off}}}}}}}"#);
        client.wire.send(text.as_bytes(), &[]).unwrap();
        let reply = client.hear().unwrap();
        assert!(matches!(reply, Reply::Error(_)), "{reply:?}");
    }
    assert_eq!(sim.state(), before);
    client.must(make_tap());
    client.must(hold.clone());
    client.must(RootOp::ReleaseForwarding { machine });
    assert!(sim.state().forwarding["eth0"], "another's guest holds it");
    assert!(sim.state().forwarding["eth1"]);
}

#[test]
fn no_order_of_ops_leaves_a_tap_without_its_filter() {
    if !is_root() {
        return;
    }
    let sim = inhabited();
    let served = served(sim.clone());
    let mut client = Client::greeted(&served);
    let filtered = || {
        let state = sim.state();
        let table = state.tables.get(&table());
        !state.taps.contains_key(&tap())
            || table.is_some_and(|it| it.guests.contains(&(tap(), GUEST)))
    };
    client.must(make_tap());
    assert!(filtered(), "without `allow-guest` before it");
    let others = ["10.216.0.3", "10.99.0.9"].map(|it| it.parse().unwrap());
    for address in [GUEST].into_iter().chain(others) {
        let machine = MACHINE;
        let forbid = RootOp::ForbidGuest { machine, address };
        let reply = client.ask(&Request::Change(forbid)).unwrap();
        assert!(
            matches!(&reply, Reply::Error(layers) if layers[0].kind == Kind::Busy),
            "{address}: {reply:?}"
        );
        assert!(filtered(), "{address}");
    }
    client.must(RootOp::RemoveTap { machine: MACHINE });
    client.must(RootOp::ForbidGuest {
        machine: MACHINE,
        address: GUEST,
    });
    assert!(!sim.state().tables.contains_key(&table()));
}

#[test]
fn no_look_tells_of_what_is_anothers() {
    if !is_root() {
        return;
    }
    let served = served(inhabited());
    let mut client = Client::greeted(&served);
    let holds = |table: String, guests, nat| RootLook::FirewallHolds { table, guests, nat };
    let mut looks = vec![
        holds(table(), vec![(tap(), GUEST); 257], vec![]),
        holds(table(), vec![], vec![GUEST; 257]),
    ];
    for name in bad_names() {
        if name != table() {
            looks.push(holds(name.clone(), vec![], vec![]));
        }
        looks.push(RootLook::Snapshot { name: name.clone() });
        if name != prefix() {
            looks.push(RootLook::ForwardedPackets { tap_prefix: name });
        }
    }
    for look in looks {
        let reply = client.ask(&Request::Look(look)).unwrap();
        assert!(is_denied(&reply), "{reply:?}");
    }
    let own = client.ask(&Request::Look(holds(table(), vec![], vec![])));
    assert!(matches!(own, Some(Reply::Holds(_))), "{own:?}");
}

#[test]
fn nothing_is_done_for_who_has_not_greeted() {
    if !is_root() {
        return;
    }
    let sim = Sim::new();
    let served = served(sim.clone());
    let mut client = Client::of(&served);
    assert!(is_denied(
        &client.ask(&Request::Change(make_tap())).unwrap()
    ));
    let reply = client.ask(&Request::Hello { protocol: 99 }).unwrap();
    assert!(matches!(reply, Reply::Error(layers) if layers[0].kind == Kind::Unsupported));
    assert!(is_denied(
        &client.ask(&Request::Change(make_tap())).unwrap()
    ));
    assert_eq!(sim.changes(), 0);
}

#[test]
fn what_is_no_message_is_refused_and_root_lives_on() {
    if !is_root() {
        return;
    }
    let sim = Sim::new();
    let served = served(sim.clone());
    let mut client = Client::greeted(&served);
    let whole = serde_json::to_vec(&Request::Change(make_tap())).unwrap();
    let nested = "[".repeat(30_000).into_bytes();
    let mut garbage: Vec<Vec<u8>> = vec![nested, vec![0; 100], b"\xff\xfe".to_vec()];
    // Every prefix of a message, and every message with one byte changed.
    garbage.extend((1..whole.len()).map(|length| whole[..length].to_vec()));
    garbage.push([whole.clone(), whole.clone()].concat());
    garbage.push(br#"{"change":{"remove-file":{"path":"/etc/passwd"}}}"#.to_vec());
    for bytes in &garbage {
        client.wire.send(bytes, &[]).unwrap();
        let reply = client.hear().unwrap();
        assert!(matches!(reply, Reply::Error(_)), "{reply:?}");
    }
    let long = vec![b' '; LONGEST + 1];
    client.wire.send(&long, &[]).unwrap();
    assert!(is_denied(&client.hear().unwrap()));
    assert!(client.hear().is_none(), "the conversation goes on");
    assert_eq!(sim.changes(), 0);
    Client::greeted(&served).must(make_tap());
}

#[test]
fn unexpected_descriptors_are_rejected_and_closed() {
    if !is_root() {
        return;
    }
    let sim = Sim::new();
    let served = served(sim.clone());
    let mut client = Client::greeted(&served);
    let file = File::open("/dev/null").unwrap();
    let request = Request::Change(make_tap());
    client.wire.say(&request, &[file.as_fd()]).unwrap();
    assert!(is_denied(&client.hear().unwrap()));
    client.wire.say(&request, &[file.as_fd(); 8]).unwrap();
    assert!(is_denied(&client.hear().unwrap()));
    assert!(client.hear().is_none());
    assert_eq!(sim.changes(), 0);
}
