//! The host's routes beside a TAP: its uplinks, and other users of the subnet.

use super::*;

#[test]
fn the_ways_out_are_all_that_the_host_has_routes_by() {
    in_own_network(|| {
        let host = Linux::new().unwrap();
        let ways = || {
            host.interfaces.forget();
            host.ways_out().unwrap()
        };
        assert!(ways().is_empty());
        for (name, address) in [("up0", "192.0.2.1/24"), ("up1", "203.0.113.1/24")] {
            run(
                "ip",
                &format!("link add {name} type veth peer name {name}p"),
            );
            run("ip", &format!("address add {address} dev {name}"));
            run("ip", &format!("link set {name}p up"));
            run("ip", &format!("link set {name} up"));
        }
        make(&wanted()).unwrap();
        assert_eq!(ways(), ["up0", "up1"], "without a default route, too");
        run("ip", "address flush dev up1");
        assert_eq!(ways(), ["up0"]);
        // An uplink that only a multipath route in a VPN's table uses.
        run("ip", "address add 203.0.113.1/32 dev up1");
        let hops = "nexthop dev up0 weight 1 nexthop dev up1 weight 1";
        run(
            "ip",
            &format!("route add 198.51.100.0/24 table 51820 {hops}"),
        );
        assert_eq!(ways(), ["up0", "up1"]);
    });
}

#[test]
fn the_way_out_is_the_kernels_own_choice() {
    in_own_network(|| {
        let host = Linux::new().unwrap();
        assert_eq!(host.uplink().unwrap(), None);
        let elsewhere = TestNamespace::new();
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
        // A VPN that keeps the default route and adds both halves.
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
        run("ip", "route add 10.0.0.0/8 dev docker0");
        let Finding::Doubtful { found, .. } = ask() else {
            panic!("a VPN's route is shorter than ours: {:?}", ask())
        };
        assert!(found.contains("`docker0` covers 10.88.0.0/16"), "{found}");
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
