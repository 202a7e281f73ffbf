use super::*;
use crate::ledger::LedgerHost as _;
use crate::linux::Linux;
use crate::linux::testing::{TestNamespace, as_nobody, in_own_network, run};
use crate::{
    Finding, Host as _, Instance, Look as _, MacAddress, MachineId, Op, Probe, RootOp, Subnet,
};

fn wanted() -> GuestTap {
    GuestTap {
        machine: MACHINE,
        uid: 4711,
        host_address: [10, 88, 0, 1].into(),
        guest_address: [10, 88, 0, 7].into(),
        mac: MacAddress::from_bits(0x00c0_ffee),
        mtu: 1400,
    }
}

/// The instance whose machine's TAP is `bg100ab0000000a`.
const INSTANCE: Instance = Instance::of_digits(0x00ab);
const MACHINE: MachineId = MachineId::from_bits(10);

fn make(wanted: &GuestTap) -> Result<Change> {
    super::make(&INSTANCE.tap(wanted.machine), wanted, &Support::default())
}

fn change(host: &Linux, op: RootOp) -> Result<Change> {
    host.change(&Op::Root(INSTANCE, op))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

fn assert_whole() {
    let link = run("ip", "-details link show bg100ab0000000a");
    for part in [
        "tun type tap",
        "user 4711",
        "persist on",
        "mtu 1400",
        ",UP",
        "vnet_hdr on",
    ] {
        assert!(link.contains(part), "no `{part}` in {link}");
    }
    assert!(!link.contains("multi_queue on"), "{link}");
    let addresses = run("ip", "-brief address show bg100ab0000000a");
    assert!(
        addresses.trim_end().ends_with(" 10.88.0.1/32"),
        "{addresses}"
    );
    let route = run("ip", "route show 10.88.0.7");
    assert!(
        route.starts_with("10.88.0.7 dev bg100ab0000000a "),
        "{route}"
    );
    let neighbours = run("ip", "neigh show dev bg100ab0000000a nud all");
    let entry = "10.88.0.7 lladdr 02:ba:00:c0:ff:ee PERMANENT";
    assert_eq!(neighbours.trim_end(), entry);
    for (way, verdicts) in [("ingress", 2), ("egress", 2)] {
        let filters = run("tc", &format!("filter show dev bg100ab0000000a {way}"));
        assert_eq!(filters.matches("direct-action").count(), 1, "{filters}");
        assert!(filters.matches("6 0 0 ").count() >= verdicts, "{filters}");
    }
    assert_eq!(read("/proc/sys/net/ipv4/conf/lo/forwarding"), "0");
    assert_eq!(
        read("/proc/sys/net/ipv6/conf/bg100ab0000000a/disable_ipv6"),
        "1"
    );
}

#[test]
fn a_tap_is_made_whole_idempotently() {
    in_own_network(|| {
        assert_eq!(make(&wanted()).unwrap(), Change::Made);
        assert_whole();
        assert_eq!(make(&wanted()).unwrap(), Change::Already);
        assert_eq!(
            Linux::new().unwrap().interfaces("bg1").unwrap(),
            ["bg100ab0000000a"]
        );
        assert_eq!(remove("bg100ab0000000a").unwrap(), Change::Made);
        assert_eq!(remove("bg100ab0000000a").unwrap(), Change::Already);
        assert_eq!(Linux::new().unwrap().interfaces("").unwrap(), ["lo"]);
        assert_eq!(run("ip", "route"), "");
    });
}

/// Every way to damage a TAP from outside, each with the program that does it.
const HARMS: [(&str, &str); 16] = [
    ("ip", "link set bg100ab0000000a down"),
    ("ip", "link set bg100ab0000000a mtu 1300"),
    ("ip", "address del 10.88.0.1/32 dev bg100ab0000000a"),
    ("ip", "address flush dev bg100ab0000000a"),
    ("ip", "address add 192.0.2.1/24 dev bg100ab0000000a"),
    ("ip", "route del 10.88.0.7"),
    ("ip", "route flush dev bg100ab0000000a"),
    ("ip", "link del bg100ab0000000a"),
    (
        "ip",
        "neigh replace 10.88.0.7 lladdr 02:00:00:00:00:01 nud permanent dev bg100ab0000000a",
    ),
    (
        "ip",
        "neigh replace 10.88.0.7 lladdr 02:ba:00:c0:ff:ee nud reachable dev bg100ab0000000a",
    ),
    (
        "ip",
        "neigh add 10.88.0.8 lladdr 02:ba:00:c0:ff:ee nud permanent dev bg100ab0000000a",
    ),
    ("ip", "neigh del 10.88.0.7 dev bg100ab0000000a"),
    ("ip", "neigh flush dev bg100ab0000000a nud permanent"),
    ("tc", "filter del dev bg100ab0000000a ingress"),
    ("tc", "filter del dev bg100ab0000000a egress"),
    ("tc", "qdisc del dev bg100ab0000000a clsact"),
];

#[test]
fn a_tap_gets_back_what_somebody_took() {
    in_own_network(|| {
        let host = Linux::new().unwrap();
        let op = Op::Root(INSTANCE, RootOp::MakeTap(wanted()));
        let holds = || {
            host.interfaces.forget();
            let guest = [("bg100ab0000000a".to_owned(), wanted().guest_address)];
            host.tap_holds(INSTANCE, &wanted()).unwrap()
                && host.firewall_holds("banger_00ab", &guest, &[]).unwrap()
        };
        assert!(!holds());
        host.change(&op).unwrap();
        assert!(holds());
        for (program, harm) in HARMS {
            run(program, harm);
            assert!(!holds(), "after {harm}");
            assert_eq!(host.change(&op).unwrap(), Change::Made, "after {harm}");
            assert_whole();
            assert!(holds(), "mended after {harm}");
            assert_eq!(host.change(&op).unwrap(), Change::Already, "after {harm}");
        }
    });
}

#[test]
fn a_tap_is_never_without_its_filter() {
    in_own_network(|| {
        let host = Linux::new().unwrap();
        let forbid = RootOp::ForbidGuest {
            machine: MACHINE,
            address: wanted().guest_address,
        };
        // The guest was not allowed before.
        change(&host, RootOp::MakeTap(wanted())).unwrap();
        let table = run("nft", "list table inet banger_00ab");
        assert!(table.contains("\"bg100ab0000000a\" . 10.88.0.7"), "{table}");
        assert_eq!(
            change(&host, forbid.clone()).unwrap_err().kind(),
            Kind::Busy
        );
        assert_eq!(run("nft", "list table inet banger_00ab"), table);
        change(&host, RootOp::RemoveTap { machine: MACHINE }).unwrap();
        assert_eq!(change(&host, forbid).unwrap(), Change::Made);
        assert_eq!(run("nft", "list tables"), "");
    });
}

#[test]
fn the_last_element_takes_no_table_that_another_tap_lives_by() {
    in_own_network(|| {
        let host = Linux::new().unwrap();
        let tap = |number: u32, last: u8| GuestTap {
            machine: MachineId::from_bits(number),
            guest_address: [10, 88, 0, last].into(),
            ..wanted()
        };
        let [one, two] = [tap(1, 7), tap(2, 8)];
        for tap in [&one, &two] {
            change(&host, RootOp::MakeTap(tap.clone())).unwrap();
        }
        let element = "{ \"bg100ab00000002\" . 10.88.0.8 }";
        run(
            "nft",
            &format!("delete element inet banger_00ab guests {element}"),
        );
        let (machine, address) = (one.machine, one.guest_address);
        change(&host, RootOp::RemoveTap { machine }).unwrap();
        change(&host, RootOp::ForbidGuest { machine, address }).unwrap();
        assert_eq!(run("nft", "list tables").trim(), "table inet banger_00ab");
    });
}

#[test]
fn a_new_tap_does_not_forward_on_a_host_that_does() {
    in_own_network(|| {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        make(&wanted()).unwrap();
        assert_eq!(
            read("/proc/sys/net/ipv4/conf/bg100ab0000000a/forwarding"),
            "0"
        );
        assert!(Linux::new().unwrap().forwards_everywhere().unwrap());
    });
}

#[test]
fn whether_a_guest_has_nat_is_written_on_its_tap() {
    in_own_network(|| {
        let host = Linux::new().unwrap();
        change(&host, RootOp::MakeTap(wanted())).unwrap();
        let expected = |nat| TapRecord {
            tap: "bg100ab0000000a".to_owned(),
            address: wanted().guest_address,
            nat,
        };
        assert_eq!(remembered().unwrap(), [expected(false)]);
        let address = wanted().guest_address;
        change(&host, RootOp::AllowNat { address }).unwrap();
        assert_eq!(remembered().unwrap(), [expected(true)]);
        change(&host, RootOp::MakeTap(wanted())).unwrap();
        assert_eq!(remembered().unwrap(), [expected(true)], "made again");
        change(&host, RootOp::ForbidNat { address }).unwrap();
        assert_eq!(remembered().unwrap(), [expected(false)]);
    });
}

#[test]
fn a_tap_with_another_owner_changes_hands() {
    in_own_network(|| {
        make(&GuestTap { uid: 1, ..wanted() }).unwrap();
        assert_eq!(make(&wanted()).unwrap(), Change::Made);
        assert_whole();
    });
}

#[test]
fn a_tap_that_is_in_use_is_left_as_it_is_or_busy() {
    in_own_network(|| {
        make(&wanted()).unwrap();
        let _used = open("bg100ab0000000a").unwrap();
        assert_eq!(make(&wanted()).unwrap(), Change::Already);
        let error = make(&GuestTap { uid: 1, ..wanted() }).unwrap_err();
        assert_eq!(error.kind(), Kind::Busy, "{error:?}");
    });
}

#[test]
fn a_route_that_another_tap_left_is_replaced() {
    in_own_network(|| {
        make(&GuestTap {
            machine: MachineId::from_bits(11),
            ..wanted()
        })
        .unwrap();
        make(&wanted()).unwrap();
        assert_whole();
        assert_eq!(run("ip", "route").lines().count(), 1);
    });
}

#[test]
fn an_interface_of_another_kind_is_never_taken_or_removed() {
    in_own_network(|| {
        run("ip", "link add bg100ab0000000a type veth peer name other");
        assert_eq!(make(&wanted()).unwrap_err().kind(), Kind::Busy);
        assert_eq!(remove("bg100ab0000000a").unwrap_err().kind(), Kind::Busy);
        run("ip", "link show bg100ab0000000a");
        run("ip", "link del bg100ab0000000a");
        run("ip", "tuntap add bg100ab0000000a mode tun");
        assert_eq!(make(&wanted()).unwrap_err().kind(), Kind::Busy);
        assert_eq!(remove("bg100ab0000000a").unwrap_err().kind(), Kind::Busy);
    });
}

#[test]
fn names_that_are_not_ours_are_refused() {
    for name in ["", "BG1", "bg-1", "bg1/..", "sixteencharacter", "bg1\0"] {
        let made = super::make(name, &wanted(), &Support::default());
        assert!(made.is_err(), "{name:?}");
        assert!(remove(name).is_err(), "{name:?}");
        assert!(open(name).is_err(), "{name:?}");
    }
}

#[test]
fn root_can_make_a_network_and_leaves_no_trace_of_the_attempt() {
    in_own_network(|| {
        let host = Linux::new().unwrap();
        let finding = host.probe(&Probe::Network);
        assert!(matches!(finding, Finding::Good(_)), "{finding:?}");
        assert_eq!(host.interfaces("").unwrap(), ["lo"]);
    });
}

#[test]
fn an_ordinary_user_gets_an_error_for_what_is_denied() {
    as_nobody(|| {
        let host = Linux::new().unwrap();
        let error = make(&wanted()).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error:?}");
        let op = RootOp::ForbidGuest {
            machine: MACHINE,
            address: [10, 88, 0, 7].into(),
        };
        assert_eq!(change(&host, op).unwrap_err().kind(), Kind::Denied);
        let finding = host.probe(&Probe::Network);
        let Finding::Bad { found, hint } = finding else {
            panic!("{finding:?}")
        };
        assert!(found.contains("QEMU's user networking"), "{found}");
        assert_eq!(hint, "banger system install");
        assert_eq!(
            remove("bg1nosuch").unwrap(),
            Change::Already,
            "a look needs no right"
        );
        host.uplink().unwrap();
    });
}

#[test]
fn forwarding_is_set_for_one_interface_and_put_back() {
    in_own_network(|| {
        let host = Linux::new().unwrap();
        let set = |on| host.set_forwarding("lo", on).unwrap();
        assert_eq!(host.forwarding("lo").unwrap(), Some(false));
        assert_eq!((set(true), set(true)), (Change::Made, Change::Already));
        assert_eq!(host.forwarding("lo").unwrap(), Some(true));
        assert_eq!(read("/proc/sys/net/ipv4/ip_forward"), "0", "not globally");
        assert_eq!((set(false), set(false)), (Change::Made, Change::Already));
        assert_eq!(host.forwarding("nosuch0").unwrap(), None);
    });
}

#[path = "route_tests.rs"]
mod routes;
