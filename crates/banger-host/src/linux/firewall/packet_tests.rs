//! The effect of the rules on real packets.

use std::net::UdpSocket;

use super::lab::*;
use crate::linux::testing::{TestNamespace, in_own_network, run};

#[test]
fn a_guest_reaches_nothing_but_what_it_is_let_to() {
    in_own_network(|| {
        let lab = Lab::new();
        let others = [OUTSIDE, GUESTS[1].1, UPLINK, HOST, METADATA];
        for to in others {
            assert!(lab.guest_asks_in_vain(0, to), "without NAT, {to}");
        }
        assert_eq!(lab.nat(0, true), Change::Made);
        assert_eq!(lab.nat(0, true), Change::Already);
        assert_eq!(
            lab.guest_asks(0, OUTSIDE).as_deref(),
            Some("192.0.2.1"),
            "masqueraded"
        );
        for to in &others[1..] {
            assert!(lab.guest_asks_in_vain(0, *to), "with NAT, {to}");
        }
        assert!(
            lab.guest_asks_in_vain(1, OUTSIDE),
            "the other guest has none"
        );
        assert_eq!(lab.nat(1, true), Change::Made);
        assert!(
            lab.guest_asks_in_vain(0, GUESTS[1].1),
            "guests with NAT are still apart"
        );
        assert_eq!(lab.guest_asks(1, OUTSIDE).as_deref(), Some("192.0.2.1"));
    });
}

#[test]
fn a_guest_cannot_use_another_address() {
    in_own_network(|| {
        let lab = Lab::new();
        forward(GUESTS[0].0, true);
        for address in [GUESTS[0].1, SPOOFED] {
            lab.firewall.allow_nat(TABLE, PREFIX, address).unwrap();
        }
        assert!(lab.guest_asks(0, OUTSIDE).is_some());
        assert!(lab.guests[0].run(|| asks_in_vain(SPOOFED, OUTSIDE)));
        // The other guest's address has NAT, too.
        lab.nat(1, true);
        let other = GUESTS[1].1;
        assert!(lab.guests[0].run(move || {
            run("ip", &format!("address add {other}/32 dev eth0"));
            asks_in_vain(other, OUTSIDE)
        }));
    });
}

#[test]
fn the_host_reaches_a_guest_and_others_do_not() {
    in_own_network(|| {
        let lab = Lab::new();
        let guest = GUESTS[0].1;
        let who = ask_from(Ipv4Addr::UNSPECIFIED, guest);
        assert_eq!(who.as_deref(), Some("10.88.0.1"));
        let mut stream = connect(guest, PATIENCE).unwrap();
        assert!(answers(&mut stream));
        for nat in [false, true] {
            lab.nat(0, nat);
            let why = format!("NAT is a way out only, and here it is {nat}");
            assert!(
                lab.outside.run(move || asks_in_vain(OUTSIDE, guest)),
                "{why}"
            );
            assert!(
                lab.outside.run(move || connect(guest, SILENCE).is_none()),
                "{why}"
            );
        }
        assert!(
            lab.guests[0].run(|| pings(HOST)),
            "a guest may see whether its gateway is there"
        );
    });
}

#[test]
fn turning_nat_off_ends_what_is_under_way() {
    in_own_network(|| {
        let lab = Lab::new();
        lab.nat(0, true);
        let server = lab.outside.run(|| UdpSocket::bind((OUTSIDE, 9)).unwrap());
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let (client, mut stream) = lab.guests[0].run(|| {
            let client = UdpSocket::bind((GUESTS[0].1, 0)).unwrap();
            client.connect((OUTSIDE, 9)).unwrap();
            client.send(b"before").unwrap();
            (client, connect(OUTSIDE, PATIENCE).unwrap())
        });
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 64];
        let (_, seen_from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(b"answer", seen_from).unwrap();
        assert_eq!(client.recv(&mut buffer).unwrap(), 6);
        assert!(answers(&mut stream));

        assert_eq!(lab.nat(0, false), Change::Made);
        assert_eq!(lab.nat(0, false), Change::Already);
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(SILENCE)).unwrap();
        }
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        client.send(b"after").unwrap();
        assert!(server.recv_from(&mut buffer).is_err(), "nothing goes out");
        server.send_to(b"answer", seen_from).unwrap();
        assert!(client.recv(&mut buffer).is_err(), "nothing comes in");
        assert!(!answers(&mut stream));
    });
}

