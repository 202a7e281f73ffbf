use super::*;
use crate::linux::Linux;
use crate::linux::testing::{Place, as_nobody, in_own_network, run};
use crate::{Finding, Host as _, Look as _, Op, Probe, Subnet};

fn wanted() -> Wanted {
    Wanted {
        name: "bg1a".to_owned(),
        uid: 4711,
        host_address: [10, 88, 0, 1].into(),
        guest_address: [10, 88, 0, 7].into(),
        mtu: 1400,
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

fn assert_whole() {
    let link = run("ip", "-details link show bg1a");
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
    let addresses = run("ip", "-brief address show bg1a");
    assert!(
        addresses.trim_end().ends_with(" 10.88.0.1/32"),
        "{addresses}"
    );
    let route = run("ip", "route show 10.88.0.7");
    assert!(route.starts_with("10.88.0.7 dev bg1a "), "{route}");
    assert_eq!(read("/proc/sys/net/ipv4/conf/bg1a/forwarding"), "1");
    assert_eq!(read("/proc/sys/net/ipv4/conf/lo/forwarding"), "0");
    assert_eq!(read("/proc/sys/net/ipv6/conf/bg1a/disable_ipv6"), "1");
}

#[test]
fn a_tap_is_made_whole_and_twice_is_once() {
    in_own_network(|| {
        assert_eq!(make(&wanted()).unwrap(), Change::Made);
        assert_whole();
        assert_eq!(make(&wanted()).unwrap(), Change::Already);
        assert_eq!(Linux::new().unwrap().interfaces("bg1").unwrap(), ["bg1a"]);
        assert_eq!(remove("bg1a").unwrap(), Change::Made);
        assert_eq!(remove("bg1a").unwrap(), Change::Already);
        assert_eq!(Linux::new().unwrap().interfaces("").unwrap(), ["lo"]);
        assert_eq!(run("ip", "route"), "");
    });
}

#[test]
fn a_tap_gets_back_what_somebody_took() {
    in_own_network(|| {
        make(&wanted()).unwrap();
        for harm in [
            "link set bg1a down",
            "link set bg1a mtu 1300",
            "address del 10.88.0.1/32 dev bg1a",
            "address add 192.0.2.1/24 dev bg1a",
            "route del 10.88.0.7",
        ] {
            run("ip", harm);
            assert_eq!(make(&wanted()).unwrap(), Change::Made, "after {harm}");
            assert_whole();
        }
        std::fs::write("/proc/sys/net/ipv4/conf/bg1a/forwarding", "0").unwrap();
        assert_eq!(make(&wanted()).unwrap(), Change::Made);
        assert_whole();
    });
}

#[test]
fn a_tap_with_another_owner_changes_hands() {
    in_own_network(|| {
        make(&Wanted { uid: 1, ..wanted() }).unwrap();
        assert_eq!(make(&wanted()).unwrap(), Change::Made);
        assert_whole();
    });
}

#[test]
fn a_tap_that_is_in_use_is_left_as_it_is_or_busy() {
    in_own_network(|| {
        make(&wanted()).unwrap();
        let _used = open("bg1a").unwrap();
        assert_eq!(make(&wanted()).unwrap(), Change::Already);
        let error = make(&Wanted { uid: 1, ..wanted() }).unwrap_err();
        assert_eq!(error.kind(), Kind::Busy, "{error:?}");
    });
}

#[test]
fn a_route_that_another_tap_left_is_replaced() {
    in_own_network(|| {
        make(&Wanted {
            name: "bg1old".to_owned(),
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
        run("ip", "link add bg1a type veth peer name other");
        assert_eq!(make(&wanted()).unwrap_err().kind(), Kind::Busy);
        assert_eq!(remove("bg1a").unwrap_err().kind(), Kind::Busy);
        run("ip", "link show bg1a");
        run("ip", "link del bg1a");
        run("ip", "tuntap add bg1a mode tun");
        assert_eq!(make(&wanted()).unwrap_err().kind(), Kind::Busy);
        assert_eq!(remove("bg1a").unwrap_err().kind(), Kind::Busy);
    });
}

#[test]
fn names_that_are_not_ours_are_refused() {
    for name in ["", "BG1", "bg-1", "bg1/..", "sixteencharacter", "bg1\0"] {
        assert!(
            make(&Wanted {
                name: name.to_owned(),
                ..wanted()
            })
            .is_err(),
            "{name:?}"
        );
        assert!(remove(name).is_err(), "{name:?}");
        assert!(open(name).is_err(), "{name:?}");
    }
}

#[test]
fn the_way_out_is_the_kernels_own_choice() {
    in_own_network(|| {
        let host = Linux::new().unwrap();
        assert_eq!(host.uplink().unwrap(), None);
        let elsewhere = Place::new();
        for (name, address) in [("up0", "192.0.2.1/24"), ("up1", "203.0.113.1/24")] {
            run(
                "ip",
                &format!(
                    "link add {name} type veth peer name {name} netns {}",
                    elsewhere.id
                ),
            );
            run("ip", &format!("address add {address} dev {name}"));
            run("ip", &format!("link set {name} up"));
        }
        run("ip", "route add default via 192.0.2.9 metric 100");
        assert_eq!(host.uplink().unwrap().as_deref(), Some("up0"));
        run("ip", "route add default via 203.0.113.9 metric 50");
        assert_eq!(host.uplink().unwrap().as_deref(), Some("up1"));
        // A VPN that leaves the default route and takes both halves.
        run("ip", "route add 0.0.0.0/1 via 192.0.2.9");
        run("ip", "route add 128.0.0.0/1 via 192.0.2.9");
        assert_eq!(host.uplink().unwrap().as_deref(), Some("up0"));
        run("ip", "route add unreachable 198.51.100.0/24");
        assert_eq!(host.uplink().unwrap(), None);
    });
}

#[test]
fn a_subnet_that_the_host_uses_otherwise_is_found() {
    in_own_network(|| {
        let host = Linux::new().unwrap();
        let subnet = Subnet {
            network: [10, 88, 0, 0].into(),
            prefix: 16,
        };
        let ask = || {
            host.probe(&Probe::SubnetFree {
                subnet,
                tap_prefix: "bg1".to_owned(),
            })
        };
        assert!(matches!(ask(), Finding::Good(_)));
        make(&wanted()).unwrap();
        assert!(
            matches!(ask(), Finding::Good(_)),
            "our own TAPs are no clash"
        );
        run("ip", "link add docker0 type bridge");
        run("ip", "link set docker0 up");
        run("ip", "route add default dev docker0");
        assert!(
            matches!(ask(), Finding::Good(_)),
            "a default route is no clash"
        );
        run("ip", "address add 10.88.64.1/20 dev docker0");
        let Finding::Bad { found, .. } = ask() else {
            panic!("{:?}", ask())
        };
        assert_eq!(
            found,
            "the route 10.88.64.0/20 by `docker0` overlaps 10.88.0.0/16"
        );
    });
}

#[test]
fn forwarding_is_set_for_one_interface_and_put_back() {
    in_own_network(|| {
        let host = Linux::new().unwrap();
        let set = |on| {
            host.change(&Op::SetForwarding {
                interface: "lo".to_owned(),
                on,
            })
            .unwrap()
        };
        assert_eq!(host.forwarding("lo").unwrap(), Some(false));
        assert_eq!((set(true), set(true)), (Change::Made, Change::Already));
        assert_eq!(host.forwarding("lo").unwrap(), Some(true));
        assert_eq!(read("/proc/sys/net/ipv4/ip_forward"), "0", "not globally");
        assert_eq!((set(false), set(false)), (Change::Made, Change::Already));
        assert_eq!(host.forwarding("nosuch0").unwrap(), None);
    });
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
fn an_ordinary_user_is_told_what_is_denied() {
    as_nobody(|| {
        let host = Linux::new().unwrap();
        let error = make(&wanted()).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error:?}");
        let table = "banger_test".to_owned();
        let op = Op::ForbidGuest {
            table,
            tap: "bg1a".to_owned(),
            address: [10, 88, 0, 7].into(),
        };
        assert_eq!(host.change(&op).unwrap_err().kind(), Kind::Denied);
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