#[test]
fn a_guests_forbidden_connections_fail_at_once() {
    in_own_network(|| {
        let lab = Lab::new();
        // The kernel sends six ICMP messages to an address at once, then one a second.
        let refused = |guest: usize, to: Ipv4Addr| {
            lab.guests[guest].run(move || {
                let address = std::net::SocketAddr::from((to, ECHO));
                let begin = Instant::now();
                let tcp = std::net::TcpStream::connect_timeout(&address, PATIENCE).unwrap_err();
                let udp = UdpSocket::bind((GUESTS[guest].1, 0)).unwrap();
                udp.set_read_timeout(Some(PATIENCE)).unwrap();
                udp.connect(address).unwrap();
                udp.send(b"who").unwrap();
                let udp = udp.recv(&mut [0; 64]).unwrap_err();
                assert!(begin.elapsed() < PATIENCE, "{to}: {tcp}, {udp}");
                (tcp.kind(), udp.kind())
            })
        };
        let at_once = (
            std::io::ErrorKind::ConnectionRefused,
            std::io::ErrorKind::HostUnreachable,
        );
        for to in [OUTSIDE, GUESTS[1].1, UPLINK, HOST] {
            assert_eq!(refused(0, to), at_once, "without NAT, {to}");
        }
        assert_eq!(refused(1, METADATA), at_once, "without NAT");
        lab.nat(0, true);
        lab.nat(1, true);
        for to in [GUESTS[1].1, UPLINK] {
            assert_eq!(refused(0, to), at_once, "with NAT, {to}");
        }
        assert_eq!(refused(1, METADATA), at_once, "with NAT");
    });
}

#[test]
fn without_the_table_no_guest_gets_anywhere_and_the_host_still_gets_in() {
    in_own_network(|| {
        let lab = Lab::new();
        lab.nat(1, true);
        let sink = lab.outside.run(|| UdpSocket::bind((OUTSIDE, 9)).unwrap());
        let deaf = lab.outside.run(|| UdpSocket::bind((METADATA, 9)).unwrap());
        run("nft", "flush ruleset");
        // A guest without NAT sends nothing out, from any address, not even a packet without an
        // answer.
        for from in [GUESTS[0].1, SPOOFED] {
            lab.guests[0].run(move || {
                let socket = UdpSocket::bind((from, 0)).unwrap();
                for to in [OUTSIDE, METADATA] {
                    socket.send_to(b"one way", (to, 9)).unwrap();
                }
            });
        }
        // A guest with NAT uses its own address only.
        let other = GUESTS[0].1;
        lab.guests[1].run(move || {
            run("ip", &format!("address add {other}/32 dev eth0"));
            let socket = UdpSocket::bind((other, 0)).unwrap();
            socket.send_to(b"spoofed", (OUTSIDE, 9)).unwrap();
            run("ip", &format!("address del {other}/32 dev eth0"));
        });
        for socket in [&sink, &deaf] {
            socket.set_read_timeout(Some(SILENCE)).unwrap();
            assert!(socket.recv(&mut [0; 64]).is_err());
        }
        for (guest, other) in [(0, 1), (1, 0)] {
            for to in [OUTSIDE, UPLINK, HOST, GUESTS[other].1] {
                assert!(lab.guest_asks_in_vain(guest, to), "guest {guest}, {to}");
                let connects = lab.guests[guest].run(move || connect(to, SILENCE).is_some());
                assert!(!connects, "guest {guest}, {to}");
            }
            let mut stream = connect(GUESTS[guest].1, PATIENCE).unwrap();
            assert!(answers(&mut stream), "guest {guest}");
            assert!(lab.guests[guest].run(|| pings(HOST)));
        }
        for (tap, address) in GUESTS {
            lab.firewall
                .allow_guest(TABLE, PREFIX, tap, address)
                .unwrap();
        }
        lab.nat(1, true);
        assert_eq!(lab.guest_asks(1, OUTSIDE).as_deref(), Some("192.0.2.1"));
    });
}

#[test]
fn segments_fit_the_path_both_ways_also_when_it_changes() {
    in_own_network(|| {
        let lab = Lab::new();
        lab.nat(0, true);
        // Counts packets that open a connection, by the segment size that they request.
        let count = |flags: &'static str| {
            run("nft", "add table inet see");
            let chain = "{ type filter hook prerouting priority -400; }";
            run("nft", &format!("add chain inet see seen {chain}"));
            for size in [1260, 1160] {
                let rule =
                    format!("tcp flags & (syn | ack) == {flags} tcp option maxseg size {size}");
                run("nft", &format!("add rule inet see seen {rule} counter"));
            }
        };
        let counted = || {
            let text = run("nft", "list table inet see");
            let counts = text.lines().filter_map(|it| it.split_once("packets "));
            let first = |it: (&str, &str)| it.1.split(' ').next().unwrap().parse().unwrap();
            counts.map(first).collect::<Vec<u32>>()
        };
        lab.outside.run(move || count("syn"));
        lab.guests[0].run(move || count("(syn | ack)"));
        for (mtu, expected) in [(1300, [1, 0]), (1200, [1, 1])] {
            run("ip", &format!("link set up0 mtu {mtu}"));
            let connects = lab.guests[0].run(|| connect(OUTSIDE, PATIENCE).is_some());
            assert!(connects, "MTU {mtu}");
            assert_eq!(lab.outside.run(counted), expected, "asked for, MTU {mtu}");
            assert_eq!(lab.guests[0].run(counted), expected, "answered, MTU {mtu}");
        }
    });
}

#[test]
fn an_interface_held_for_guests_forwards_for_no_one_else() {
    in_own_network(|| {
        let lab = Lab::new();
        lab.nat(0, true);
        let inner = TestNamespace::new();
        let theirs = Ipv4Addr::new(198, 51, 100, 2);
        run(
            "ip",
            &format!("link add lan0 type veth peer name lan0 netns {}", inner.id),
        );
        run("ip", "address add 198.51.100.1/24 dev lan0");
        run("ip", "link set lan0 up");
        forward("lan0", true);
        inner.run(move || {
            run("ip", &format!("address add {theirs}/24 dev lan0"));
            run("ip", "link set lan0 up");
            run("ip", "route add default via 198.51.100.1");
            echo(theirs);
        });
        lab.outside
            .run(move || run("ip", &format!("route add {theirs} via {UPLINK}")));
        let asks = move || ask_from(OUTSIDE, theirs).is_some();
        assert!(lab.outside.run(asks), "the wires are good");
        let keep = |names: &[&str]| {
            let names = names.iter().map(|it| (*it).to_owned()).collect();
            lab.firewall.keep_to_guests(TABLE, PREFIX, &names).unwrap()
        };
        assert_eq!(keep(&["up0", "lan0"]), Change::Made);
        assert_eq!(keep(&["up0", "lan0"]), Change::Already);
        assert!(lab.outside.run(move || asks_in_vain(OUTSIDE, theirs)));
        for to in [OUTSIDE, theirs] {
            assert!(lab.guest_asks(0, to).is_some(), "a guest reaches {to}");
        }
        assert_eq!(keep(&[]), Change::Made);
        assert!(lab.outside.run(asks), "somebody else wants it so");
        let hostile = ["x\"; flush ruleset; #".to_owned()].into();
        assert!(
            lab.firewall
                .keep_to_guests(TABLE, PREFIX, &hostile)
                .is_err()
        );
    });
}
